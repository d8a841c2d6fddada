"""What is refused before the first call, and what LiteLLM's tables say of models."""

from __future__ import annotations

import datetime
import importlib.metadata
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.llm.test_litellm_samples import call, opened, tier
from tests.loopback import Loopback
from tierwise.errors import InputError, ProviderError
from tierwise.llm.endpoint import endpoint_of
from tierwise.llm.litellm import (
    litellm_library,
    litellm_price,
    provider_of,
    supported_params,
    taken_temperatures,
)
from tierwise.llm.models import open_model, resolve_tier
from tierwise.llm.provider import ProviderModel
from tierwise.schema import Price

PRICE = Price(1.0, 2.0)

pytestmark = pytest.mark.timeout(60)


def test_importing_the_package_does_not_load_litellm() -> None:
    code = (
        "import sys, tierwise.llm, tierwise.llm.models, tierwise.llm.provider\n"
        "heavy = {'litellm', 'openai', 'httpx', 'aiohttp', 'tenacity', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_litellm_loads_and_closes_without_a_warning_or_a_word() -> None:
    code = (
        "from tests.llm.test_litellm_samples import call, opened, tier\n"
        "from tests.loopback import Loopback\n"
        "import os\n"
        "with Loopback() as server:\n"
        "    os.environ |= {'OPENAI_API_KEY': 'sk-any-key', 'OPENAI_BASE_URL': server.url,\n"
        "                   'NO_PROXY': '127.0.0.1'}\n"
        "    with opened(tier()) as model:\n"
        "        assert list(model.complete([[call(2)]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_price_is_that_of_the_table_and_dated() -> None:
    price = litellm_price("openai/gpt-4o-mini")
    assert price is not None
    assert (price.prompt_usd_per_mtok, price.completion_usd_per_mtok) == (0.15, 0.6)
    assert price.cached_usd_per_mtok == 0.075
    assert price.as_of == f"litellm {importlib.metadata.version('litellm')}"
    assert price == litellm_price("gpt-4o-mini")


PRICED_APART = re.compile(
    r"(in|out)put_cost_per_(reasoning_)?token_|cache_read_input_token_cost|per_reasoning_token"
)
"""Fields of the table that make a call's price more than two rates."""


def priced_apart() -> dict[str, tuple[object, ...]]:
    """Each chat model of LiteLLM's table whose price has steps, tiers or rates of its own, with its
    provider and which fields of the table say so."""
    litellm = litellm_library()
    providers = {p.value for p in litellm.provider_list} - {"github_copilot"}  # which logs in first
    found = {}
    for name, row in litellm.model_cost.items():
        provider = str(row.get("litellm_provider", "")).removesuffix("_converse")
        provider = "vertex_ai" if provider.startswith("vertex_ai") else provider
        fields = {f for f in row if PRICED_APART.match(f) or f == "tiered_pricing"}
        flat = row.get("input_cost_per_token") is not None or "tiered_pricing" in row
        if row.get("mode") == "chat" and fields and flat and provider in providers:
            model = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
            found[model] = (provider, *sorted(fields))
    return found


def held_against_litellm(models: Iterable[str]) -> str:
    litellm, rng = litellm_library(), random.Random(7)
    calls, steps, several = 0, 0, 0
    for model in models:
        row = litellm.model_cost.get(model) or litellm.model_cost[model.partition("/")[2]]
        tiers = (
            "default",
            *(t for t in ("priority", "flex") if f"input_cost_per_token_{t}" in row),
        )
        several += len(tiers) > 1
        for service_tier in tiers:
            price = litellm_price(model, {"direct": {"service_tier": service_tier}})
            assert price is not None, model
            steps += len(price.above)
            edges = [
                e for step in price.above for e in (step.prompt_tokens, step.prompt_tokens + 1)
            ]
            for prompt in (1000, *edges, 300_000, 900_000):
                cached, completion = rng.choice([0, prompt // 3]), rng.randint(1, 5000)
                reasoning = rng.choice([0, completion // 2])
                told = (model, prompt, cached, completion, reasoning, service_tier)
                ours = price.prompt_usd(prompt, cached)
                ours += price.completion_usd(completion, reasoning, prompt_tokens=prompt)
                assert ours == pytest.approx(at_peak(*told), rel=1e-6), told
                most = price.at_most(prompt)
                bound = most.prompt_usd(prompt)
                bound += most.completion_usd(completion, prompt_tokens=prompt)
                assert ours <= bound * (1 + 1e-9)
                calls += 1
    assert steps
    assert several
    return f"{calls} bills, {steps} steps, {several} models with service tiers: as completion_cost"


def test_a_price_is_what_litellm_bills() -> None:
    """Held against ``completion_cost``, for a model of each provider and kind of price."""
    kinds = {kind: model for model, kind in priced_apart().items()}
    print(held_against_litellm(kinds.values()))  # noqa: T201 - shown with -s


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_price_of_the_table_is_what_litellm_bills() -> None:
    models = priced_apart()
    assert len(models) > 1000
    print(held_against_litellm(models))  # noqa: T201 - shown with -s


def at_peak(
    model: str, prompt: int, cached: int, completion: int, reasoning: int, service_tier: str
) -> float:
    """LiteLLM's bill of a call, in an hour in which no off-peak price holds."""
    from litellm import _internal_context

    litellm = litellm_library()
    usage = litellm.Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details={"cached_tokens": cached} if cached else None,
        completion_tokens_details={"reasoning_tokens": reasoning} if reasoning else None,
    )
    response = litellm.ModelResponse(model=model, usage=usage)
    monday = datetime.datetime(2026, 11, 30, 2, tzinfo=datetime.UTC)
    at = _internal_context._billing_time.set(monday)
    try:
        return float(
            litellm.completion_cost(
                completion_response=response,
                model=model,
                service_tier=None if service_tier == "default" else service_tier,
            )
        )
    finally:
        _internal_context._billing_time.reset(at)


def test_a_price_has_its_steps() -> None:
    price = litellm_price("gemini/gemini-2.5-pro")
    assert price is not None
    (step,) = price.above
    assert (step.prompt_tokens, price.prompt_usd_per_mtok, step.prompt_usd_per_mtok) == (
        *(200_000, 1.25),
        2.5,
    )
    assert price.prompt_usd(200_000) == pytest.approx(0.25)
    assert price.prompt_usd(200_001) == pytest.approx(0.5000025)
    tokens = np.array([1000.0, np.nan, 300_000.0])
    usd = price.completion_usd(tokens, 0 * tokens, prompt_tokens=tokens)
    assert usd == pytest.approx([0.01, np.nan, 4.5], nan_ok=True)
    assert str(price) == "$1.25 in, $10 out, above 200,000 prompt tokens $2.5 in, $15 out"


def test_modes_of_several_service_tiers_have_no_one_price() -> None:
    modes = {
        "direct": {"max_tokens": 9, "service_tier": "flex"},
        "think": {"max_tokens": 9, "service_tier": "priority"},
    }
    with pytest.raises(InputError, match="several service tiers"):
        resolve_tier("mini", "openai/gpt-5-mini", modes=modes)


def test_a_model_without_a_price_is_refused_until_the_job_gives_one() -> None:
    assert litellm_price("openai/test-model") is None
    with pytest.raises(InputError, match=r"price: \{prompt_usd_per_mtok") as caught:
        resolve_tier("small", "openai/test-model")
    assert "    small:\n      model: openai/test-model\n" in str(caught.value)
    assert resolve_tier("small", "openai/test-model", price=PRICE).price == PRICE


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("opnai/gpt-4o-mini", "'openai'"),
        ("embeded/small", "'embedded'"),
        ("gpt-4o-minii", "'gpt-4o-mini'"),
    ],
)
def test_an_unknown_provider_or_model_names_the_near_ones(model: str, near: str) -> None:
    with pytest.raises(InputError, match=near):
        resolve_tier("small", model, price=PRICE)


def test_what_the_job_leaves_out_comes_from_the_tables() -> None:
    openai = resolve_tier("mini", "openai/gpt-4o-mini")
    assert (openai.takes_n, openai.logprobs) == (True, True)
    assert "reasoning_effort" not in openai.modes["think"]
    claude = resolve_tier("claude", "anthropic/claude-sonnet-4-5")
    assert (claude.takes_n, claude.logprobs) == (False, False)
    assert claude.modes["think"]["reasoning_effort"] == "medium"
    own = resolve_tier("mini", "openai/gpt-4o-mini", takes_n=False, logprobs=False, price=PRICE)
    assert (own.takes_n, own.logprobs, own.price) == (False, False, PRICE)


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("openai/gpt-5-mini", ["minimal", "low", "medium", "high"]),
        ("openai/gpt-5.1", ["none", "low", "medium", "high"]),
        ("openai/o3-mini", ["low", "medium", "high"]),
        ("anthropic/claude-sonnet-4-5", ["none", "low", "medium", "high"]),
        ("gemini/gemini-2.5-pro", ["minimal", "low", "medium", "high"]),
        ("groq/openai/gpt-oss-20b", ["low", "medium", "high"]),
    ],
)
def test_effort_levels_are_the_modes_of_a_model_that_reasons(model, efforts) -> None:
    modes = resolve_tier("r", model, price=PRICE).modes
    assert [sends["reasoning_effort"] for sends in modes.values()] == efforts
    assert [*modes][-2:] == ["think", "think-high"]
    caps = [sends["max_tokens"] for sends in modes.values()]
    assert caps == sorted(caps)


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "openai/llama", "openai/gpt-5-chat-latest"]
)
def test_other_models_are_asked_for_steps(model) -> None:
    modes = resolve_tier("plain", model, price=PRICE).modes
    assert set(modes) == {"direct", "think"}
    assert "suffix" in modes["think"]


