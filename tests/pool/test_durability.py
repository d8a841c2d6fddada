"""Kill -9 in the middle of a fill, and threads that fill one pool."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import replace

from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.schema import UsageLimits

SAY = answering({"A: 1": 0.5, "A: 2": 0.5})

FILL = """
import sys
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.llm import Request
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.schema import Message, Price, Tier

tier = Tier("small", "scripted/small", Price(2.0, 8.0))
needs = [
    Need(Request("scripted/small", (Message("user", str(k)),), {"max_tokens": 10}), 3)
    for k in range(1000)
]
model = ScriptedModel(answering({"A: 1": 0.5, "A: 2": 0.5}), chunk=6, ahead=2, delay_s=0.002)
with SamplePool.open(sys.argv[1]) as pool:
    fill(pool, model, tier, needs, Account("r", 0),
         progress=lambda p: print(p.samples_done, flush=True))
"""


def test_after_kill_9_all_that_was_reported_is_there_and_only_the_rest_is_bought(tmp_path, world):
    from tierwise.llm import Request
    from tierwise.schema import Message

    path = tmp_path / "pool.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", FILL, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) >= 60:
                process.send_signal(signal.SIGKILL)
                break
        reported = [int(line), *map(int, process.stdout.read().split())][-1]
    assert process.returncode == -signal.SIGKILL

    needs = [
        Need(Request("scripted/small", (Message("user", str(k)),), {"max_tokens": 10}), 3)
        for k in range(1000)
    ]
    with SamplePool.open(path) as pool:
        there = pool.counts("samples")
        assert reported <= there < 3000
        assert there % 6 == 0, "a chunk is there as a whole or not at all"
        before = pool.spent("r")
        model = ScriptedModel(SAY, chunk=6)
        rest = fill(pool, model, world.tier, needs, Account("r", 0))
        assert rest.usage.samples == model.samples == 3000 - there
        assert pool.counts("samples") == 3000
        # The chunks in flight (two, of two calls each) stay on the bill at their worst case.
        assert before.calls - there // 3 in range(5)
        again = [row[2] for row in pool.samples([n.request.key for n in needs], 0, 3)]
    with SamplePool.open(tmp_path / "uninterrupted") as pool:
        fill(pool, ScriptedModel(SAY, chunk=6), world.tier, needs, Account("", 0))
        assert [row[2] for row in pool.samples([n.request.key for n in needs], 0, 3)] == again


def test_threads_fill_their_tiers_into_one_pool(pool, world):
    tiers = [replace(world.tier, name=n, model=f"scripted/{n}") for n in ("a", "b", "c")]
    filled = {}

    def buy(tier):  # an error in a thread is a warning of pytest's, and so fails the test
        for n_samples in range(1, 30):
            needs = [Need(r, n_samples) for r in world.requests(0, tier)]
            model = ScriptedModel(SAY, chunk=5)
            filled[tier.name, n_samples] = fill(pool, model, tier, needs, Account("r", 0))

    threads = [threading.Thread(target=buy, args=(tier,)) for tier in tiers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.counts("samples") == 3 * 6 * 29
    for tier in tiers:
        mine = [f for (name, _), f in filled.items() if name == tier.name]
        assert sum(f.usage.samples for f in mine) == 6 * 29
        assert pool.spent("r", tier.name).calls == sum(f.usage.calls for f in mine)


def test_threads_that_buy_for_one_tier_cannot_pass_its_cap_together(pool, world):

    def buy(first):
        needs = [Need(r, 10, first=first) for r in world.requests()]
        model = ScriptedModel(SAY, chunk=2, ahead=2)
        fill(pool, model, world.tier, needs, Account("r", 0, UsageLimits(calls=37)))

    threads = [threading.Thread(target=buy, args=(first,)) for first in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.spent("r").calls == 37
