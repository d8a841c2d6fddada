"""The requests that a list of inputs needs, as a batch file for OpenAI-compatible endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tierwise.episode import Round, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.llm import base_seed, build_request
from tierwise.llm.models import kind_of
from tierwise.recipe import Arm
from tierwise.recipe.policy_file import PolicyFile
from tierwise.strategies import Strategy

_LITELLMS_OWN = ("allowed_openai_params", "extra_body")


def batch_lines(
    file: PolicyFile, items: Iterable[tuple[str, Mapping[str, str]]], *, seed: int = 0
) -> Iterator[str]:
    """JSONL lines for items as (id, inputs); ``custom_id`` is ``ID|arm|draw``.

    ``arm`` counts the arms of the item's bucket from 0, ``draw`` is the first draw of the request.

    Raises:
        UnsupportedError: what the policy draws depends on what came back, or its model has no
            such endpoint.
    """
    for arm in file.policy.arms:
        tier = file.tier_of(arm)
        if kind_of(tier.model) != "litellm":
            raise UnsupportedError(f"{tier.model} has no batch endpoint")
    if file.policy.difficulty.probe is not None:
        raise UnsupportedError(f"{file.name} probes before it draws: its draws are not fixed")
    strategies = strategies_of(file.policy)
    for strategy in strategies:
        _check_fixed(file, strategy)
    for item_id, inputs in items:
        round_: Round = next(episode(file.policy, strategies, inputs))
        arms = list(dict.fromkeys(round_.arms))
        for arm, group in groupby(sorted(round_.arms, key=arms.index)):
            yield from _requests(
                file, arm, len(list(group)), inputs, f"{item_id}|{arms.index(arm)}", seed
            )


def _check_fixed(file: PolicyFile, strategy: Strategy) -> None:
    from tierwise.strategies import Ask, Seen

    first = strategy.step(Seen())
    if not isinstance(first, Ask) or first.n < strategy.max_draws:
        raise UnsupportedError(
            f"{file.name} uses {strategy.kind}, which looks at its draws before it asks for more: "
            "they are not fixed"
        )


def _requests(
    file: PolicyFile, arm: Arm, n: int, inputs: Mapping[str, str], name: str, seed: int
) -> Iterator[str]:
    tier = file.tier_of(arm)
    request = build_request(tier, file.prompts[arm.prompt], arm, inputs)
    params = {k: v for k, v in request.params.items() if k not in _LITELLMS_OWN}
    extra = request.params.get("extra_body")
    body = {
        "model": request.model.partition("/")[2] or request.model,
        "messages": [m._asdict() for m in request.messages],
        **params, **(extra if isinstance(extra, dict) else {}),
        **({"logprobs": True} if tier.logprobs else {}),
    }  # fmt: skip
    first_seed = base_seed(seed, request)
    for draw, size in [(0, n)] if tier.takes_n else [(i, 1) for i in range(n)]:
        asked = {**body, "seed": first_seed + draw, **({"n": size} if size > 1 else {})}
        line = {"custom_id": f"{name}|{draw}", "method": "POST", "url": "/v1/chat/completions"}
        yield json.dumps({**line, "body": asked}, ensure_ascii=False)
