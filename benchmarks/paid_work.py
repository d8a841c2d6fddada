"""What a provider counts, held against what the pool says: kills, owners, deadlines, outages,
budgets.

    python benchmarks/paid_work.py kills --runs 200        # five kinds of signals, slow heads
    python benchmarks/paid_work.py together --processes 4  # on one folder, on one pool
    python benchmarks/paid_work.py deadline
    python benchmarks/paid_work.py outages --seconds 120
    python benchmarks/paid_work.py budgets --runs 500      # several samples a call, judges
    python benchmarks/paid_work.py cost                    # of being durable, in samples a second

A provider in this process answers over HTTP and writes down every call: its own count is the bill.
A buyer is ``tierwise tune`` on a small job, in a process of its own that is forked from one which
has imported everything. Each command prints a line a run, and ends with 1 where something was lost,
bought twice, or differs from the run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.llm import Call, Completion, Request, Result, base_seed
from tierwise.llm.limits import Retry, supervising
from tierwise.llm.provider import ProviderModel
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.schema import Message, Price, Tier, UsageLimits

os.environ.setdefault("OPENAI_API_KEY", "none")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

CAP = 16
PRICE = Price(1.0, 2.0)
ITEMS = 36
TASK = {
    "task.yaml": """
name: tiny
version: 1
inputs: [question]
items: items.jsonl
answer: {extract: {regex: 'A: (\\d+)', take: last}}
metric: exact_match
prompts: prompts.yaml
""",
    "prompts.yaml": """
- {id: plain, family: baseline, user: "Say it: {{ question }}"}
- {id: steps, family: step_by_step, user: "Step by step: {{ question }}"}
""",
    "space.yaml": """
prompts: {families: [baseline, step_by_step]}
temperature: [0.8]
variants: [1]
modes: [direct]
strategies: {single: {}, self_consistency: {samples: {low: 2, high: 5}}}
difficulty: {signals: [none], buckets: [1]}
""",
    "job.yaml": """
task: .
space: space.yaml
tiers:
  small:
    model: openai/tiny
    api_base: http://127.0.0.1:PORT/v1
    takes_n: false
    takes_seed: true
    modes: {direct: {max_tokens: CAP}}
    price: {prompt_usd_per_mtok: 1.0, completion_usd_per_mtok: 2.0}
    limits: {concurrency: 32, timeout_s: TIMEOUT}
