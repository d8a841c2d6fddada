"""Calls one by one: stored as they arrive, let out by their supervisor, claimed by one buyer."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tierwise.errors import BudgetError, InputError, ProviderError
from tierwise.llm import Call, Completion, Failure, Result
from tierwise.llm.limits import Withheld, supervising
from tierwise.pool import Account, Book, Buyer, Need, Progress, SamplePool, Supply, fill
from tierwise.pool.calls import worst_case
from tierwise.pool.store import Parcel, buyer_name
from tierwise.pool.supervision import INTERRUPTION
from tierwise.schema import Usage, UsageLimits

from .conftest import World

pytestmark = pytest.mark.timeout(60)


class Server:
    """A model that asks its supervisor as ``ProviderModel`` does; its own count is the bill.

    ``wait(prompt)`` is how long an answer takes; ``fault()`` what goes wrong now, or nothing.
    """

    chunk = 64
    one_by_one = True

    def __init__(
        self,
        wait: Callable[[str], float] = lambda prompt: 0.01,
        fault: Callable[[], str] = lambda: "",
        attempts: int = 3,
    ) -> None:
        self.wait, self.fault, self.attempts = wait, fault, attempts
        self.sent: list[tuple[float, str, int]] = []
        self.answered = Counter[tuple[str, int]]()

    def complete(self, chunks: object) -> Iterator[list[list[Result]]]:
        raise NotImplementedError

    def close(self) -> None:
        pass

    async def answer(self, call: Call) -> list[Result]:
        prompt, kind = call.request.messages[-1].content, ""
        for _ in range(self.attempts):
            if not await supervising().admit(call):
                raise Withheld
            self.sent.append((time.monotonic(), prompt, call.first_sample))
            kind = self.fault()
            if not kind:
                await asyncio.sleep(self.wait(prompt))
                self.answered[prompt, call.first_sample] += call.n
                supervising().answered(call)
                return [Completion("A: 1", 3, 2)] * call.n
            supervising().faulted(call, kind)
            await asyncio.sleep(0.01)
        return [Failure(kind, "no answer")] * call.n


@pytest.fixture(autouse=True)
def nobody_asks_to_stop() -> Iterator[None]:
    INTERRUPTION.reset()
    yield
    INTERRUPTION.reset()


@pytest.fixture
def needs(world: World) -> list[Need]:
    return [Need(r, 1, first=k) for k in range(8) for r in world.requests()]


def stored(pool: SamplePool) -> int:
    return pool.counts("samples")


def test_an_answer_is_stored_while_the_head_of_the_line_hangs(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    server = Server(lambda prompt: 2.0 if prompt.startswith("0") else 0.01)
    seen: list[tuple[float, int]] = []

    def progress(so_far: Progress) -> None:
        seen.append((time.monotonic(), so_far.samples_done))

    began = time.monotonic()
    wide = replace(world.tier, limits={"concurrency": 64})
    fill(pool, server, wide, needs, Account("r"), progress=progress)
    early = max(done for at, done in seen if at - began < 1.5)
    assert early == 40, "all but those that hang"
    assert seen[-1][1] == stored(pool) == 48


class Unusable(Server):
    """Answers, and with each answer shows that nothing can be done with it: it ignores ``n``."""

    async def answer(self, call: Call) -> list[Result]:
        await super().answer(call)
        raise ProviderError("set takes_n: false")


def test_an_answer_that_shows_the_provider_to_be_unusable_ends_the_purchase_at_once(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    began = time.monotonic()
    with pytest.raises(ProviderError, match="takes_n: false"):
        fill(pool, Unusable(), world.tier, needs, Account("r"))
    assert time.monotonic() - began < 8
    assert pool.spent("r").usd > 0, "what was answered stays set aside"


def test_no_call_starts_after_the_deadline_and_those_under_way_are_given_up(
    pool: SamplePool, world: World, needs: list[Need], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tierwise.pool.supervision.GRACE_S", 0.5)
    server = Server(lambda prompt: 60.0 if prompt.startswith("0") else 0.1)
    began = time.monotonic()
    narrow = replace(world.tier, limits={"concurrency": 4})
    account = Account("r", deadline_s=began + 0.4)
    filled = fill(pool, server, narrow, needs, account)
    assert filled.short == "seconds"
    assert max(at for at, *_ in server.sent) <= began + 0.41
    assert time.monotonic() - began < 5
    billed = pool.billed("r")
    assert billed.confirmed.calls == sum(server.answered.values()) == stored(pool)
    assert billed.most.calls == len(server.sent), "what was queued is not possibly billed"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is taken to be out, and tried again, sooner than in earnest."""
    monkeypatch.setattr("tierwise.pool.supervision.OUT_AFTER_S", 0.3)
    monkeypatch.setattr("tierwise.pool.supervision.FIRST_PAUSE_S", 0.3)


