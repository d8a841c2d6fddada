"""What a provider counts, held against what the pool says: kills, two processes, outages, budgets.

    python benchmarks/paid_work.py kills --runs 200      # KILL TERM HUP INT and INT twice, slow heads
    python benchmarks/paid_work.py together --processes 4
    python benchmarks/paid_work.py deadline
    python benchmarks/paid_work.py outages --seconds 120
    python benchmarks/paid_work.py budgets --runs 500
    python benchmarks/paid_work.py cost                  # of being durable, in samples a second

A provider in this process answers over HTTP and writes down every call: its own count is the bill. A
buyer is a process of its own that fills a pool from it (``buyer``), and is killed at random moments
and started again. Each command prints a line a run, and ends with 1 where something was lost or
bought twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tierwise.errors import TierwiseError
from tierwise.llm import Call, Completion, Failure, Request, Result
from tierwise.llm.supervisor import Withheld, supervising
from tierwise.pool import Account, Need, Progress, SamplePool, fill
from tierwise.schema import Message, Price, Tier, UsageLimits

CAP = 40
PRICE = Price(1.0, 2.0)
WORDS = ("yes", "no", "perhaps so", "it may well be that this is so")


class Served(NamedTuple):
    """One call as the provider saw it; ``answered_s`` None where no answer was sent."""

    prompt: str
    sample: int
    began_s: float
    answered_s: float | None


@dataclass
class Provider:
    """Answers after ``latency_s``, one call in ``slow_of`` after ``slow_s`` when first asked.

    ``fault`` is what goes wrong now: '' nothing, or 503, 500, 429, cut, hang.
    """

    latency_s: float = 0.04
    slow_of: int = 0
    slow_s: float = 15.0
    fault: str = ""
    port: int = 0
    served: list[Served] = field(default_factory=list)
    faults: int = 0
    _slow: set[tuple[str, int]] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One sample."""
        asked = await request.json()
        prompt, sample, began_s = asked["prompt"], asked["sample"], time.time()
        if self.fault:
            self.faults += 1
            return await self._fail(request)
        rng = random.Random(f"{prompt}:{sample}")
        wait_s = self.latency_s * rng.uniform(0.5, 1.5)
        slow = self.slow_of and random.Random(f"slow {prompt}").randrange(self.slow_of) == 0
        if slow and (prompt, sample) not in self._slow:
            self._slow.add((prompt, sample))
            wait_s = self.slow_s
        at = len(self.served)
        self.served.append(Served(prompt, sample, began_s, None))
        await asyncio.sleep(wait_s)
        text = rng.choice(WORDS)
        response = web.json_response(
            {"text": text, "prompt": len(prompt.split()), "completion": len(text.split())}
        )
        await response.prepare(request)
        with suppress(ClientError):  # its buyer was stopped
            await response.write_eof()
            self.served[at] = self.served[at]._replace(answered_s=time.time())
        return response

    async def _fail(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "hang":
            await asyncio.sleep(3600)
        if self.fault == "cut" and request.transport is not None:
            request.transport.close()
        return web.Response(status=int(self.fault) if self.fault.isdigit() else 500)

    @contextmanager
    def running(self) -> Iterator[Provider]:
        """Serve on a port of its own."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def start() -> None:
            app = web.Application(logger=logging.getLogger("silent"))
            app.router.add_post("/", self.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            ready.set()

        def serve() -> None:
            loop.create_task(start())
            loop.run_forever()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    @property
    def bill_usd(self) -> float:
        """What it would charge: every call that it began to answer."""
        usd = 0.0
        for prompt, sample, _, _ in self.served:
            text = _said(prompt, sample)
            read = len(prompt.split())
            usd += PRICE.prompt_usd(read)
            usd += PRICE.completion_usd(len(text.split()), prompt_tokens=read)
        return usd


def _said(prompt: str, sample: int) -> str:
    rng = random.Random(f"{prompt}:{sample}")
    rng.uniform(0.5, 1.5)
    return rng.choice(WORDS)


class Client:
    """A model over the provider: three attempts at a call, each let out by its supervisor."""

    chunk = 64
    one_by_one = True

    def __init__(self, port: int, timeout_s: float = 30.0, concurrency: int = 32) -> None:
        self._url, self._timeout_s = f"http://127.0.0.1:{port}/", timeout_s
        self._session: ClientSession | None = None
        self._slots: asyncio.Semaphore | None = None
        self._concurrency = concurrency

    def complete(self, chunks: Any) -> Iterator[list[list[Result]]]:
        """Not asked: calls are answered one by one."""
        raise NotImplementedError

    async def answer(self, call: Call) -> list[Result]:
        """One sample, or a failure after three attempts."""
        if self._session is None:
            timeout = ClientTimeout(total=self._timeout_s)
            self._session = ClientSession(timeout=timeout, connector=TCPConnector(limit=0))
            self._slots = asyncio.Semaphore(self._concurrency)
        assert self._slots is not None
        supervisor, kind = supervising(), ""
        async with self._slots:
            for attempt in range(3):
                if not await supervisor.admit(call):
                    raise Withheld
                kind, results = await self._once(call)
                if results:
                    supervisor.answered(call)
                    return results
                supervisor.faulted(call, kind)
                if kind not in ("connection", "rate_limit") and not supervisor.lost(call, kind):
                    break
                await asyncio.sleep(0.2 * 2**attempt)
        return [Failure(kind, "no answer")]

    async def _once(self, call: Call) -> tuple[str, list[Result]]:
        assert self._session is not None
        body = {"prompt": call.request.messages[0].content, "sample": call.first_sample}
        try:
            async with self._session.post(self._url, json=body) as response:
                if response.status == 429:
                    return "rate_limit", []
                if response.status != 200:
                    return "server_error", []
                said = await response.json()
        except TimeoutError:
            return "timeout", []
        except ClientError as error:
            refused = "Connector" in type(error).__name__
            return ("connection" if refused else "malformed"), []
        return "", [Completion(said["text"], said["prompt"], said["completion"])]

    def close(self) -> None:
        """Its loop ends with the process."""


def tier(concurrency: int = 32) -> Tier:
    """One call a sample."""
    modes = {"direct": {"max_tokens": CAP}}
    limits = {"concurrency": concurrency}
    return Tier("small", "fake/small", PRICE, modes=modes, takes_n=False, limits=limits)


def needs(requests: int) -> list[Need]:
    """Two samples of each of so many requests."""
    return [
        Need(Request("fake/small", (Message("user", f"is it {k}"),), {"max_tokens": CAP}), 2)
        for k in range(requests)
    ]


def buy(args: argparse.Namespace) -> None:
    """A buyer's whole life; a line with what it bought and what the pool says."""
    from tierwise.cli._progress import stopping

    deadline_s = None if args.deadline is None else time.monotonic() + args.deadline
    limits = UsageLimits(usd=args.usd)
    account = Account(args.run, 0, limits, deadline_s=deadline_s, max_outage_s=args.max_outage)
    wanted, client = needs(args.requests), Client(args.port, args.timeout, args.concurrency)

    def progress(so_far: Progress) -> None:
        if so_far.waiting:
            print(f"waiting: {so_far.waiting}", file=sys.stderr, flush=True)

    with stopping(), SamplePool.open(args.pool, lease_s=args.lease) as pool:
        print("open", flush=True)
        filled = fill(pool, client, tier(args.concurrency), wanted, account, progress=progress)
        keys = {need.request.key: range(2) for need in wanted}
        billed = pool.billed(args.run)
        done = {
            "bought": filled.usage.samples,
            "failures": filled.failures,
            "short": filled.short,
            "sha256": pool.sha256(keys),
            "confirmed_usd": billed.confirmed.usd,
            "most_usd": billed.most.usd,
        }
    print(json.dumps(done), flush=True)


def start(pool: Path, port: int, *more: str) -> subprocess.Popen[str]:
    """A buyer, when it has opened the pool."""
    command = [sys.executable, __file__, "buyer", "--pool", str(pool), "--port", str(port), *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a buyer said at its end; empty where it was stopped."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.wait()
    return json.loads(lines[-1]) if process.returncode == 0 else {}


def stored(path: Path) -> set[tuple[str, int]]:
    """(prompt, sample) of what is in the pool."""
    with SamplePool.open(path) as pool:
        wanted = needs(5000)
        rows = pool.samples([need.request.key for need in wanted], 0, 2)
    return {(wanted[place].request.messages[0].content, sample) for place, sample, *_ in rows}


def stop(process: subprocess.Popen[str], how: str) -> None:
    """Send the signal, or the two."""
    number = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP}.get(how)
    with suppress(ProcessLookupError):
        process.send_signal(number or signal.SIGINT)
        if how == "INT twice":
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)