def test_modes_by_default_are_taken_by_every_provider_with_models_that_reason() -> None:
    seen = set()
    for model, row in litellm_library().model_cost.items():
        provider = row.get("litellm_provider")
        if provider in seen or row.get("mode") != "chat" or not row.get("supports_reasoning"):
            continue
        try:
            provider_of(model)
        except InputError:  # the table's name of it is not one that can be called
            continue
        if "max_tokens" not in supported_params(model):  # a call has no worst case
            continue
        found = resolve_tier("r", model, price=PRICE)
        seen.add(provider)
        for sends in found.modes.values():
            assert taken_temperatures(model, sends, (0.3, 1.0))[-1] == 1.0
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("model", "mode", "taken"),
    [
        ("openai/gpt-4o-mini", {}, (0.3, 0.8)),
        ("openai/o3-mini", {"reasoning_effort": "low"}, (1.0,)),
        ("anthropic/claude-sonnet-4-5", {"reasoning_effort": "none"}, (0.3, 0.8)),
        ("anthropic/claude-sonnet-4-5", {"reasoning_effort": "high"}, (1.0,)),
        ("gemini/gemini-2.5-pro", {"reasoning_effort": "high"}, (0.3, 0.8)),
    ],
)
def test_temperatures_are_those_that_the_mode_takes(model, mode, taken) -> None:
    assert taken_temperatures(model, {"max_tokens": 9000, **mode}, (0.3, 0.8)) == taken


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        (
            {"max_tokens": 1024, "thinking": {"type": "enabled", "budget_tokens": 1024}},
            r"budget_tokens \(1024\) must be below max_tokens \(1024\)",
        ),
        ({"max_tokens": 9, "reasoning_effort": "low"}, "does not take 'reasoning_effort'"),
        ({"max_token": 9, "max_completion_tokens": 9}, "did you mean 'max_tokens'"),
        ({"max_tokens": 9, "top_k": 3}, r"extra_body: \{top_k: …\}"),
        ({"max_tokens": 9, "seed": 3}, "seed"),
        ({"reasoning_effort": "low"}, "no token cap"),
    ],
)
def test_a_mode_that_the_provider_does_not_take_is_refused(
    mode: dict[str, object], fault: str
) -> None:
    with pytest.raises(InputError, match=fault) as caught:
        resolve_tier("mini", "openai/gpt-4o-mini", modes={"direct": mode})
    assert "'direct'" in str(caught.value)