@pytest.mark.parametrize("kind", ["connection", "server_error", "timeout", "rate_limit"])
def test_an_outage_costs_time_and_nothing_else(
    kind: str, pool: SamplePool, world: World, needs: list[Need], soon: None
) -> None:
    began, waited = list[float](), list[str]()

    def fault() -> str:
        if len(server.answered) >= 6 and not began:
            began.append(time.monotonic())
        return kind if began and time.monotonic() - began[0] < 1.5 else ""

    def progress(so_far: Progress) -> None:
        if so_far.waiting:
            waited.append(so_far.waiting)

    server = Server(lambda prompt: 0.05, fault)
    narrow = replace(world.tier, limits={"concurrency": 4})
    filled = fill(pool, server, narrow, needs, Account("r"), progress=progress)
    assert (filled.failures, stored(pool)) == (0, 48)
    assert set(server.answered.values()) == {1}
    assert kind in waited[0]


@pytest.mark.parametrize("patience_s", [1.0, 0.0])
def test_an_outage_that_does_not_end_ends_the_purchase(
    patience_s: float, pool: SamplePool, world: World, needs: list[Need], soon: None
) -> None:
    server = Server(fault=lambda: "connection" if len(server.answered) >= 4 else "")
    narrow = replace(world.tier, limits={"concurrency": 4})
    with pytest.raises(ProviderError, match=rf"of {patience_s:.0f} s that are waited .*is kept"):
        fill(pool, server, narrow, needs, Account("r", max_outage_s=patience_s))
    assert stored(pool) == sum(server.answered.values()) > 0
    assert pool.billed("r").possibly.calls == 0