def kills(args: argparse.Namespace) -> bool:
    """Stop a buyer at a random moment, start it again, and compare with one that was not."""
    rng, good = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as scratch, Provider().running() as provider:
        more = ("--requests", str(args.requests))
        whole = finish(start(Path(scratch) / "whole", provider.port, *more))
        total = Counter[str]()
        for k in range(args.runs):
            how = ("KILL", "TERM", "HUP", "INT", "INT twice")[k % 5]
            slow = k % 2 == 1
            provider.served.clear()
            provider._slow.clear()
            provider.slow_of = 60 if slow else 0
            provider.slow_s = 4.0
            path = Path(scratch) / f"pool{k}"
            process = start(path, provider.port, *more)
            time.sleep(rng.uniform(0.05, 2.5))
            at_s = time.time()
            stop(process, how)
            process.wait()
            ended_s = time.time()
            there, seen = stored(path), list(provider.served)
            lost = [
                s
                for s in seen
                if s.answered_s and s.answered_s < at_s - 1.0 and (s.prompt, s.sample) not in there
            ]
            again = finish(start(path, provider.port, *more))
            counts = Counter((s.prompt, s.sample) for s in provider.served)
            twice = {key for key, n in counts.items() if n > 1}
            in_flight = {
                (s.prompt, s.sample)
                for s in seen
                if s.answered_s is None or s.answered_s > at_s - 1.0
            }
            ok = not lost and twice <= in_flight and again.get("sha256") == whole["sha256"]
            good += ok
            total.update({how: ok, "twice": len(twice), "recent lost": len(in_flight - there)})
            print(
                f"{how:9} {'slow heads' if slow else '':10} at {len(seen):5} calls, ended after "
                f"{ended_s - at_s:4.1f} s: {len(there):5} stored, {len(lost)} lost, {len(twice):3} "
                f"twice, of {len(in_flight)} in flight; {'same' if ok else 'WRONG'}",
                flush=True,
            )
    print(f"{good} of {args.runs} right; {dict(total)}")
    return bool(good == args.runs)


