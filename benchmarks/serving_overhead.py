"""What the gateway adds to a call, as ratios from one run.

    python benchmarks/serving_overhead.py --requests 1500

An upstream answers every call after 50 ms; a client asks it directly; then a gateway whose samples
take 50 ms in its own process, which is the gateway alone; then a gateway that reaches the upstream
straight (``OpenAIClient`` of ``llm.senders``), and one that reaches it through LiteLLM. Each server
is a process of its own; CPU is that of the gateway's process, without the client's and the
upstream's. Last, the CPU of one call by itself, sent either way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT

DELAY_S = 0.05
sys.path.insert(0, str(Path(__file__).parents[1]))  # the upstream and the policies are the tests'
MODELS = ("gateway", "straight", "litellm")
SAMPLES = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1500, help="at concurrency 64")
    parser.add_argument("--serve", nargs=3, metavar=("MODEL", "SAMPLES", "UPSTREAM"))
    parser.add_argument("--call", nargs=2, metavar=("MODEL", "UPSTREAM"))
    arguments = parser.parse_args()
    if arguments.call:
        print(call_cpu_s(*arguments.call))
        return
    if arguments.serve:
        model, samples, upstream = arguments.serve
        serve(model, int(samples), upstream)
        return
    heads = ("asked", "samples", "at once", "p50 ms", "p99 ms", "req/s", "CPU ms/req", "p50 ratio")
    print(("{:16}" + "{:>11}" * 7).format(*heads))
    from tests.loopback import Loopback

    with Loopback(delay_s=DELAY_S) as upstream:
        direct = {}
        for at_once, n in ((1, 60), (64, arguments.requests)):
            seconds, times = asyncio.run(ask(upstream.url, at_once, n))
            direct[at_once] = times[n // 2]
            show("direct", 1, at_once, seconds, times, None, 1.0)
        for model in MODELS:
            for samples in SAMPLES:
                for at_once, n in ((1, 60), (64, arguments.requests)):
                    seconds, times, cpu_s = asked_of(model, samples, upstream.url, at_once, n)
                    ratio = times[n // 2] / direct[at_once]
                    show(model, samples, at_once, seconds, times, cpu_s / n, ratio)
        alone = {m: alone_cpu_s(m, upstream.url) for m in ("straight", "litellm")}
    ratio = alone["litellm"] / alone["straight"]
    print(
        "\nCPU of one call alone: " + ", ".join(f"{m} {s * 1e3:.2f} ms" for m, s in alone.items())
    )
    print(f"LiteLLM takes {ratio:.1f} times the CPU of the straight call")


def alone_cpu_s(model: str, upstream: str) -> float:
    command = [sys.executable, __file__, "--call", model, upstream]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def call_cpu_s(model: str, upstream: str, calls: int = 600, at_once: int = 64) -> float:
    """CPU seconds of this process for one call of ``calls``, ``at_once`` at a time."""
    import os

    from tierwise.llm import Call, Request
    from tierwise.llm.provider import ProviderModel
    from tierwise.schema import Message, Price, Tier

    os.environ |= {"OPENAI_BASE_URL": upstream, "OPENAI_API_KEY": "sk-overhead"}
    params = {"max_tokens": 9, "temperature": 0.8}
    tier = Tier(
        "small",
        "openai/tiny",
        Price(1, 2),
        {"direct": {"max_tokens": 9}},
        limits={"concurrency": at_once},
    )
    client = ProviderModel(tier, direct=model == "straight")

    async def ask_all(n: int) -> None:
        slots = asyncio.Semaphore(at_once)

        async def one(i: int) -> None:
            async with slots:
                request = Request(tier.model, (Message("user", f"q {i}"),), params)
                await client.answer(Call(request, 0, 1, i))

        await asyncio.gather(*map(one, range(n)))

    asyncio.run(ask_all(at_once))
    started_s = time.process_time()
    asyncio.run(ask_all(calls))
    used_s = time.process_time() - started_s
    client.close()
    return used_s / calls


def show(
    asked: str,
    samples: int,
    at_once: int,
    seconds: float,
    times: Sequence[float],
    cpu_s: float | None,
    ratio: float,
) -> None:
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    cpu = "" if cpu_s is None else f"{cpu_s * 1e3:.2f}"
    cells = (
        samples,
        at_once,
        f"{p50 * 1e3:.1f}",
        f"{p99 * 1e3:.1f}",
        f"{len(times) / seconds:.0f}",
        cpu,
        f"{ratio:.2f}",
    )
    print(("{:16}" + "{:>11}" * 7).format(asked, *cells), flush=True)


def asked_of(
    model: str, samples: int, upstream: str, at_once: int, n: int
) -> tuple[float, list[float], float]:
    command = [sys.executable, __file__, "--serve", model, str(samples), upstream]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    asyncio.run(ask(url, 1, 3))  # the first calls open connections and import
    server.stdout.readline()
    seconds, times = asyncio.run(ask(url, at_once, n))
    server.send_signal(SIGINT)
    cpu_s = float(json.loads(server.stdout.read()))
    server.wait()
    return seconds, times, cpu_s


async def ask(url: str, at_once: int, n: int) -> tuple[float, list[float]]:
    """Seconds in all, and of each request, sorted."""
    import aiohttp

    times, numbers = [], iter(range(n))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def worker() -> None:
            for number in numbers:
                body = {"model": "p", "messages": [{"role": "user", "content": f"q {number}"}]}
                started_s = time.perf_counter()
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    assert reply.status == 200, await reply.text()
                    await reply.read()
                times.append(time.perf_counter() - started_s)

        started_s = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return time.perf_counter() - started_s, sorted(times)


def serve(model: str, samples: int, upstream: str) -> None:
    """A gateway in this process; prints its port, then its CPU seconds after the third answer."""
    import os

    import uvicorn

    from tests.serving.worlds import ANSWER, PROMPTS
    from tierwise.llm import Completion
    from tierwise.llm.scripted import ScriptedModel
    from tierwise.schema import PolicyFile, Price, StrategySpec, TaskRef, Tier, Variant, uniform
    from tierwise.serving import Answer, PolicyRuntime
    from tierwise.serving.gateway import AccessRules, Gateway
    from tierwise.serving.registry import PolicyRegistry

    os.environ |= {
        "OPENAI_BASE_URL": upstream,
        "OPENAI_API_KEY": "sk-overhead",
        "TIERWISE_SEND": model,
    }
    tier = Tier(
        "small",
        "openai/tiny",
        Price(1, 2),
        {"direct": {"max_tokens": 9}},
        limits={"concurrency": 64},
    )
    kind = {"samples": samples} if samples > 1 else {}
    strategy = StrategySpec.of("self_consistency" if samples > 1 else "single", kind)
    file = PolicyFile(
        "p",
        tier,
        TaskRef("t", 1, "exact_match", ""),
        ("question",),
        PROMPTS,
        uniform(Variant("plain", "direct", 0.8), strategy),
        answer=ANSWER,
    )
    own = ScriptedModel(lambda request, seed: Completion("A: 7", 11, 5), delay_s=DELAY_S)
    path = file.save(Path(tempfile.mkdtemp()) / "p.yaml")
    given = own if model == "gateway" else None
    gate = Gateway(
        PolicyRegistry([path], lambda f: PolicyRuntime(f, given)), AccessRules("127.0.0.1", ())
    )
    since = [0.0]
    answered = gate.metrics.answered
    count = [0]

    def counted(policy: str, answer: Answer) -> None:
        answered(policy, answer)
        count[0] += 1
        if count[0] == 3:
            since[0] = _cpu_s()
            print("warm", flush=True)

    # Watched from outside: the gateway needs no hook for what only this script wants to know.
    gate.metrics.answered = counted  # type: ignore[method-assign]  # the gateway is measured from within
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    print(listener.getsockname()[1], flush=True)
    try:
        uvicorn.Server(uvicorn.Config(gate.app, log_level="error")).run(sockets=[listener])
    except KeyboardInterrupt:
        print(_cpu_s() - since[0], flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
