"""What calls cost: bounded before they are sent, and as billed after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tierwise.errors import InputError
from tierwise.llm import Call, Completion
from tierwise.pool.store import Answered
from tierwise.schema import SampleBill, Tier, Usage, price

TOKENS_PER_MESSAGE = 8
"""Room for what a chat template adds to a message (role, separators)."""


def worst_case(calls: Sequence[Call], tier: Tier, *, bounded: bool = True) -> Usage:
    """The most that ``calls`` can cost.

    A prompt has no more tokens than bytes in UTF-8, plus the template's; each sample has at most
    ``max_tokens``. With ``bounded=False`` a request without ``max_tokens`` counts its prompt only.
    Not counted: retries inside the model that a provider bills.

    Raises:
        InputError: ``bounded``, and a request sends no ``max_tokens``.
    """
    usd, samples, prompts, completions = 0.0, 0, 0, 0
    for call in calls:
        prompt = sum(len(m.content.encode()) + TOKENS_PER_MESSAGE for m in call.request.messages)
        completion = _max_tokens(call, tier, bounded) * call.n
        usd += tier.price.prompt_usd(prompt) + tier.price.completion_usd(completion)
        samples += call.n
        prompts += prompt
        completions += completion
    return Usage(len(calls), samples, prompts, completions, usd=usd)


def bill(answered: Sequence[Answered], tier: Tier) -> Usage:
    """What answered calls cost, by the function that search and serving share.

    Samples that failed carry no usage and are not among the bills; their calls are counted.
    """
    bills, used = [], Usage(len(answered))
    for i, (_, results) in enumerate(answered):
        done = [r for r in results if isinstance(r, Completion)]
        used += Usage(
            samples=len(done),
            prompt_tokens=sum(r.prompt_tokens for r in done[:1]),
            completion_tokens=sum(r.completion_tokens for r in done),
            reasoning_tokens=sum(r.reasoning_tokens for r in done),
            cached_tokens=sum(r.cached_tokens for r in done[:1]),
            seconds=max((r.latency_s for r in results), default=0.0),
        )
        bills += [
            SampleBill(
                i,
                tier.price.prompt_usd(r.prompt_tokens, r.cached_tokens),
                tier.price.completion_usd(r.completion_tokens),
                takes_n=True,
            )
            for r in done
        ]
    return replace(used, usd=price([bills]))


def _max_tokens(call: Call, tier: Tier, bounded: bool) -> int:
    params = call.request.params
    most = params.get("max_tokens", params.get("max_completion_tokens"))
    if isinstance(most, int):
        return most
    if bounded:
        raise InputError(
            f"a mode of tier {tier.name!r} sends no max_tokens, so nobody can say what a call "
            "costs at worst; give the mode max_tokens, or leave out the budget in usd and tokens"
        )
    return 0