def together(args: argparse.Namespace) -> bool:
    """Several buyers of the same samples on one pool."""
    with tempfile.TemporaryDirectory() as scratch, Provider().running() as provider:
        path = Path(scratch) / "pool"
        more = ("--requests", str(args.requests))
        buyers = [
            start(path, provider.port, "--run", f"r{k}", *more) for k in range(args.processes)
        ]
        ends = [finish(buyer) for buyer in buyers]
        counts = Counter((s.prompt, s.sample) for s in provider.served)
        twice = sum(n > 1 for n in counts.values())
        print(
            f"{args.processes} processes, one pool: {len(counts)} samples served, {twice} twice; "
            f"bought {[end.get('bought') for end in ends]}; "
            f"confirmed ${sum(e['confirmed_usd'] for e in ends):.6f}, bill ${provider.bill_usd:.6f}"
        )
        provider.served.clear()
        path = Path(scratch) / "killed"
        first = start(path, provider.port, "--run", "a", "--lease", "3", *more)
        second = start(path, provider.port, "--run", "b", "--lease", "3", *more)
        time.sleep(0.5)
        first.kill()
        end = finish(second)
        counts = Counter((s.prompt, s.sample) for s in provider.served)
        dead = sum(n > 1 for n in counts.values())
        print(f"one of two killed: the other ends with {end.get('short') or 'all'}; {dead} twice")
        return twice == 0 and bool(end) and not end["short"]


def deadline(args: argparse.Namespace) -> bool:
    """No call after the deadline, and an end soon after it, on a provider that hangs too."""
    good = True
    for fault in ("", "hang"):
        with tempfile.TemporaryDirectory() as scratch, Provider().running() as provider:
            provider.slow_of, provider.slow_s = 50, 60.0
            more = ("--requests", "5000", "--deadline", "3", "--timeout", "120")
            process = start(Path(scratch) / "pool", provider.port, *more)
            began_s = time.time()
            if fault:
                time.sleep(1.0)
                provider.fault = fault
            end = finish(process)
            took_s = time.time() - began_s
            last_s = max(s.began_s for s in provider.served) - began_s
            print(f"{fault or 'slow'}: last call {last_s:.2f} s, ended {took_s:.1f} s, {end}")
            good &= last_s <= 3.1 and took_s < 15 and end.get("short") == "seconds"
    return good


