"""A policy in other shapes for serving: files for a LiteLLM proxy, and OpenAI batch requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tierwise.episode import Round, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.llm import base_seed, build_request
from tierwise.llm.models import kind_of
from tierwise.schema import Tier, Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.strategies import Ask, Seen, Strategy

HANDLER = "tierwise_policies"

_KEY_OF = {"azure": "AZURE_API_KEY", "gemini": "GEMINI_API_KEY"}
_LITELLMS_OWN = ("allowed_openai_params", "extra_body")


def proxy_files(file: PolicyFile) -> Mapping[str, str]:
    """File name -> text: the config, the handler, and the policy itself."""
    policy_name = f"{_plain(file.name)}.yaml"
    return {
        "config.yaml": _config(file),
        f"{HANDLER}.py": _handler(policy_name),
        policy_name: file.dumps(),
    }


def _config(file: PolicyFile) -> str:
    tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
    lines = [
        "# A LiteLLM proxy that serves a tierwise policy as a model; to add it to a proxy that you",
        "# run, copy the entries of model_list and custom_provider_map into its config.",
        "#   litellm --config config.yaml --port 4000",
        "model_list:",
        f"  - model_name: {json.dumps(file.name)}",
        "    litellm_params:",
        f"      model: {json.dumps('policy/' + file.name)}",
    ]
    if len(tiers) == 1:
        tier = next(iter(tiers.values()))
        lines += [
            "      # Usage is summed over all samples, so that a token's price gives the whole cost.",
            f"      input_cost_per_token: {tier.price.prompt_usd(1):.12f}",
            f"      output_cost_per_token: {tier.price.completion_usd(1):.12f}",
        ]
    lines += [line for tier in tiers.values() for line in _deployment(tier)]
    lines += [
        "litellm_settings:",
        "  custom_provider_map:",
        f"    - {{provider: policy, custom_handler: {HANDLER}.provider}}",
        "general_settings:",
        "  master_key: os.environ/LITELLM_MASTER_KEY",
    ]
    return "\n".join(lines) + "\n"


def _deployment(tier: Tier) -> list[str]:
    """The deployment that answers the policy's calls; an embedded tier needs none."""
    if kind_of(tier.model) != "litellm":
        return []
    provider = tier.model.partition("/")[0]
    key = _KEY_OF.get(provider, f"{provider.upper()}_API_KEY")
    return [
        f"  - model_name: {json.dumps(tier.model)}  # tier {tier.name}",
        "    litellm_params:",
        f"      model: {json.dumps(tier.model)}",
        f"      api_key: os.environ/{key}",
    ]


def _handler(policy_name: str) -> str:
    return (
        '"""The policies that the LiteLLM proxy beside this file serves as policy/NAME."""\n\n'
        "from tierwise.serving.litellm_provider import PolicyProvider\n\n"
        f"provider = PolicyProvider.beside(__file__, {json.dumps(policy_name)})\n"
    )


def _plain(name: str) -> str:
    """``name`` as a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".") or "policy"


def batch_lines(
    file: PolicyFile, items: Iterable[tuple[str, Mapping[str, str]]], *, seed: int = 0
) -> Iterator[str]:
    """JSONL lines for items as (id, inputs); ``custom_id`` is ``ID|variant|sample``.

    ``variant`` counts the variants of the item's bucket from 0, ``sample`` is the first sample of the request.

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
            f"{file.name} uses {strategy.kind}, which looks at its samples before it asks for more: "
            "they are not fixed"
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
        "messages": [m._asdict() for m in request.messages],
        **params,
        **(extra if isinstance(extra, dict) else {}),
        **({"logprobs": True} if tier.logprobs else {}),
    }
    first_seed = base_seed(seed, request)
    for sample, size in [(0, n)] if tier.takes_n else [(i, 1) for i in range(n)]:
        asked = {**body, "seed": first_seed + sample, **({"n": size} if size > 1 else {})}
        line = {"custom_id": f"{name}|{sample}", "method": "POST", "url": "/v1/chat/completions"}
        yield json.dumps({**line, "body": asked}, ensure_ascii=False)
