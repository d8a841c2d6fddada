"""Where calls go and what they cost: a model for nothing, a deployment of Azure, proxies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Cli
from tests.http.test_bad_input import job, tune
from tests.http.test_tune_over_http import speak
from tests.loopback import Loopback, Said
from tierwise.llm import Call, Completion, Request, Result
from tierwise.llm.models import open_model, resolve_tier
from tierwise.schema import Message, Price

pytestmark = pytest.mark.timeout(120)


def test_a_model_that_costs_nothing_is_planned_tuned_and_compared(
    cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.speak = speak
    free = {"prompt_usd_per_mtok": 0, "completion_usd_per_mtok": 0}
    path = job(tmp_path, price=free)
    told = json.loads(path.read_text()) | {"budget": {"calls": 400}}
    path.write_text(json.dumps(told))
    said = [cli("plan", path, "--dry"), tune(cli, path), cli("compare", tmp_path / "run")]
    assert [got.code for got in said] == [0, 0, 0], said
    for got in said:
        assert "nan" not in (got.out + got.err).lower().replace("finance", "")
    assert (tmp_path / "run" / "policies" / "small.yaml").is_file()
    assert 0 < loopback.calls <= 400


def ask(model: str) -> list[Result]:
    tier = resolve_tier("t", model, price=Price(1.0, 2.0), modes={"direct": {"max_tokens": 30}})
    opened = open_model(tier)
    request = Request(model, (Message("user", "1 + 2"),), {"max_tokens": 30}, opened.address)
    try:
        return next(iter(opened.complete([[Call(request, 0, 1, 5)]])))[0]
    finally:
        opened.close()


def test_a_deployment_of_azure_is_found_by_the_variables_of_the_environment(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "practice-key-123")
    monkeypatch.setenv("AZURE_API_BASE", loopback.url.removesuffix("/v1"))
    monkeypatch.setenv("AZURE_API_VERSION", "2025-01-01-preview")
    loopback.key, loopback.speak = None, lambda *_: Said("A: 3")
    [answer] = ask("azure/chat-eu-2")
    assert isinstance(answer, Completion), answer
    assert answer.text == "A: 3"
    [path] = loopback.paths
    assert path == ("/openai/deployments/chat-eu-2/chat/completions?api-version=2025-01-01-preview")
    assert loopback.headers[0]["api-key"] == "practice-key-123"


DEAD = "127.0.0.1:9"


@pytest.mark.parametrize("socks", [True, False])
def test_no_proxy_excepts_a_local_server(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, socks: bool
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://{DEAD}")
    if socks:
        monkeypatch.setenv("ALL_PROXY", f"socks5://{DEAD}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    loopback.speak = lambda *_: Said("A: 3")
    [answer] = ask("openai/adder")
    assert isinstance(answer, Completion), answer
    assert loopback.calls == 1