trials: 8
""",
}


TIMES = ("created:", "latency_s", "pool_sha256:")
"""Lines of a policy that say when and how fast; the hash is over latencies too."""


class Served(NamedTuple):
    """One call as the provider saw it; ``answered_s`` None where no answer was sent."""

    text: str
    seed: int
    began_s: float
    answered_s: float | None
    usd: float

    @property
    def sample(self) -> tuple[str, int]:
        """What names the sample that was asked for."""
        return self.text, self.seed


@dataclass
class Provider:
    """An OpenAI-compatible server; each call is on its bill when it begins to answer.

    Answers after ``latency_s``; one prompt in ``slow_of`` after ``slow_s`` when first asked.
    ``fault`` is what goes wrong now ('' nothing, 503, 429, reset, hang), ``faults`` a share of
    calls that fail with 500 or are cut, and ``usage`` changes what is reported of tokens.
    """

    latency_s: float = 0.04
    slow_of: int = 0
    slow_s: float = 4.0
    fault: str = ""
    faults: float = 0.0
    usage: Callable[[int, int], dict[str, object]] | None = None
    port: int = 0
    served: list[Served] = field(default_factory=list)
    failed: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    slow_seen: set[tuple[str, int]] = field(default_factory=set)

    def answer(self, body: dict[str, Any], connection: _Connection) -> None:
        """Begin to answer a call."""
        loop, chance = asyncio.get_running_loop(), self.rng.random()
        fault = self.fault or ("500" if chance < self.faults / 2 else "")
        if fault:
            self.failed += 1
            if fault == "reset":
                connection.abort()
            elif fault != "hang":
                loop.call_later(0.01, connection.send, int(fault), {"error": {"message": fault}})
            return
        text = "\n".join(message["content"] for message in body["messages"])
        seed = body.get("seed", 0)
        rng = random.Random(f"when {text}:{seed}")
        said = [self.said(text, seed + i) for i in range(body.get("n", 1))]
        prompt, completion = len(text.split()), sum(len(one.split()) for one in said)
        wait_s = self.latency_s * rng.uniform(0.5, 1.5)
        slow = self.slow_of and random.Random(f"slow {text}").randrange(self.slow_of) == 0
        if slow and (text, seed) not in self.slow_seen:
            self.slow_seen.add((text, seed))
            wait_s = self.slow_s
        usd = PRICE.prompt_usd(prompt) + PRICE.completion_usd(completion, prompt_tokens=prompt)
        at = len(self.served)
        self.served.append(Served(text, seed, time.time(), None, usd))
        reported = (self.usage or _as_it_is)(prompt, completion)
        answer = {
            "id": "1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [
                {
                    "index": i,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": one},
                }
                for i, one in enumerate(said)
            ],
            **({"usage": reported} if reported else {}),
        }
        cut = not self.fault and self.faults / 2 <= chance < self.faults

        def reply() -> None:
            if cut:
                self.failed += 1
                connection.abort()
            elif connection.send(200, answer):
                self.served[at] = self.served[at]._replace(answered_s=time.time())

        loop.call_later(wait_s, reply)

    def said(self, text: str, seed: int) -> str:
        """What is answered."""
        rng = random.Random(f"{text}:{seed}")
        return f"{'well ' * rng.randrange(4)}A: {rng.choice([len(text) % 7, rng.randrange(7)])}"

    @contextmanager
    def running(self) -> Iterator[Provider]:
        """Serve on a port of its own, or on the one that it had."""
        loop, ready = asyncio.new_event_loop(), threading.Event()
        connections: set[_Connection] = set()

        servers: list[asyncio.Server] = []

        async def start() -> None:
            server = await loop.create_server(
                lambda: _Connection(self, connections), "127.0.0.1", self.port
            )
            servers.append(server)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        async def end() -> None:
            servers[0].close()
            for connection in list(connections):
                connection.abort()
            await asyncio.sleep(0.01)

        def serve() -> None:
            starting = loop.create_task(start())
            loop.run_forever()
            starting.result()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def bill_usd(self) -> float:
        """What it would charge: every call that it began to answer."""
        return sum(call.usd for call in self.served)

    @property
    def twice(self) -> set[tuple[str, int]]:
        """Samples that it was asked for more than once."""
        return {sample for sample, n in Counter(c.sample for c in self.served).items() if n > 1}

    def forget(self) -> None:
        """Begin to count anew."""
        self.served.clear()
        self.slow_seen.clear()
        self.failed = 0


def _as_it_is(prompt: int, completion: int) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as far as one client needs it: aiohttp's server took half of a run's CPU."""

    def __init__(self, provider: Provider, connections: set[_Connection]) -> None:
        self._provider, self._connections, self._bytes = provider, connections, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        head, found, rest = self._bytes.partition(b"\r\n\r\n")
        if found:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) >= length:
                self._bytes = rest[length:]
                self._provider.answer(json.loads(rest[:length]), self)

    def send(self, status: int, body: dict[str, Any]) -> bool:
        """Send an answer; whether somebody is there to take it."""
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: "
        there = not self._transport.is_closing()
        if there:
            self._transport.write(f"{head}{len(content)}\r\n\r\n".encode() + content)
        return there

    def abort(self) -> None:
        """Reset the connection."""
        self._transport.abort()