def test_one_request_that_always_fails_is_a_failure_and_no_outage(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    class Poisoned(Server):
        async def answer(self, call: Call) -> list[Result]:
            if call.request.messages[-1].content.startswith("3"):
                for _ in range(3):
                    await supervising().admit(call)
                    supervising().faulted(call, "server_error")
                    await asyncio.sleep(0.01)
                return [Failure("server_error", "always")]
            return await super().answer(call)

    filled = fill(pool, Poisoned(), world.tier, needs, Account("r"))
    assert (filled.failures, stored(pool)) == (8, 40)


def test_two_buyers_on_one_pool_buy_each_sample_once(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    server = Server(lambda prompt: 0.03)
    narrow = replace(world.tier, limits={"concurrency": 4})
    ends = {}

    def buy(run: str) -> None:
        with SamplePool.open(pool.path) as own:
            ends[run] = fill(own, server, narrow, needs, Account(run))

    threads = [threading.Thread(target=buy, args=(run,)) for run in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == stored(pool) == 48
    assert sum(end.usage.samples for end in ends.values()) == 48
    assert all(end.complete for end in ends.values())


def test_what_a_silent_buyer_claimed_is_bought_when_its_lease_ends(
    tmp_path: Path, world: World, needs: list[Need]
) -> None:
    with SamplePool.open(tmp_path / "p", lease_s=1.0) as pool:
        calls = [Call(needs[0].request, 0, 1, 0)]
        parcel = Parcel(calls, worst_case(calls, world.tier))
        silent = Book("other", "small", "", buyer_name())
        assert len(pool.exchange(silent, (), [parcel]).reserved) == 1
        server, began = Server(), time.monotonic()
        fill(pool, server, world.tier, needs, Account("r"))
        assert time.monotonic() - began > 0.9
        assert stored(pool) == 48
        assert pool.billed("other").possibly.calls == 1


@pytest.mark.parametrize("jump_s", [0.0, -3600.0, 300.0])
def test_a_buyer_that_waits_for_one_call_keeps_its_claims_whatever_the_clock_says(
    jump_s: float, tmp_path: Path, world: World, needs: list[Need], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, clock = Server(lambda prompt: 1.8), time.time

    def buy(run: str) -> None:
        with SamplePool.open(tmp_path / "p", lease_s=1.0) as pool:
            assert fill(pool, server, world.tier, needs[:1], Account(run)).complete

    threads = [threading.Thread(target=buy, args=(run,)) for run in "ab"]
    threads[0].start()
    while not server.sent:
        time.sleep(0.01)
    monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert list(server.answered.values()) == [1]


def test_a_pool_that_another_program_has_locked_is_waited_for(
    tmp_path: Path, world: World, needs: list[Need]
) -> None:
    with SamplePool.open(tmp_path / "p") as pool:
        other = sqlite3.connect(tmp_path / "p", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        letting_go = threading.Timer(3.0, other.execute, ["ROLLBACK"])  # longer than SQLite waits
        letting_go.start()
        server = Server()
        assert fill(pool, server, world.tier, needs, Account("r")).complete
        letting_go.join()
        other.close()
        assert set(server.answered.values()) == {1}


def test_nothing_is_bought_into_a_pool_that_was_taken_away(
    tmp_path: Path, world: World, needs: list[Need]
) -> None:
    server = Server(lambda prompt: 0.1)
    narrow = replace(world.tier, limits={"concurrency": 2})

    def take_away(so_far: Progress) -> None:
        for file in tmp_path.glob("p*"):
            file.unlink()

    with (
        pytest.raises(InputError, match="was removed or replaced"),
        SamplePool.open(tmp_path / "p") as pool,
    ):
        fill(pool, server, narrow, needs, Account("r"), progress=take_away)
    assert len(server.sent) < 16


def test_the_first_interruption_stores_what_arrives_and_the_second_stops_at_once(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    for asked, wait_s in ((1, 1.0), (2, 30.0)):
        server = Server(lambda prompt, wait_s=wait_s: wait_s if prompt.startswith("0") else 0.2)
        narrow, ended = replace(world.tier, limits={"concurrency": 2}), threading.Event()

        def buy(server: Server = server, narrow=narrow, ended=ended, asked=asked) -> None:
            with pytest.raises(KeyboardInterrupt):
                fill(pool, server, narrow, needs, Account(f"r{asked}", asked))
            ended.set()

        thread = threading.Thread(target=buy)
        before = stored(pool)
        thread.start()
        while not server.answered:
            time.sleep(0.01)
        for _ in range(asked):
            INTERRUPTION.ask()
        assert ended.wait(10)
        thread.join()
        INTERRUPTION.reset()
        arrived = sum(server.answered.values())
        assert 0 < arrived < 48
        assert stored(pool) - before == arrived, "nothing that was answered is lost"
        under_way = len(server.sent) - arrived
        assert pool.billed(f"r{asked}").possibly.calls == under_way
        assert under_way == 0 or asked == 2


def test_a_ctrl_c_in_the_main_thread_is_the_first_interruption(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    server = Server(lambda prompt: 0.3)
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    narrow = replace(world.tier, limits={"concurrency": 4})
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fill(pool, server, narrow, needs, Account("r"))
    assert 0 < stored(pool) == sum(server.answered.values()) < 48
    assert pool.billed("r").possibly.calls == 0
    assert fill(pool, server, narrow, needs, Account("r")).complete
    assert set(server.answered.values()) == {1}


def test_failures_of_an_earlier_start_are_tried_again_on_demand(
    pool: SamplePool, world: World, needs: list[Need]
) -> None:
    broken = Server(fault=lambda: "bad_request", attempts=1)
    assert fill(pool, broken, world.tier, needs, Account("r")).failures == 48
    well = Server()
    assert fill(pool, well, world.tier, needs, Account("r")).usage.samples == 0
    again = Account("r", retry_before=pool.last_purchase())
    assert fill(pool, well, world.tier, needs, again).usage.samples == 48


@pytest.mark.parametrize(
    ("extra", "most"),
    [
        ({}, 10),
        ({"extra_body": {"max_tokens": 3000}}, 3000),
        ({"extra_body": {"options": {"num_predict": 500}}}, 500),
        ({"max_completion_tokens": 90}, 90),
        ({"extra_body": {"generationConfig": {"maxOutputTokens": 700}}}, 700),
    ],
)
def test_a_cap_counts_wherever_it_is_sent(extra: dict, most: int, world: World) -> None:
    request = replace(world.requests()[0], params={"max_tokens": 10, **extra})
    assert worst_case([Call(request, 0, 2, 0)], world.tier).completion_tokens == 2 * most


@pytest.mark.parametrize("name", ["n", "best_of", "num_return_sequences", "candidateCount"])
def test_completions_that_nobody_counts_are_refused(
    name: str, pool: SamplePool, world: World
) -> None:
    params = {"max_tokens": 10, "extra_body": {name: 4}}
    request = replace(world.requests()[0], params=params)
    account = Account("r", limits=UsageLimits(usd=1.0))
    with pytest.raises(Exception, match=f"sends {name}: 4, which buys completions"):
        fill(pool, Server(), world.tier, [Need(request, 1)], account)


def test_money_for_the_test_is_set_aside(pool: SamplePool, world: World) -> None:
    """Other stages end where only what was kept for the test is left; the test may have it."""
    prompts = {p.id: p for p in world.prompts}
    supply = Supply(replace(world.tier, takes_n=False), Server(), prompts)
    buyer = Buyer(pool, world.task, supply, Account("r", limits=UsageLimits(calls=20)))
    buyer.set_aside(Usage(calls=8))
    variant = world.variants[0]
    with pytest.raises(BudgetError, match=r"ended \(calls\) in stage 'study'"):
        buyer.table(world.items, {variant: 3}, "study")
    assert pool.spent("r").calls == 12
    assert buyer.table(world.items, {variant: 3}, "test").complete.all()
