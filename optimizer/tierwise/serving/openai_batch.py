"""The requests that a list of inputs needs, as a batch file for OpenAI-compatible endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tierwise.episode import Round, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.llm import base_seed, build_request
from tierwise.llm.models import kind_of
from tierwise.schema import Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.strategies import Strategy

_LITELLMS_OWN = ("allowed_openai_params", "extra_body")


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
    from tierwise.strategies import Ask, Seen

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