class Job:
    """A folder with the small task and its job; buyers are started on it."""

    def __init__(self, folder: Path, provider: Provider, timeout_s: float = 30.0) -> None:
        self.folder, self.provider = folder, provider
        for name, text in TASK.items():
            words = {"PORT": str(provider.port), "CAP": str(CAP), "TIMEOUT": f"{timeout_s:g}"}
            for word, value in words.items():
                text = text.replace(word, value)
            (folder / name).write_text(text)
        with (folder / "items.jsonl").open("w") as items:
            for k in range(ITEMS):
                question = f"what is number {k}? {'x' * (k % 7)}"
                target = str(len(f"Say it: {question}") % 7)
                line = {"id": f"i{k}", "inputs": {"question": question}, "target": target}
                items.write(json.dumps(line) + "\n")

    def start(self, out: str, *more: str) -> BaseProcess:
        """``tierwise tune`` into the folder ``out``."""
        arguments = ["tune", str(self.folder / "job.yaml"), "--out", str(self.folder / out)]
        arguments += ["--yes", *more]
        return spawn(_run_command, arguments, self.folder / f"{out}.log")

    def log(self, out: str) -> str:
        """What was printed by all buyers of a folder."""
        return (self.folder / f"{out}.log").read_text()

    def policies(self, out: str) -> dict[str, str]:
        """The policy files, without times: when the run began, and how long answers took."""
        folder, found = self.folder / out / "policies", {}
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            lines = path.read_text().splitlines()
            found[path.name] = "\n".join(x for x in lines if not any(t in x for t in TIMES))
        return found

    def stored(self, out: str) -> set[tuple[str, int]]:
        """What is in the pool, named as the provider names it."""
        path = self.folder / out / "pool.sqlite"
        if not path.exists():
            return set()
        there = set()
        with SamplePool.open(path) as pool:
            for key, model, address, content in pool.requests():
                said = json.loads(content)
                messages = tuple(Message(*m) for m in said["messages"])
                seed = base_seed(0, Request(model, messages, said["params"], address))
                text = "\n".join(m.content for m in messages)
                there |= {(text, seed + sample) for _, sample, *_ in pool.samples_of(key)}
        return there

    def wait_for_calls(self, process: BaseProcess, n: int = 1) -> None:
        """Until the provider has seen ``n`` calls, or the process has ended."""
        while len(self.provider.served) < n and process.is_alive():
            time.sleep(0.005)


