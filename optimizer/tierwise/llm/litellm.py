"""What LiteLLM's tables say of a model: provider, parameters, price; a tier is held against them.

LiteLLM takes seconds to import, so that it is imported inside functions (``litellm_library``).
"""

from __future__ import annotations

import functools
import logging
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tierwise.errors import InputError, unknown_name
from tierwise.llm.base import CAPS
from tierwise.schema import Price, PriceStep, Tier

OURS = ("n", "seed", "temperature", "logprobs", "top_logprobs", "stream", "stream_options")
"""Parameters that tierwise sends itself; a mode that names one is refused."""
_LOGPROBS_KEPT = ("openai", "azure", "hosted_vllm")
"""Providers that give log-probabilities where LiteLLM's table says so; others are asked for them
only where the job does, since for them the table promises more than some models keep."""


@functools.cache
def litellm_library() -> Any:
    """LiteLLM, imported (seconds) without network, ``.env`` files, telemetry or prints."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # any other mode reads ./.env
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own parts, at import; nobody here can mend them
        import litellm

        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # What it imports and builds at its first call warns once; this call goes nowhere.
        litellm.completion(
            model="openai/none",
            messages=[{"role": "user", "content": ""}],
            mock_response="",
            max_retries=0,
            **{"no-log": True},
        )
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False
    return litellm


@functools.cache
def provider_of(model: str) -> tuple[str, str]:
    """(provider, the model's name there), or an InputError with the near names."""
    litellm = litellm_library()
    providers = {getattr(p, "value", str(p)) for p in litellm.provider_list}
    prefix, slash, _ = model.partition("/")
    if not slash:
        if model not in litellm.model_cost:
            raise unknown_name("model", model, (m for m in litellm.model_cost if "/" not in m))
    elif prefix not in providers:
        raise unknown_name("provider", prefix, {*providers, "embedded", "recorded"})
    try:
        name, provider, _, _ = litellm.get_llm_provider(model)
    except litellm.BadRequestError:
        raise InputError(
            f"the provider of model {model!r} is not known: write PROVIDER/MODEL"
        ) from None
    return str(provider), str(name)


@functools.cache
def supported_params(model: str) -> frozenset[str]:
    """The parameters of OpenAI's chat interface that LiteLLM passes on to the model."""
    provider, name = provider_of(model)
    listed = litellm_library().get_supported_openai_params(model=name, custom_llm_provider=provider)
    return frozenset(listed or ())


def litellm_price(model: str, modes: Mapping[str, Mapping[str, object]] = {}) -> Price | None:
    """The model's price as LiteLLM bills it, dated by its version; None where its table has none.

    LiteLLM's own cost function is asked at a few numbers of tokens, since each provider has its own
    (cached and reasoning tokens, steps by the length of the prompt), at the service tier that
    ``modes`` ask for (``service_tier: priority``). Prices of off-peak hours do not count.

    Raises:
        InputError: the modes ask for several service tiers, which have several prices.
    """
    import importlib.metadata

    asked = {str(mode.get("service_tier") or "default") for mode in modes.values()} or {"default"}
    if len(asked) > 1:
        raise InputError(
            f"the modes ask for several service tiers ({', '.join(sorted(asked))}), which have "
            "several prices: make a tier of each, or give the job a price"
        )
    row = _priced(model)
    if row is None:
        return None
    billed = _Billed(model, asked.pop(), row)
    edges = billed.edges()
    rates = [billed.rates(tokens) for tokens in (min(edges, default=1000), *(e + 1 for e in edges))]
    steps = [
        PriceStep(**here, prompt_tokens=edge)
        for edge, before, here in zip(edges, rates, rates[1:], strict=False)
        if here != before
    ]
    as_of = f"litellm {importlib.metadata.version('litellm')}"
    return Price(**rates[0], as_of=as_of, above=tuple(steps))


def _priced(model: str) -> Mapping[str, Any] | None:
    """The row of LiteLLM's table that has the model's prices."""
    litellm = litellm_library()
    provider, name = provider_of(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that LiteLLM imports now
            key = litellm.get_model_info(model=name, custom_llm_provider=provider)["key"]
    except Exception:  # noqa: BLE001 - LiteLLM's way to say that it does not know the model
        return None
    row: Mapping[str, Any] = litellm.model_cost.get(key, {})
    priced = row.get("tiered_pricing") or row.get("input_cost_per_token") is not None
    return row if priced and row.get("mode") in (None, "chat", "responses", "completion") else None


class _Billed:
    """What LiteLLM bills for a call of a model, by its numbers of tokens."""

    def __init__(self, model: str, service_tier: str, row: Mapping[str, Any]) -> None:
        provider, name = provider_of(model)
        own = {k: v for k, v in row.items() if k != "off_peak_pricing"}
        self._row = row
        self._of = {
            "model": name,
            "custom_llm_provider": provider,
            "service_tier": None if service_tier in ("default", "auto") else service_tier,
            "requested_model_info_override": own if "off_peak_pricing" in row else None,
        }

    def edges(self) -> list[int]:
        """Lengths of the prompt, in tokens, above which the price may be another, ascending."""
        found = {
            int(step[1]) * (1000 if step[2] else 1)
            for name in self._row
            if (step := re.search(r"_per_token_above_(\d+)(k?)_tokens", name))
        }
        for tier in self._row.get("tiered_pricing") or ():
            found |= {int(end) for end in tier.get("range", ())[:1] if end}
        # Some providers' steps begin at their length, not above it.
        return sorted(e - (self.rates(e) == self.rates(e + 1) != self.rates(e - 1)) for e in found)

    def rates(self, prompt: int) -> dict[str, Any]:
        """Fields of ``TokenRates`` for calls whose prompts have so many tokens."""
        n = 1000
        usd = (
            self._usd(prompt, 0)[0] / prompt,
            self._usd(prompt, n)[1] / n,
            self._usd(prompt, 0, cached=prompt)[0] / prompt,
            self._usd(prompt, n, reasoning=n)[1] / n,
        )
        fresh, said, cached, thought = (round(a * 1e6, 9) for a in usd)  # 1.5e-07 is $0.15
        return {
            "prompt_usd_per_mtok": fresh,
            "completion_usd_per_mtok": said,
            "cached_usd_per_mtok": None if cached == fresh else cached,
            "reasoning_usd_per_mtok": None if thought == said else thought,
        }

    def _usd(
        self, prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0
    ) -> tuple[float, float]:
        usage = litellm_library().Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details={"cached_tokens": cached} if cached else None,
            completion_tokens_details={"reasoning_tokens": reasoning} if reasoning else None,
        )
        found: tuple[float, float] = litellm_library().cost_per_token(
            prompt_tokens=prompt, completion_tokens=completion, usage_object=usage, **self._of
        )
        return found


def litellm_tier(name: str, model: str, price: Price) -> Tier:
    """The tier of a model for which the job says nothing but the price.

    A model that reasons has its effort levels as modes; another is asked for steps in words.
    """
    offered = supported_params(model)
    steps: dict[str, dict[str, object]] = {
        "direct": {"max_tokens": 1024},
        "think": {"max_tokens": 4096, "suffix": "\n\nThink step by step before you answer."},
    }
    return Tier(
        name,
        model,
        price,
        modes=effort_modes(model) or steps,
        takes_n="n" in offered,
        logprobs="logprobs" in offered and provider_of(model)[0] in _LOGPROBS_KEPT,
    )


EFFORT_MODES: Mapping[str, tuple[str, int]] = {
    "none": ("direct", 1024),
    "minimal": ("direct", 2048),
    "low": ("think-low", 4096),
    "medium": ("think", 8192),
    "high": ("think-high", 16384),
}
"""Reasoning effort -> its mode, and that mode's cap, which thoughts count against."""


def effort_modes(model: str) -> dict[str, dict[str, object]]:
    """The modes of a model that reasons, one an effort level; empty for another model.

    What each level sends, an effort or a budget of thoughts, is asked of LiteLLM: levels that it
    refuses are left out, and so are levels that send what a lower one does. ``direct`` is the level
    that thinks least. Where a level is passed on as it is, ``none`` and ``minimal`` are sent only
    if LiteLLM's table says that the model has them.
    """
    litellm, (provider, name) = litellm_library(), provider_of(model)
    reasons = litellm.supports_reasoning(model=name, custom_llm_provider=provider)
    if not reasons or "reasoning_effort" not in supported_params(model):
        return {}
    table = litellm.model_cost.get(model) or litellm.model_cost.get(name) or {}
    most = int(table.get("max_output_tokens") or EFFORT_MODES["high"][1])
    modes: dict[str, dict[str, object]] = {}
    sent: list[object] = []
    for effort, (mode, cap) in EFFORT_MODES.items():
        cap = min(cap, most)
        says = table.get(f"supports_{effort}_reasoning_effort")
        sends = _sent(model, reasoning_effort=effort)
        if sends is None:
            continue
        budget = _budget_of(sends)
        if says is False or budget >= cap or sends in sent:
            continue
        passed_on = sends.get("reasoning_effort") == effort
        thinks_still = effort == "none" and budget == 0 and "thinkingConfig" in sends
        if effort in ("none", "minimal") and not says and (passed_on or thinks_still):
            continue
        if effort == "minimal" and "direct" in modes:
            continue
        sent.append(sends)
        modes["direct" if not modes else mode] = {"reasoning_effort": effort, "max_tokens": cap}
    return modes if len(modes) > 1 else {}


def _sent(model: str, **params: object) -> Mapping[str, Any] | None:
    """What LiteLLM makes of ``params`` for the model; None where it refuses them."""
    litellm, (provider, name) = litellm_library(), provider_of(model)
    try:
        sends: Mapping[str, Any] = litellm.utils.get_optional_params(
            model=name, custom_llm_provider=provider, **params
        )
    except litellm.BadRequestError:  # UnsupportedParamsError is one
        return None
    return sends


def taken_temperatures(
    model: str, mode: Mapping[str, object], wanted: Sequence[float]
) -> tuple[float, ...]:
    """Those of ``wanted`` that the model takes in a mode; 1 where it takes no other.

    Models of OpenAI that reason, and Claude where it thinks, take no other.
    """
    provider, name = provider_of(model)
    params = {k: v for k, v in mode.items() if k in supported_params(model)}
    taken = []
    for temperature in wanted:
        sends = _sent(model, temperature=temperature, **params)
        if sends is None:
            continue
        thinking = sends.get("thinking")
        thinks = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
        if temperature == 1 or not (thinks and (provider == "anthropic" or "claude" in name)):
            taken.append(temperature)
    return tuple(taken) or (1.0,)


def _budget_of(params: Mapping[str, Any]) -> float:
    """Tokens of thought that ``params`` ask for; 0 where they do not say."""
    thinking, config = params.get("thinking"), params.get("thinkingConfig")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if budget is None and isinstance(config, Mapping):
        budget = config.get("thinkingBudget")
    return float(budget) if isinstance(budget, int | float) else 0.0


def check_tier(tier: Tier) -> None:
    """Raise InputError where a mode sends what the provider does not take, or no token cap.

    A budget of thoughts must be below the cap, which it counts against.
    """
    for name, mode in tier.modes.items():
        where = f"mode {name!r} of tier {tier.name!r}"
        if not any(isinstance(mode.get(cap), int) for cap in CAPS):
            raise InputError(
                f"{where} has no token cap, so a call has no worst case: add max_tokens"
            )
        cap = max(int(mode[c]) for c in CAPS if isinstance(mode.get(c), int))
        if _budget_of(mode) >= cap:
            raise InputError(
                f"{where}: thinking.budget_tokens ({_budget_of(mode):g}) must be below max_tokens "
                f"({cap}), which thoughts count against"
            )
        if own := [p for p in mode if p in OURS]:
            raise InputError(f"{where} sends {own[0]}, which is set by the recipe or the tier")
        check_params(tier, {k: v for k, v in mode.items() if k != "suffix"}, where)
    for flag, param in (("takes_n", "n"), ("logprobs", "logprobs")):
        if getattr(tier, flag) and param not in supported_params(tier.model):
            raise InputError(
                f"tier {tier.name!r}: {tier.model} does not take {param}: {flag}: false"
            )


def check_params(tier: Tier, params: Mapping[str, object], where: str) -> None:
    """Raise InputError where ``params`` holds what the provider does not take, by name or value."""
    litellm = litellm_library()
    provider, name = provider_of(tier.model)
    allowed = params.get("allowed_openai_params", ())
    extra = {*(allowed if isinstance(allowed, list | tuple) else ()), "extra_body"}
    known = {*supported_params(tier.model), *extra, "allowed_openai_params"}
    for param in params:
        if param not in known:
            hint = unknown_name("parameter", param, known).message
            raise InputError(
                f"{where}: {tier.model} does not take {param!r} ({hint}); what only the server "
                f"knows goes into extra_body: {{{param}: …}}"
            )
    refusal = None
    try:
        litellm.utils.get_optional_params(model=name, custom_llm_provider=provider, **params)
    except litellm.UnsupportedParamsError as error:
        refusal = (
            str(error).removeprefix("litellm.UnsupportedParamsError: ").partition(" To drop")[0]
        )
    if refusal is not None:
        raise InputError(f"{where}: {refusal}")
