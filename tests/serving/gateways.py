"""A gateway over scripted models, clients of it, and a real socket of this machine.

Without the extra [serve], the tests that import this are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("prometheus_client", reason="the extra [serve] is not installed")

import httpx
import uvicorn
from openai import OpenAI

from tests.serving.worlds import VARIANTS
from tierwise.llm import Completion
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, uniform
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime
from tierwise.serving.gateway import AccessRules, Gateway, GatewayLimits
from tierwise.serving.registry import PolicyRegistry

VOTE = uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=3))
BUCKETS = Policy(
    (
        Recipe(VARIANTS[:1], StrategySpec.of("single")),
        Recipe(VARIANTS[1:3], StrategySpec.of("self_consistency", samples=4)),
    ),
    Difficulty("probe_agreement", (0.9,), Probe(VARIANTS[:1], 2)),
)
TOKEN = "a-token-of-the-tests"


def words(request, seed: int) -> Completion:
    """A: 7, and 5 tokens for 11."""
    return Completion("Well. A: 7", 11, 5, latency_s=0.01)


class Slow(ScriptedModel):
    """Answers once it is released; counts the calls that were cancelled."""

    def __init__(self) -> None:
        super().__init__(words)
        self.waiting = self.cancelled = 0
        self.released = False

    async def answer(self, call):
        self.waiting += 1
        try:
            while not self.released:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return await super().answer(call)


def gateway(tmp_path: Path, *files: PolicyFile, model=None, tokens=(), **bounds) -> Gateway:
    paths = [file.save(tmp_path / f"{i}.yaml") for i, file in enumerate(files)]
    model = model or ScriptedModel(words)

    def opened(file: PolicyFile) -> PolicyRuntime:
        return PolicyRuntime(file, {"small": model, "large": model})

    registry = PolicyRegistry(paths, opened)
    return Gateway(registry, AccessRules("127.0.0.1", tuple(tokens)), GatewayLimits(**bounds))


def local_gateway(
    paths: Sequence[Path], opened: Callable[[PolicyFile], PolicyRuntime] = PolicyRuntime
) -> Gateway:
    """Of policy files, for this machine alone."""
    return Gateway(PolicyRegistry(paths, opened), AccessRules("127.0.0.1", ()))


def client(gate: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gate.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def post(gate: Gateway, **body) -> httpx.Response:
    async with client(gate) as http:
        return await http.post("/v1/chat/completions", json={"model": "p", **body})


USER = [{"role": "user", "content": "what is it?"}]


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """The base URL of ``app``, served until the block ends."""
    # With its protocol named, asyncio sends small parts at once; else each waits 40 ms for an ACK.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def openai_client(gate: Gateway) -> Iterator[OpenAI]:
    """OpenAI's own client of the gateway, over the socket."""
    with (
        served(gate.app) as base,
        OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client
