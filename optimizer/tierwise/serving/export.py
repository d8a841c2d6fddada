"""A policy in other shapes for serving: files for a LiteLLM proxy, and OpenAI batch requests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import yaml

from tierwise.episode import Round, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.llm import base_seed, build_request
from tierwise.llm.endpoint import header_variables
from tierwise.llm.models import kind_of
from tierwise.schema import Tier, Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.strategies import Ask, Seen, Strategy

HANDLER = "tierwise_policies"

_CONFIG_HEAD = """\
# A LiteLLM proxy that serves a tierwise policy as a model; to add it to a proxy that you
# run, copy the entries of model_list and custom_provider_map into its config.
#   litellm --config config.yaml --port 4000
# Usage is summed over all samples, so that a token's price, where given, gives the whole cost.
"""
_KEY_VARIABLES = {"azure": "AZURE_API_KEY", "gemini": "GEMINI_API_KEY"}
_LITELLMS_OWN = ("allowed_openai_params", "extra_body")
_LONGEST_NAME = 80


def proxy_files(file: PolicyFile) -> Mapping[str, str]:
    """File name -> text: the config, the handler, and the policy itself.

    Names and models of a policy are values of the config and nothing else, whatever they hold.
    """
    if file.answer.calls:
        raise UnsupportedError(
            f"{file.name} tells answers that are code apart by running them, which a proxy does "
            "not do; serve it by tierwise serve --run-code"
        )
    if file.answer.reads_by_python:
        raise UnsupportedError(
            f"{file.name} reads answers by a Python function, which a policy never brings: a proxy "
            "cannot have it; serve it by tierwise serve --normaliser FILE.py:FUNCTION"
        )
    policy_name = f"{_file_stem(file.name)}.yaml"
    return {
        "config.yaml": _CONFIG_HEAD + yaml.safe_dump(_config(file), sort_keys=False, width=100),
        f"{HANDLER}.py": _handler(policy_name),
        policy_name: file.dumps(),
    }


def _config(file: PolicyFile) -> dict[str, Any]:
    tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
    served: dict[str, Any] = {"model": f"policy/{file.name}"}
    if len(tiers) == 1:
        price = next(iter(tiers.values())).price
        served["input_cost_per_token"] = price.prompt_usd(1)
        served["output_cost_per_token"] = price.completion_usd(1, prompt_tokens=1)
    models = {file.name: served} | {
        tier.model: _deployment(tier)
        for tier in tiers.values()
        if kind_of(tier.model) == "litellm"  # an embedded tier answers in the proxy itself
    }
    provider = {"provider": "policy", "custom_handler": f"{HANDLER}.provider"}
    return {
        "model_list": [
            {"model_name": name, "litellm_params": params} for name, params in models.items()
        ],
        "litellm_settings": {"custom_provider_map": [provider]},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def _deployment(tier: Tier) -> dict[str, Any]:
    """What LiteLLM is told of a tier's model; its key and headers are named by the variables that
    hold them."""
    provider, slash, _ = tier.model.partition("/")
    if not slash or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", provider):
        return {"model": tier.model}  # LiteLLM knows the provider, and so its variable
    variable = _KEY_VARIABLES.get(provider, f"{provider.upper()}_API_KEY")
    served: dict[str, Any] = {"model": tier.model, "api_key": f"os.environ/{variable}"}
    if headers := header_variables(tier):
        served["extra_headers"] = {name: f"os.environ/{v}" for name, v in headers.items()}
    return served


def _handler(policy_name: str) -> str:
    return (
        '"""The policies that the LiteLLM proxy beside this file serves as policy/NAME."""\n\n'
        "from tierwise.serving.litellm_provider import PolicyProvider\n\n"
        f"provider = PolicyProvider.beside(__file__, {json.dumps(policy_name)})\n"
    )


def _file_stem(name: str) -> str:
    """``name`` as a file's name; where that changes it, with a hash, so that no two meet."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:_LONGEST_NAME].strip(".")
    if plain == name and plain.lower() != "config":
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{plain or 'policy'}-{digest}"


def batch_lines(
    file: PolicyFile, items: Iterable[tuple[str, Mapping[str, str]]], *, seed: int = 0
) -> Iterator[str]:
    """JSONL lines for items as (id, inputs); ``custom_id`` is ``ID|variant|sample``.

    ``variant`` counts the variants of the item's bucket from 0, ``sample`` is the request's first.

    Raises:
        UnsupportedError: what the policy samples depends on what came back, or its model has no
            such endpoint.
    """
    for variant in file.policy.variants:
        tier = file.tier_of(variant)
        if kind_of(tier.model) != "litellm":
            raise UnsupportedError(f"{tier.model} has no batch endpoint")
    if file.policy.difficulty.probe is not None:
        raise UnsupportedError(f"{file.name} probes before it samples: its samples are not fixed")
    strategies = strategies_of(file.policy)
    for strategy in strategies:
        _check_fixed(file, strategy)
    for item_id, inputs in items:
        round_: Round = next(episode(file.policy, strategies, inputs))
        variants = list(dict.fromkeys(round_.variants))
        for variant, group in groupby(sorted(round_.variants, key=variants.index)):
            yield from _requests(
                file,
                variant,
                len(list(group)),
                inputs,
                f"{item_id}|{variants.index(variant)}",
                seed,
            )


def _check_fixed(file: PolicyFile, strategy: Strategy) -> None:
    first = strategy.step(Seen())
    if not isinstance(first, Ask) or first.n < strategy.max_samples:
        raise UnsupportedError(
            f"{file.name} uses {strategy.kind}, which looks at its samples before it asks for "
            "more: they are not fixed"
        )


def _requests(
    file: PolicyFile, variant: Variant, n: int, inputs: Mapping[str, str], name: str, seed: int
) -> Iterator[str]:
    tier = file.tier_of(variant)
    request = build_request(tier, file.prompts[variant.prompt], variant, inputs)
    params = {k: v for k, v in request.params.items() if k not in _LITELLMS_OWN}
    extra = request.params.get("extra_body")
    body = {
        "model": request.model.partition("/")[2] or request.model,
        "messages": [m.body for m in request.messages],
        **params,
        **(extra if isinstance(extra, dict) else {}),
        **({"logprobs": True} if tier.logprobs else {}),
    }
    first_seed = base_seed(seed, request)
    for sample, size in [(0, n)] if tier.takes_n else [(i, 1) for i in range(n)]:
        asked = {**body, "seed": first_seed + sample, **({"n": size} if size > 1 else {})}
        line = {"custom_id": f"{name}|{sample}", "method": "POST", "url": "/v1/chat/completions"}
        yield json.dumps({**line, "body": asked}, ensure_ascii=False)
