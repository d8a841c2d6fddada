"""The gateway over HTTP: what it counts, policies that change, clients that leave, its end."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from tests.serving.gateways import (
    BUCKETS,
    USER,
    VOTE,
    Slow,
    client,
    gateway,
    local_gateway,
    post,
    served,
    words,
)
from tests.serving.worlds import VARIANTS, policy_file
from tierwise.errors import InputError, ProviderError
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import StrategySpec, uniform
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime
from tierwise.serving.registry import PolicyRegistry


async def test_metrics_add_up(tmp_path: Path) -> None:
    model = ScriptedModel(words)
    gate = gateway(tmp_path, policy_file(BUCKETS.with_shares((0.75, 0.25))), model=model)
    for _ in range(3):
        await post(gate, messages=USER)
    await post(gate, messages=USER, stream=True)
    await post(gate, messages=[])
    await post(gate, model="x", messages=USER)
    async with client(gate) as http:
        text = (await http.get("/metrics")).text
    seen = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(seen['tierwise_requests_total{policy="p",status="200"}']) == 4
    assert float(seen['tierwise_requests_total{policy="p",status="400"}']) == 1
    assert float(seen['tierwise_requests_total{policy="",status="404"}']) == 1
    assert float(seen['tierwise_errors_total{code="model_not_found",policy=""}']) == 1
    assert float(seen['tierwise_samples_total{outcome="ok",policy="p"}']) == model.samples == 8
    assert float(seen['tierwise_calls_total{policy="p"}']) == model.calls
    assert float(seen['tierwise_bucket_requests_total{bucket="easy",policy="p"}']) == 4
    assert float(seen['tierwise_bucket_expected_share{bucket="easy",policy="p"}']) == 0.75
    assert float(seen['tierwise_usd_total{policy="p"}']) == pytest.approx(4 * (5.5e-6 + 15e-6))
    assert float(seen["tierwise_in_flight"]) == 0
    assert float(seen['tierwise_ready{policy="p"}']) == 1


async def test_a_policy_without_credentials_is_not_ready_and_the_others_serve(
    tmp_path: Path,
) -> None:
    paths = [
        policy_file(VOTE, name).save(tmp_path / f"{name}.yaml") for name in ("good", "keyless")
    ]

    def opened(file: PolicyFile) -> PolicyRuntime:
        if file.name == "keyless":
            raise ProviderError("OPENAI_API_KEY is not set")
        return PolicyRuntime(file, ScriptedModel(words))

    gate = local_gateway(paths, opened)
    async with client(gate) as http:
        ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["policies"]["good"]["ready"]
    assert ready.json()["policies"]["keyless"]["reason"] == "OPENAI_API_KEY is not set"
    assert (await post(gate, model="good", messages=USER)).status_code == 200
    refused = await post(gate, model="keyless", messages=USER)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "policy_not_ready")


async def test_a_changed_policy_replaces_the_old_one_and_a_bad_one_does_not(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE))
    path = tmp_path / "0.yaml"

    async def samples() -> int:
        return (await post(gate, messages=USER)).json()["tierwise"]["samples"]

    assert await gate.registry.reload() == []
    policy_file(uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=5))).save(path)
    assert await samples() == 3
    assert await gate.registry.reload() == [("p", "loaded")]
    assert await samples() == 5
    good = path.read_text()
    path.write_text(good.replace("self_consistency", "self_consistencyy"))
    assert await gate.registry.reload() == [("p", "refused")]
    assert await gate.registry.reload() == []
    assert await samples() == 5
    async with client(gate) as http:
        ready = await http.get("/readyz")
    assert ready.status_code == 200
    assert "self_consistencyy" in ready.json()["refused"]["0.yaml"]
    path.unlink()
    assert await gate.registry.reload() == [("p", "refused")]
    assert await samples() == 5
    path.write_text(good)
    assert await gate.registry.reload() == [("p", "loaded")]


async def test_a_replaced_runtime_is_closed_after_its_last_answer(tmp_path: Path) -> None:
    model, closed = Slow(), []

    class Runtime(PolicyRuntime):
        def close(self) -> None:
            closed.append(self.file)

    first = policy_file(VOTE)
    path = first.save(tmp_path / "p.yaml")
    gate = local_gateway([path], lambda file: Runtime(file, model))
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(post(gate, messages=USER))
        while not model.waiting:
            await asyncio.sleep(0.001)
        policy_file(uniform(VARIANTS[0], StrategySpec.of("single"))).save(path)
        assert await gate.registry.reload() == [("p", "loaded")]
        assert closed == []
        model.released = True
    assert asked.result().json()["tierwise"]["samples"] == 3
    assert closed == [first]


def test_a_policy_with_a_fault_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    path = policy_file(VOTE).save(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("self_consistency", "self_consistencyy"))
    with pytest.raises(InputError, match=r"p\.yaml: .*did you mean 'self_consistency'"):
        PolicyRegistry([path])
    with pytest.raises(InputError, match=r"p\.yaml: .*did you mean 'self_consistency'"):
        PolicyRuntime.load(path)


def test_two_policies_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.yaml.*'p' is that of"):
        gateway(tmp_path, policy_file(VOTE), policy_file(BUCKETS))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_calls(tmp_path: Path, stream: bool) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, keep_alive_s=0.01)
    body = {"model": "p", "messages": USER, "stream": stream}
    with served(gate.app) as base:
        # The client gives up: that is the test.
        with contextlib.suppress(httpx.TimeoutException), httpx.Client(timeout=0.2) as http:
            if stream:
                with http.stream("POST", f"{base}/v1/chat/completions", json=body) as reply:
                    next(reply.iter_raw())
            else:
                http.post(f"{base}/v1/chat/completions", json=body)
        while not model.cancelled:
            pass
        text = httpx.get(f"{base}/metrics").text
    assert 'tierwise_requests_total{policy="p",status="499"} 1.0' in text


def test_a_stop_answers_what_is_under_way(tmp_path: Path) -> None:
    import threading

    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model)
    got = []

    def ask(base: str) -> None:
        body = {"model": "p", "messages": USER}
        got.append(httpx.post(f"{base}/v1/chat/completions", json=body, timeout=30).status_code)

    with served(gate.app) as base:
        thread = threading.Thread(target=ask, args=(base,))
        thread.start()
        while not model.waiting:
            pass
        threading.Timer(0.1, lambda: setattr(model, "released", True)).start()
    thread.join()
    assert got == [200]
