"""The gateway over HTTP: who may ask, how much, and what a provider that fails comes to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.serving.gateways import TOKEN, USER, VOTE, Slow, client, gateway, post
from tests.serving.worlds import policy_file
from tierwise.errors import InputError
from tierwise.llm import Failure
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Limits, Policy
from tierwise.serving.gateway import AccessRules, tokens_from_environment


async def test_tokens_guard_everything_but_the_probes(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), tokens=[TOKEN])
    async with client(gate) as http:
        for path in ("/v1/models", "/metrics"):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
                got = await http.get(path, headers=headers)
                assert got.status_code == 401
                assert got.json()["error"]["code"] == "invalid_api_key"
            good = {"authorization": f"Bearer {TOKEN}"}
            assert (await http.get(path, headers=good)).status_code == 200
        assert (await http.post("/v1/chat/completions", json={})).status_code == 401
        for path in ("/healthz", "/readyz"):
            assert (await http.get(path)).status_code == 200


def test_without_a_token_only_loopback_is_served() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        AccessRules(host, ())
    for host in ("0.0.0.0", "::", "10.0.0.4", "example.org"):
        with pytest.raises(InputError, match="TIERWISE_TOKENS"):
            AccessRules(host, ())
        AccessRules(host, (TOKEN,))


async def test_without_a_token_a_foreign_name_for_loopback_is_refused(tmp_path: Path) -> None:
    async with client(gateway(tmp_path, policy_file(VOTE))) as http:
        got = await http.get("/v1/models", headers={"host": "rebound.example:8080"})
    assert got.status_code == 421


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERWISE_TOKENS", f"{TOKEN}, {TOKEN}-2\n")
    assert tokens_from_environment() == (TOKEN, f"{TOKEN}-2")
    monkeypatch.setenv("TIERWISE_TOKENS", "short")
    with pytest.raises(InputError, match="16"):
        tokens_from_environment()


async def test_a_body_over_the_limit_is_413_announced_or_not(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), max_body_bytes=100)

    async def unannounced():
        for _ in range(50):
            yield b"x" * 10

    async with client(gate) as http:
        for content in (b"x" * 101, unannounced()):
            headers = {"content-type": "application/json"}
            got = await http.post("/v1/chat/completions", content=content, headers=headers)
            assert got.status_code == 413
        form = await http.post("/v1/chat/completions", content=b"{}")
        assert form.status_code == 415


async def test_more_than_the_bound_is_429_until_one_is_answered(tmp_path: Path) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, max_in_flight=2)
    async with asyncio.TaskGroup() as group:
        plain = group.create_task(post(gate, messages=USER))
        stream = group.create_task(post(gate, messages=USER, stream=True))
        while model.waiting < 2:
            await asyncio.sleep(0.001)
        third = await post(gate, messages=USER)
        assert third.status_code == 429
        assert third.headers["retry-after"] == "1"
        assert third.json()["error"]["type"] == "rate_limit_error"
        model.released = True
    assert plain.result().status_code == stream.result().status_code == 200
    assert (await post(gate, messages=USER)).status_code == 200


async def test_a_provider_that_gives_nothing_is_502_with_its_bill(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request, seed: Failure("server_error", "it broke"))
    gate = gateway(tmp_path, policy_file(VOTE), model=model)
    got = await post(gate, messages=USER)
    assert got.status_code == 502
    assert got.json()["error"]["type"] == "api_error"
    assert "it broke" in got.json()["error"]["message"]
    assert got.json()["tierwise"]["samples"] == 3
    streamed = await post(gate, messages=USER, stream=True)
    events = [e[6:] for e in streamed.text.split("\n\n") if e.startswith("data: ")]
    assert json.loads(events[-2])["error"]["code"] == "upstream_failed"
    assert events[-1] == "[DONE]"


async def test_a_hanging_provider_is_504_at_the_policys_timeout(tmp_path: Path) -> None:
    model = Slow()
    policy = Policy(VOTE.buckets, limits=Limits(timeout_s=0.05))
    got = await post(gateway(tmp_path, policy_file(policy), model=model), messages=USER)
    assert got.status_code == 504
    assert model.cancelled == 1