def test_what_only_the_server_knows_goes_through_extra_body(loopback: Loopback) -> None:
    body = {"chat_template_kwargs": {"enable_thinking": False}}
    resolve_tier(
        "own",
        "openai/test-model",
        price=PRICE,
        modes={"direct": {"max_tokens": 9, "extra_body": body}},
    )
    with opened(tier()) as model:
        list(model.complete([[call(extra_body=body)]]))
    assert loopback.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_request_with_a_parameter_that_is_not_taken_is_refused_before_it_is_sent(
    loopback: Loopback,
) -> None:
    with opened(tier()) as model, pytest.raises(InputError, match="banana"):
        list(model.complete([[call(), call(banana=1)]]))
    assert loopback.calls == 0


def test_a_temperature_that_the_model_does_not_take_is_refused(loopback: Loopback) -> None:
    reasoning = resolve_tier(
        "reasoning", "openai/gpt-5-mini", logprobs=False, modes={"direct": {"max_tokens": 20}}
    )
    with opened(reasoning) as model, pytest.raises(InputError, match=r"temperature=0\.5"):
        list(model.complete([[call()]]))
    assert loopback.calls == 0


def test_log_probabilities_that_are_not_offered_are_refused() -> None:
    with pytest.raises(InputError, match="does not take logprobs"):
        resolve_tier("claude", "anthropic/claude-sonnet-4-5", logprobs=True)


@pytest.mark.parametrize(
    ("limits", "fault"),
    [({"rmp": 5}, "'rpm'"), ({"rpm": 0}, "above 0"), ({"concurrency": 0.5}, "at least 1")],
)
def test_a_limit_that_cannot_be_is_refused(limits: dict[str, float], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        resolve_tier("mini", "openai/gpt-4o-mini", limits=limits)


def test_without_a_key_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ProviderError, match="set OPENAI_API_KEY in the environment"):
        ProviderModel(tier())


def test_an_address_is_part_of_the_request_but_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://me:secret@models.example:8443/v1/?key=abc")
    assert endpoint_of(tier()).address == "https://models.example:8443/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert endpoint_of(tier()).address == ""
    monkeypatch.setenv("OPENAI_API_BASE", "http://other/v1")
    assert endpoint_of(tier()).address == "http://other/v1"


def test_open_model_opens_what_resolve_tier_resolved(loopback: Loopback) -> None:
    model = open_model(resolve_tier("small", "openai/test-model", price=PRICE))
    try:
        assert isinstance(model, ProviderModel)
        assert model.address == loopback.url
    finally:
        model.close()


def test_an_embedded_tier_keeps_its_own_modes_and_price() -> None:
    small = resolve_tier("small", "embedded/small", takes_n=False)
    assert (small.price.simulated, small.takes_n) == (True, False)
    assert set(small.modes) == {"direct", "think"}
