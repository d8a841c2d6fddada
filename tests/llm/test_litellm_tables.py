"""What is refused before the first call, and what LiteLLM's tables say of models."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.llm.test_litellm_samples import call, opened, tier
from tests.loopback import Loopback
from tierwise.errors import InputError, ProviderError
from tierwise.llm.litellm import endpoint_of, litellm_library, litellm_price, price_step
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


@pytest.mark.parametrize("service_tier", ["default", "priority", "flex"])
def test_a_price_is_what_litellm_bills(service_tier: str) -> None:
    """Held against LiteLLM's own ``completion_cost``, cached tokens and service tiers among it."""
    litellm = litellm_library()
    modes = {"direct": {"max_tokens": 9, "service_tier": service_tier}}
    for model in ("gpt-5", "gpt-5-mini", "o3", "o4-mini", "gpt-4.1"):
        price = litellm_price(model, modes)
        assert price is not None
        usage = litellm.Usage(
            prompt_tokens=1000,
            completion_tokens=400,
            prompt_tokens_details={"cached_tokens": 300},
            completion_tokens_details={"reasoning_tokens": 250},
        )
        response = litellm.ModelResponse(model=model, usage=usage)
        billed = litellm.completion_cost(
            completion_response=response, model=model, service_tier=service_tier
        )
        ours = price.prompt_usd(1000, 300) + price.completion_usd(400)
        assert ours == pytest.approx(billed, rel=1e-6), model


def test_modes_of_several_service_tiers_have_no_one_price() -> None:
    modes = {
        "direct": {"max_tokens": 9, "service_tier": "flex"},
        "think": {"max_tokens": 9, "service_tier": "priority"},
    }
    with pytest.raises(InputError, match="several service tiers"):
        resolve_tier("mini", "openai/gpt-5-mini", modes=modes)


def test_thoughts_that_cost_more_than_texts_set_the_price_of_a_completion() -> None:
    price = litellm_price("dashscope/qwen-turbo")
    assert price is not None
    assert price.completion_usd_per_mtok == 0.5


def test_a_price_with_a_step_says_where_it_is() -> None:
    assert price_step("gemini/gemini-2.5-pro") == 200_000
    assert price_step("openai/gpt-4o-mini") is None


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
    assert "reasoning_effort" in claude.modes["think"]
    own = resolve_tier("mini", "openai/gpt-4o-mini", takes_n=False, logprobs=False, price=PRICE)
    assert (own.takes_n, own.logprobs, own.price) == (False, False, PRICE)


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
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
