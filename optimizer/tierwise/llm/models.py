"""From a model string to a tier and to the model behind it, by prefix.

``embedded/NAME`` runs in this process, ``recorded/MODEL`` answers from a file, and everything else
is a LiteLLM model string (``openai/gpt-4o-mini``, ``anthropic/…``, ``hosted_vllm/…``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.llm.base import LanguageModel
from tierwise.llm.endpoint import endpoint_of
from tierwise.llm.litellm import (
    check_tier,
    litellm_price,
    litellm_tier,
    provider_of,
    taken_temperatures,
)
from tierwise.schema import Tier, TierSpec
from tierwise.schema.tier import STRUCTURED, RateLimits
from tierwise.schema.yaml_io import Document, read_as

EMBEDDED, RECORDED, LITELLM = "embedded", "recorded", "litellm"

_OF_CALLS = ("api_base", "api_key_env", "headers_env", "takes_seed", "stream")
"""Fields of a ``TierSpec`` that say how a provider is called."""


def kind_of(model: str) -> str:
    """``embedded``, ``recorded`` or ``litellm``."""
    prefix, slash, rest = model.partition("/")
    if slash and prefix in (EMBEDDED, RECORDED):
        if not rest:
            raise InputError(f"model {model!r} names no model: write {prefix}/NAME")
        return prefix
    return LITELLM


def address_of(tier: Tier) -> str:
    """``Request.address`` for the tier's requests: where the environment sends them, or ``""``."""
    if kind_of(tier.model) != LITELLM:
        return ""
    return endpoint_of(tier).address


def resolve_tier(name: str, model: str, **described: Any) -> Tier:
    """The tier ``name`` of ``model``; ``described`` are fields of a ``TierSpec``."""
    return tier_of_spec(name, TierSpec(model, **described))


def tier_of_spec(name: str, spec: TierSpec) -> Tier:
    """The tier that a job describes; what is None is filled in by the kind of model.

    Embedded tiers know their modes and simulated prices. A recorded tier has the modes of its
    recording, whose samples are billed a call each unless ``takes_n`` says otherwise. For the
    others LiteLLM's tables say the price, and whether ``n`` is taken and log-probabilities are
    given.

    Raises:
        InputError: an unknown model, provider or limit; a model without a price; a mode that sends
            what the provider does not take; a recorded tier without a recording; an address for a
            model that is called nowhere.
    """
    if spec.limits:  # of a specification that was made in Python
        said = {f"rate_limits of tier {name!r}": dict(spec.limits)}
        read_as(dict[str, RateLimits], Document(said, None))
    tier = _default_tier(name, spec)
    given = {field: getattr(spec, field) for field in _OF_CALLS}
    sent = {field: value for field, value in given.items() if value not in (None, {})}
    if sent and kind_of(spec.model) != LITELLM:
        raise InputError(
            f"tier {name!r}: {spec.model} is called at no address; leave out {next(iter(sent))}"
        )
    tier = replace(
        tier,
        modes=tier.modes if spec.modes is None else spec.modes,
        price=spec.price or tier.price,
        takes_n=tier.takes_n if spec.takes_n is None else spec.takes_n,
        logprobs=tier.logprobs if spec.logprobs is None else spec.logprobs,
        limits=spec.limits or {},
        **sent,
    )
    if kind_of(spec.model) == LITELLM:
        check_tier(tier)
    else:
        for mode, parameters in tier.modes.items():
            for parameter in parameters.keys() & set(STRUCTURED):
                raise InputError(
                    f"mode {mode!r} of tier {tier.name!r} sends {parameter}, which {tier.model} "
                    "does not take: only a provider's model can be held to a form of answers"
                )
    return tier


def _default_tier(name: str, spec: TierSpec) -> Tier:
    model, price = spec.model, spec.price
    match kind_of(model):
        case "embedded":
            from tierwise.llm.embedded_model import embedded_tier

            return embedded_tier(name, model)
        case "recorded":
            from tierwise.llm.recorded import Recording, recorded_tier

            if price is None:
                raise _without_price(name, model)
            recording = Recording.load(_required(name, model, spec.recordings), model)
            if unknown := set(spec.modes or {}) - set(recording.modes):
                raise InputError(
                    f"tier {name!r} has mode {sorted(unknown)[0]!r}, which is not recorded; "
                    f"recorded: {', '.join(recording.modes)}"
                )
            return recorded_tier(name, recording, price)
        case _:
            price = price or litellm_price(model, spec.modes or {})
            if price is None:
                raise _without_price(name, model)
            return litellm_tier(name, model, price)


def temperatures_of(tier: Tier, mode: str, wanted: Sequence[float]) -> tuple[float, ...]:
    """Those of ``wanted`` that a mode of the tier can be sampled at; (1.0,) where it has its
    own."""
    if kind_of(tier.model) != LITELLM or tier.api_base:
        return tuple(wanted)
    try:
        provider_of(tier.model)
    except InputError:  # a model of the caller's own
        return tuple(wanted)
    return taken_temperatures(tier.model, tier.mode(mode), wanted)


SEND = "TIERWISE_SEND"
"""``litellm`` in this variable sends every call through LiteLLM, with its callbacks and its network
settings; else calls to OpenAI-compatible servers go straight there (``senders``)."""


def open_model(
    tier: Tier, *, recordings: Path | str | None = None, serving: bool = False
) -> LanguageModel:
    """The model behind ``tier``; the caller closes it.

    ``serving``: the requests are of many clients, so that refusals of some do not give the provider
    up.

    Raises:
        InputError: a recorded tier without a recording, or a recording that cannot be read.
    """
    match kind_of(tier.model):
        case "embedded":
            from tierwise.llm.embedded_model import EmbeddedModel

            return EmbeddedModel(tier.model)
        case "recorded":
            from tierwise.llm.recorded import RecordedModel, Recording

            return RecordedModel(
                Recording.load(_required(tier.name, tier.model, recordings), tier.model)
            )
        case _:
            from tierwise.llm.provider import ProviderModel

            direct = os.environ.get(SEND, "") != "litellm"
            return ProviderModel(tier, direct=direct, serving=serving)


def fingerprint_of(model: str) -> str:
    """SHA-256 of the weights behind ``model``; empty where nobody but its provider knows.

    Raises:
        InputError: no such embedded model.
    """
    if kind_of(model) != "embedded":
        return ""
    from tierwise.llm.embedded.decoder import sha256_of

    return sha256_of(model.partition("/")[2])


def _required(name: str, model: str, recordings: Path | str | None) -> Path:
    if recordings is None:
        raise InputError(
            f"tier {name!r} ({model}) needs its recording; add to the job:\n"
            f"  tiers:\n    {name}:\n      model: {model}\n      recordings: FILE.jsonl.gz"
        )
    return Path(recordings)


def _without_price(name: str, model: str) -> InputError:
    return InputError(
        f"no price is known for {model!r}, and nothing is bought without one; add to the job, "
        "a file that tierwise tune takes:\n"
        f"  tiers:\n    {name}:\n      model: {model}\n"
        "      price: {prompt_usd_per_mtok: …, completion_usd_per_mtok: …}"
    )
