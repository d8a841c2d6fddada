"""What a provider refuses of one client's request is that client's 400, and nobody else's fault."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.loopback import Loopback, Said
from tests.loopback.server import Raw
from tests.serving.gateways import client, local_gateway
from tests.serving.worlds import voting
from tierwise.llm.models import SEND
from tierwise.serving.gateway import Gateway

REFUSED = {
    400: {"error": {"message": "unsupported value in the prompt", "type": "invalid_request_error"}},
    403: {"error": {"message": "this input was flagged by our guard", "code": "access_denied"}},
    422: {"error": {"message": "cannot process this", "type": "unprocessable"}},
}


@pytest.fixture(params=["", "litellm"], ids=["straight", "litellm"])
def gate(
    request: pytest.FixtureRequest,
    loopback: Loopback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Gateway:
    """A gateway before a provider that refuses what holds ``refuse STATUS``."""
    monkeypatch.setenv(SEND, request.param)
    loopback.speak = lambda messages, seed, body: Said("A: 7")

    def refused(number: int, body: dict) -> Raw | None:
        text = body["messages"][-1]["content"]
        if not text.startswith("refuse"):
            return None
        status = int(text.split()[1])
        return Raw(status, json.dumps(REFUSED[status]).encode())

    loopback.raw = refused
    return local_gateway([voting().save(tmp_path / "p.yaml")])


async def ask(http: httpx.AsyncClient, text: str) -> httpx.Response:
    body = {"model": "p", "messages": [{"role": "user", "content": text}]}
    return await http.post("/v1/chat/completions", json=body, timeout=60)


@pytest.mark.parametrize("status", REFUSED)
async def test_a_refused_request_is_a_400_with_the_reason_and_the_next_is_a_200(
    gate: Gateway, status: int
) -> None:
    async with client(gate) as http:
        first = await ask(http, f"refuse {status}")
        second = await ask(http, "what is it?")
        ready = await http.get("/readyz")
    gate.registry.close()
    assert first.status_code == 400
    assert REFUSED[status]["error"]["message"] in first.json()["error"]["message"]
    assert first.json()["error"]["type"] == "invalid_request_error"
    assert (second.status_code, ready.status_code) == (200, 200)
    assert second.json()["tierwise"]["answer"] == "7"


@pytest.mark.parametrize("status", [400, 403])
async def test_no_number_of_refusals_closes_the_gateway_to_others(
    gate: Gateway, status: int
) -> None:
    async with client(gate) as http:
        hostile = [ask(http, f"refuse {status} {i}") for i in range(30)]
        others = [ask(http, f"question {i}") for i in range(5)]
        replies = await asyncio.gather(*hostile, *others)
        after = await ask(http, "what is it?")
    gate.registry.close()
    assert [r.status_code for r in replies] == [400] * 30 + [200] * 5
    assert after.status_code == 200