def spawn(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process forked from one that has imported what it needs."""
    forks = multiprocessing.get_context("forkserver")
    process = forks.Process(target=target, args=arguments)
    process.start()
    return process


def _run_command(arguments: list[str], log: Path) -> None:
    from tierwise.cli import main

    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(arguments)


def stop(process: BaseProcess, how: str) -> None:
    """Send the signal, or the two."""
    assert process.pid is not None
    number = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP}
    with suppress(ProcessLookupError):
        os.kill(process.pid, number.get(how, signal.SIGINT))
        if how == "INT twice":
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGINT)


def kills(args: argparse.Namespace) -> bool:
    """Stop a buyer at a random moment, start it again, and compare with one that was not."""
    rng, good, total = random.Random(args.seed), 0, Counter[str]()
    with tempfile.TemporaryDirectory() as scratch, Provider().running() as provider:
        job = Job(Path(scratch), provider)
        whole, began_s = job.start("whole"), 0.0
        job.wait_for_calls(whole)
        began_s = time.time()
        whole.join()
        takes_s = max(c.answered_s or 0.0 for c in provider.served) - began_s
        right, samples = job.policies("whole"), len(provider.served)
        print(f"undisturbed: {samples} samples in {takes_s:.1f} s, policies {[*right]}", flush=True)
        for k in range(args.runs):
            how = ("KILL", "TERM", "HUP", "INT", "INT twice")[k % 5]
            slow = k % 2 == 1
            provider.forget()
            provider.slow_of = 40 if slow else 0
            process = job.start(f"run{k}")
            job.wait_for_calls(process)
            time.sleep(rng.uniform(0.0, takes_s + 2.0 * slow))
            at_s = time.time()
            alive = process.is_alive()
            stop(process, how)
            process.join()
            took_s, there, seen = time.time() - at_s, job.stored(f"run{k}"), list(provider.served)
            lost = [
                call
                for call in seen
                if call.answered_s and call.answered_s < at_s - 1.0 and call.sample not in there
            ]
            in_flight = {
                c.sample for c in seen if c.answered_s is None or c.answered_s > at_s - 1.0
            }
            again = job.start(f"run{k}")
            again.join()
            twice, same = provider.twice, job.policies(f"run{k}") == right
            ok = not lost and twice <= in_flight and same and again.exitcode == 0
            good += ok
            total.update(lost=len(lost), twice=len(twice), not_in_flight=len(twice - in_flight))
            total.update(others=not same, stopped=alive)
            print(
                f"{how:9} {'slow heads' if slow else '':10} at {len(seen):4} calls, ended after "
                f"{took_s:4.1f} s with {process.exitcode}: {len(there):4} stored, {len(lost)} "
                "lost, "
                f"{len(twice):3} twice, of {len(in_flight)} in flight; "
                f"{'same' if ok else 'WRONG'}",
                flush=True,
            )
            if not ok:
                print(job.log(f"run{k}")[-2000:], flush=True)
    print(f"{good} of {args.runs} right; {dict(total)}")
    return bool(good == args.runs)


def together(args: argparse.Namespace) -> bool:
    """Several buyers in one folder, and several jobs on one pool."""
    good = True
    with tempfile.TemporaryDirectory() as scratch, Provider().running() as provider:
        job = Job(Path(scratch), provider)
        for k in range(args.runs):
            provider.forget()
            buyers = [job.start(f"one{k}") for _ in range(args.processes)]
            for buyer in buyers:
                buyer.join()
            codes = sorted(buyer.exitcode or 0 for buyer in buyers)
            ok = not provider.twice and codes == [0, *[2] * (args.processes - 1)]
            ok &= "is in use by process" in job.log(f"one{k}")
            good &= ok
            print(
                f"{args.processes} on one folder: exit codes {codes}, {len(provider.served)} "
                f"samples, {len(provider.twice)} twice {ok}"
            )
            provider.forget()
            pool = Path(scratch) / f"pool{k}"
            fills = [spawn(_fill, pool, provider.port, f"r{i}") for i in range(args.processes)]
            for process in fills:
                process.join()
            codes = [process.exitcode or 0 for process in fills]
            ok = not provider.twice and not any(codes)
            good &= ok
            print(
                f"{args.processes} jobs on one pool: exit codes {codes}, {len(provider.served)} "
                f"samples, {len(provider.twice)} twice {ok}",
                flush=True,
            )
            provider.forget()
            pool = Path(scratch) / f"killed{k}"
            first, second = (spawn(_fill, pool, provider.port, r, 3.0) for r in ("a", "b"))
            while len(provider.served) < 200:
                time.sleep(0.01)
            first.kill()
            second.join()
            print(
                f"one of two killed: the other ends with {second.exitcode}, {len(provider.twice)} "
                "twice",
                flush=True,
            )
            good &= second.exitcode == 0 and len(provider.twice) <= 64
    return good


def _fill(path: Path, port: int, run: str, lease_s: float = 60.0) -> None:
    tier = tier_at(port)
    with SamplePool.open(path, lease_s=lease_s) as pool, closing(model_of(tier)) as model:
        fill(pool, model, tier, needs(400, model.address), Account(run))


def tier_at(port: int, concurrency: int = 32, **params: object) -> Tier:
    """One call a sample."""
    return Tier(
        "small",
        "openai/tiny",
        PRICE,
        modes={"direct": {"max_tokens": CAP, **params}},
        takes_n=False,
        takes_seed=True,
        limits={"concurrency": concurrency, "timeout_s": 30.0},
        api_base=f"http://127.0.0.1:{port}/v1",
    )


def model_of(tier: Tier) -> ProviderModel:
    """The tier's model, with short pauses between attempts."""
    return ProviderModel(tier, direct=True, retry=Retry(base_s=0.01, max_s=0.05))


def needs(requests: int, address: str, **params: object) -> list[Need]:
    """Two samples of each of so many requests."""
    sent = {"max_tokens": CAP, **params}
    return [
        Need(Request("openai/tiny", (Message("user", f"is it {k}"),), sent, address), 2)
        for k in range(requests)
    ]


def deadline(args: argparse.Namespace) -> bool:
    """No call after the deadline, and an end soon after it, on a provider that hangs too."""
    good = True
    for fault in ("", "slow", "hang", "hang late"):
        with (
            tempfile.TemporaryDirectory() as scratch,
            Provider(latency_s=0.4).running() as provider,
        ):
            job = Job(Path(scratch), provider, timeout_s=120.0)
            if fault == "slow":
                provider.slow_of, provider.slow_s = 20, 60.0
            process = job.start("run", "--seconds", "15" if fault == "hang late" else "4")
            job.wait_for_calls(process)
            began_s = time.time()
            if fault == "hang":
                time.sleep(1.0)
                provider.fault = fault
            elif fault == "hang late":  # when all samples for the search are there
                job.wait_for_calls(process, 2 * 27 * 5)
                provider.fault = "hang"
            process.join()
            took_s = time.time() - began_s
            last_s = max(c.began_s for c in provider.served) - began_s
            limit_s = 15 if fault == "hang late" else 4
            ok = last_s <= limit_s + 0.05 and took_s < limit_s + 10 + 5
            wrote = sorted(p.name for p in (Path(scratch) / "run").iterdir())
            if fault == "hang":  # too little is there to compare two prompts
                ok &= process.exitcode == 3 and "too few to choose by" in job.log("run")
            else:
                ok &= process.exitcode == 0 and {"summary.json", "policies"} <= set(wrote)
            good &= ok
            print(
                f"{fault or 'no fault':9}: deadline {limit_s} s after the first call, last call "
                f"{last_s:.2f} s, ended {took_s:.1f} s with {process.exitcode}; {wrote} {ok}",
                flush=True,
            )
            if not ok:
                print(job.log("run")[-2000:])
    return good


def outages(args: argparse.Namespace) -> bool:
    """A provider that is out for a while costs time, and nothing else; all kinds side by side."""
    kinds = ("503", "429", "reset", "hang", "closed")
    ends: dict[str, bool] = {}
    threads = [threading.Thread(target=_outage, args=(k, args.seconds, ends)) for k in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all(ends[kind] for kind in kinds)


def _outage(fault: str, seconds: float, ends: dict[str, bool]) -> None:
    ends[fault] = False
    with tempfile.TemporaryDirectory() as scratch:
        provider = Provider(latency_s=0.2)
        with provider.running():
            job = Job(Path(scratch), provider, timeout_s=10.0)
            job.start("whole").join()
            right, samples = job.policies("whole"), len(provider.served)
            provider.forget()
            process = job.start("run")
            job.wait_for_calls(process, samples // 3)
            began_s = time.time()
            if fault != "closed":
                provider.fault = fault
                time.sleep(seconds)
                provider.fault = ""
                process.join()
        if fault == "closed":
            time.sleep(seconds)
            with provider.running():
                process.join()
        same = bool(right) and job.policies("run") == right and process.exitcode == 0
        ends[fault] = same
        print(
            f"{fault:6}: out {seconds:.0f} s after {samples // 3} of {samples} samples, ended "
            "after "
            f"{time.time() - began_s:.0f} s with {process.exitcode}; {provider.failed} attempts "
            f"failed, {len(provider.twice)} samples served twice; {'same' if same else 'DIFFERS'}",
            flush=True,
        )
        if not same:
            print(job.log("run")[-3000:], flush=True)


USAGES: dict[str, Callable[[int, int], dict[str, object]]] = {
    "right": _as_it_is,
    "none": lambda p, c: {},
    "zero": lambda p, c: {"prompt_tokens": 0, "completion_tokens": 0},
    "huge": lambda p, c: {"prompt_tokens": p, "completion_tokens": 10**7},
    "text": lambda p, c: {"prompt_tokens": "many", "completion_tokens": None},
    "negative": lambda p, c: {"prompt_tokens": -p, "completion_tokens": -c},
}
EXTRAS: tuple[dict[str, object], ...] = (
    {},
    {"extra_body": {"max_tokens": 40}},
    {"extra_body": {"min_p": 0.1}},
    {"top_p": 0.9},
)


def budgets(args: argparse.Namespace) -> bool:
    """The bill stays within the budget, and within what the pool says.

    Half of the runs report their usage as it is; the others leave it out, or report what cannot be.
    A sixth of the calls fail with 500 or are cut after they were billed, in three runs of four.
    A third of the runs take several samples a call, and a third have a judge on the same account.
    """
    rng, good, total = random.Random(args.seed), 0, Counter[str]()
    with Provider(latency_s=0.002).running() as provider:
        for k in range(args.runs):
            provider.forget()
            kind = "right" if k % 2 == 0 else rng.choice([*USAGES][1:])
            extra, provider.usage = EXTRAS[k % len(EXTRAS)], USAGES[kind]
            provider.faults = rng.choice([0.0, 0.05, 1 / 6, 1 / 6])
            tier = replace(tier_at(provider.port, 64, **extra), takes_n=k % 3 == 1)
            usd = args.requests * 12e-6 * 10 ** rng.uniform(-1.0, 1.0)
            with (
                tempfile.TemporaryDirectory() as scratch,
                SamplePool.open(Path(scratch) / "pool") as pool,
                closing(model_of(tier)) as model,
            ):
                model.remark = lambda text: None
                wanted = needs(args.requests, model.address, **extra)
                short, error = "", ""
                try:
                    account = Account("r", 0, UsageLimits(usd=usd), tier.name)
                    short = fill(pool, model, tier, wanted, account).short
                    if k % 3 == 2:
                        judge = replace(tier, name="judge", takes_n=False)
                        asked = [need._replace(first=2) for need in wanted]
                        short = fill(pool, model, judge, asked, account, stage="judge").short
                except Exception as failure:  # noqa: BLE001 - counted: the bill is what is looked at
                    error = type(failure).__name__
                confirmed, possibly = pool.billed("r")
                most = confirmed.usd + possibly.usd
            ok = provider.bill_usd <= most + 1e-12 and max(provider.bill_usd, most) <= usd + 1e-12
            good += ok
            total.update({f"ended: {short or error or 'all bought'}": 1, f"usage: {kind}": 1})
            if not ok or k % 50 == 0:
                print(
                    f"usage {kind}, {extra}, faults {provider.faults:.2f}: budget ${usd:.6f}, bill "
                    f"${provider.bill_usd:.6f}, confirmed ${confirmed.usd:.6f}, possibly "
                    f"${possibly.usd:.6f}, {short or error} {ok}",
                    flush=True,
                )
    print(f"{good} of {args.runs} within the budget and the books; {dict(total)}")
    return bool(good == args.runs)


def cost(args: argparse.Namespace) -> bool:
    """Samples a second with answers that take 50 ms, 64 at a time, and CPU a sample."""

    class Waits:
        chunk, one_by_one = 64, True

        def complete(self, chunks: Any) -> Iterator[list[list[Result]]]:
            raise NotImplementedError

        async def answer(self, call: Call) -> list[Result]:
            async with slots:
                await supervising().admit(call)
                await asyncio.sleep(0.05)
                supervising().answered(call)
            return [Completion("A: 1", 3, 2)]

        def close(self) -> None:
            """Nothing is open."""

    wanted, tier = needs(args.requests, ""), tier_at(0, 64)
    for _ in range(3):
        slots = asyncio.Semaphore(64)
        with (
            tempfile.TemporaryDirectory() as scratch,
            SamplePool.open(Path(scratch) / "pool") as pool,
        ):
            began_s, cpu_s = time.perf_counter(), time.process_time()
            fill(pool, Waits(), tier, wanted)
            took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        n = 2 * args.requests
        print(
            f"{n / took_s:.0f} samples a second, of {64 / 0.05:.0f} that 64 calls of 50 ms can be; "
            f"{1e6 * cpu_s / n:.0f} us of CPU a sample"
        )
    return True


COMMANDS = {
    "kills": kills,
    "together": together,
    "deadline": deadline,
    "outages": outages,
    "budgets": budgets,
    "cost": cost,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("command", choices=COMMANDS)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--requests", type=int, default=40)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(arguments)
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["__main__", "tierwise.cli.tune", "tierwise.runs.tune", "tierwise.report.html", "litellm"]
    )
    sys.exit(0 if COMMANDS[args.command](args) else 1)


if __name__ == "__main__":
    main()