def outages(args: argparse.Namespace) -> bool:
    """A provider that is out for a while costs time, and nothing else."""
    good = True
    for fault in ("503", "500", "429", "cut", "hang", "closed"):
        with tempfile.TemporaryDirectory() as scratch:
            provider = Provider()
            with provider.running():
                more = ("--requests", str(args.requests), "--timeout", "5")
                whole = finish(start(Path(scratch) / "whole", provider.port, *more))
                process = start(Path(scratch) / "pool", provider.port, *more)
                time.sleep(0.5)
                began_s = time.time()
                if fault != "closed":
                    provider.fault = fault
                    time.sleep(args.seconds)
                    provider.fault = ""
                    end = finish(process)
            if fault == "closed":
                time.sleep(args.seconds)
                with Provider(port=provider.port).running():
                    end = finish(process)
            same = end.get("sha256") == whole["sha256"] and end.get("failures") == 0
            good &= same
            print(
                f"{fault}: out {args.seconds} s, ended after {time.time() - began_s:.0f} s, "
                f"{provider.faults} attempts failed; {'same' if same else f'DIFFERS {end}'}",
                flush=True,
            )
    return good


def budgets(args: argparse.Namespace) -> bool:
    """The bill stays within the budget, and within what the pool says."""
    rng, good = random.Random(args.seed), 0
    with Provider(latency_s=0.002).running() as provider:
        for k in range(args.runs):
            provider.served.clear()
            with tempfile.TemporaryDirectory() as scratch:
                usd = provider_whole_usd(args.requests) * 10 ** rng.uniform(-1.0, 0.3)
                account = Account("r", 0, UsageLimits(usd=usd))
                with SamplePool.open(Path(scratch) / "pool") as pool:
                    fill(pool, Client(provider.port), tier(64), needs(args.requests), account)
                    billed = pool.billed("r")
                ok = provider.bill_usd <= billed.most.usd + 1e-12 and billed.most.usd <= usd
                good += ok
                if not ok or k % 50 == 0:
                    print(
                        f"budget ${usd:.6f}, bill ${provider.bill_usd:.6f}, confirmed "
                        f"${billed.confirmed.usd:.6f}, most ${billed.most.usd:.6f} {ok}",
                        flush=True,
                    )
    print(f"{good} of {args.runs} within the budget")
    return bool(good == args.runs)


def provider_whole_usd(requests: int) -> float:
    """What all samples come to."""
    return sum(
        PRICE.prompt_usd(3)
        + PRICE.completion_usd(len(_said(f"is it {k}", s).split()), prompt_tokens=3)
        for k in range(requests)
        for s in range(2)
    )


def cost(args: argparse.Namespace) -> bool:
    """Samples a second with answers that take 50 ms, 64 at a time, and of a provider in memory."""

    class Waits(Client):
        async def answer(self, call: Call) -> list[Result]:
            await supervising().admit(call)
            await asyncio.sleep(0.05)
            supervising().answered(call)
            return [Completion("A: 1", 3, 2)]

    wanted = needs(args.requests)
    for _ in range(3):
        with (
            tempfile.TemporaryDirectory() as scratch,
            SamplePool.open(Path(scratch) / "pool") as pool,
        ):
            began_s = time.perf_counter()
            fill(pool, Waits(0), tier(64), wanted)
            took_s = time.perf_counter() - began_s
        rate = 2 * args.requests / took_s
        print(f"{rate:.0f} samples a second, of {64 / 0.05:.0f} that 64 calls of 50 ms can be")
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
    options.add_argument("command", choices=[*COMMANDS, "buyer"])
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--requests", type=int, default=1500)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--seed", type=int, default=0)
    buyer = options.add_argument_group("of a buyer")
    buyer.add_argument("--pool", type=Path)
    buyer.add_argument("--port", type=int)
    buyer.add_argument("--run", default="r")
    buyer.add_argument("--usd", type=float)
    buyer.add_argument("--deadline", type=float)
    buyer.add_argument("--timeout", type=float, default=30.0)
    buyer.add_argument("--concurrency", type=int, default=32)
    buyer.add_argument("--lease", type=float, default=60.0)
    buyer.add_argument("--max-outage", type=float, default=600.0)
    args = options.parse_args(arguments)
    if args.command == "buyer":
        try:
            buy(args)
        except KeyboardInterrupt:
            sys.exit(130)
        except TierwiseError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        return
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(0 if COMMANDS[args.command](args) else 1)


if __name__ == "__main__":
    main()
