"""A provider that fails in every way it can: nothing hangs, nothing is lost, counts add up."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.loopback import Fault, Loopback, Said
from tests.serving.gateways import USER, VOTE, client, gateway, local_gateway
from tests.serving.worlds import policy_file, voting
from tierwise.llm.limits import Retry
from tierwise.llm.provider import ProviderModel
from tierwise.schema import Limits
from tierwise.serving import PolicyRuntime
from tierwise.serving.gateway import Gateway

FAULTS = (
    Fault("status", 429, {"Retry-After": "0.01"}),
    Fault("status", 500),
    Fault("hang", seconds=40.0),
    Fault("cut"),
    Fault("truncated"),
    Fault("empty"),
    Fault("html"),
)


def one_in_five(number: int) -> Fault | None:
    return FAULTS[number // 5 % len(FAULTS)] if number % 5 == 4 else None


async def quick(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.02))


ONCE = Retry(attempts=1, rate_limited_attempts=1, sleep=quick)
AGAIN = Retry(sleep=quick)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("requests", "at_once", "direct", "retry"),
    [
        pytest.param(140, 64, True, ONCE, id="straight"),
        pytest.param(140, 64, True, AGAIN, id="straight, retried"),
        pytest.param(70, 16, False, ONCE, id="litellm"),
        pytest.param(2000, 64, True, ONCE, id="2000 straight", marks=pytest.mark.slow),
        pytest.param(2000, 64, True, AGAIN, id="2000 straight, retried", marks=pytest.mark.slow),
        pytest.param(2000, 64, False, ONCE, id="2000 litellm", marks=pytest.mark.slow),
    ],
)
def test_one_call_in_five_fails_and_every_request_ends_well(
    loopback: Loopback, tmp_path: Path, requests: int, at_once: int, direct: bool, retry: Retry
) -> None:
    loopback.fault = one_in_five
    loopback.speak = lambda messages, seed, body: Said("A: 7", finish_reason="stopp")
    # 64 calls at once are a second of LiteLLM's work, and ten on a machine with other things to do.
    timeout_s = 4.0 if direct or at_once < 64 else 16.0
    file = voting()
    file = replace(file, policy=replace(file.policy, limits=Limits(timeout_s=40.0)))
    tier = replace(file.tier, limits={"concurrency": 64, "timeout_s": timeout_s})
    model = ProviderModel(tier, retry=retry, direct=direct)
    try:
        gate = local_gateway([file.save(tmp_path / "p.yaml")], lambda f: PolicyRuntime(f, model))
        statuses, metrics = asyncio.run(_asked(gate, requests, at_once))
    finally:
        model.close()
    assert sum(statuses.values()) == requests
    assert set(statuses) <= {200, 502, 503, 504}
    assert statuses[200] >= (0.7 if retry is ONCE else 0.99) * requests
    for status, count in statuses.items():
        assert metrics[f'tierwise_requests_total{{policy="p",status="{status}"}}'] == count
    assert metrics['tierwise_calls_total{policy="p"}'] == requests
    assert metrics['tierwise_attempts_total{policy="p"}'] == loopback.calls
    assert (loopback.calls == requests) == (retry is ONCE)
    assert metrics['tierwise_samples_total{outcome="ok",policy="p"}'] == 3 * loopback.answered
    samples = sum(v for k, v in metrics.items() if k.startswith("tierwise_samples_total"))
    assert samples == 3 * requests
    assert metrics["tierwise_in_flight"] == 0


async def _asked(
    gate: Gateway, requests: int, concurrency: int
) -> tuple[Counter[int], dict[str, float]]:
    statuses: Counter[int] = Counter()
    async with client(gate) as http:
        slots = asyncio.Semaphore(concurrency)

        async def one(i: int) -> None:
            async with slots:
                body = {"model": "p", "messages": [{"role": "user", "content": f"q {i}"}]}
                got = await http.post("/v1/chat/completions", json=body, timeout=90)
            data = got.json()
            if got.status_code == 200:
                assert data["choices"][0]["finish_reason"] == "stop"
                assert data["tierwise"]["answer"] == "7"
            else:
                assert set(data["error"]) == {"message", "type", "param", "code"}
                assert data["tierwise"]["samples"] == 3
            statuses[got.status_code] += 1

        await one(0)  # a provider that never answered is given up at its first cut connection
        await asyncio.gather(*map(one, range(1, requests)))
        text = (await http.get("/metrics")).text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return statuses, {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines)}


FLAT_MB = 8.0
"""Memory may grow by so much over the last eight thousand of ten thousand mutations."""

GOOD = {"model": "p", "messages": USER, "seed": 3, "stream": False, "temperature": 0.5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [*GOOD, "inputs", "stream_options", "n", "tools", "stop", "response_format"]
)


@st.composite
def mutated_bodies(sample) -> bytes:
    body: dict[str, object] = dict(GOOD)
    for _ in range(sample(st.integers(1, 3))):
        body[sample(NAMES | st.text(max_size=8))] = sample(JSON)
        if sample(st.booleans()):
            body.pop(sample(NAMES), None)
    raw = json.dumps(body).encode()
    if sample(st.booleans()):
        at = sample(st.integers(0, len(raw) - 1))
        raw = raw[:at] + sample(st.binary(max_size=3)) + raw[at + sample(st.integers(0, 3)) :]
    return raw


@pytest.mark.parametrize("examples", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_bodies_get_well_formed_answers_or_errors(tmp_path: Path, examples: int) -> None:
    gate = gateway(tmp_path, policy_file(VOTE))

    async def ask(body: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(gate.app)  # raises what the gateway does not answer
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            headers = {"content-type": "application/json"}
            return await http.post("/v1/chat/completions", content=body, headers=headers)

    with asyncio.Runner() as runner:
        _each(mutated_bodies(), examples, lambda body: _check_reply(runner.run(ask(body))))
    assert gate._in_flight == 0


def _check_reply(got: httpx.Response) -> None:
    assert got.status_code in (200, 400, 404)
    if got.headers["content-type"].startswith("text/event-stream"):
        assert got.text.endswith("data: [DONE]\n\n")
    elif got.status_code == 200:
        assert got.json()["choices"][0]["message"]["content"] == "Well. A: 7"
    else:
        assert set(got.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("examples", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_policy_files_are_refused_and_the_old_one_stays(
    tmp_path: Path, examples: int
) -> None:
    gate = gateway(tmp_path, policy_file(VOTE))
    path = tmp_path / "0.yaml"
    text = path.read_text()
    words = [m.span() for m in re.finditer(r"[\w./{}-]+", text)]

    @st.composite
    def mutated(sample) -> bytes:
        start, end = sample(st.sampled_from(words))
        new = sample(
            st.sampled_from(["", "-1", "no", "1e9", "[]", "{}", "&a *a", "'"]) | st.text(max_size=5)
        )
        raw = (text[:start] + new + text[end:]).encode("utf-8", "replace")
        cut = sample(st.integers(0, 40))
        return raw[: len(raw) - cut] if sample(st.booleans()) else raw

    with asyncio.Runner() as runner:

        def check(content: bytes) -> None:
            path.write_bytes(content)
            outcomes = runner.run(gate.registry.reload())
            assert all(outcome in ("loaded", "refused") for _, outcome in outcomes)
            assert all("Traceback" not in why for why in gate.registry.refused.values())
            [served] = gate.registry.policies
            assert served.runtime is not None

        _each(mutated(), examples, check)


def _each(strategy: st.SearchStrategy, examples: int, check: Callable) -> None:
    """``check`` on as many examples, a thousand at a time; memory must not grow after the second.

    Hypothesis remembers the examples of a run, so that each thousand is a run of its own; pytest
    remembers every line of a log, so that there is none.
    """
    resident_mb = []
    for part in range(-(-examples // 1000)):

        @seed(part)
        @settings(max_examples=min(examples, 1000), database=None)
        @given(strategy)
        def run(value) -> None:
            check(value)

        logging.disable(logging.CRITICAL)
        try:
            run()
        finally:
            logging.disable(logging.NOTSET)
        gc.collect()
        resident_mb.append(_resident_mb())
    if len(resident_mb) > 2:
        logging.info("resident after each thousand, MB: %s", resident_mb)  # with --log-cli-level
        assert resident_mb[-1] - resident_mb[1] < FLAT_MB, resident_mb


def _resident_mb() -> float:
    """Of this process; where there is no /proc, the most that it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return round(int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20, 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
