"""What judging costs, before the first judgement: for a plan, and for the size of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.llm import cap_of, judge_request
from tierwise.pool.calls import most_tokens
from tierwise.runs.prepare import Prepared
from tierwise.schema import Message, Tier, Usage
from tierwise.search.budget import BYTES_A_TOKEN, PART_OF_CAP
from tierwise.search.problem import SampleCost
from tierwise.tasks import Item

MEASURED_ANSWERS = 20
"""Items of which the judge's prompt is rendered."""


class JudgingUsage(NamedTuple):
    """What a judgement is expected to use, and at worst; nothing where there is no judge.

    ``checks``: judgements beside those of the answers, by which the judge itself is measured.
    """

    expected: Usage = Usage()
    worst: Usage = Usage()
    checks: int = 0

    @property
    def check(self) -> Usage:
        """What measuring the judge is expected to use."""
        return self.expected * self.checks


def judging_usage(
    prepared: Prepared, answer: SampleCost, longest_tokens: float = 0.0
) -> JudgingUsage:
    """Of one answer, which has as many tokens as a sample is expected to use.

    ``longest_tokens``: of an answer at worst. At worst every one of the judge's attempts is needed.
    """
    judge, tier = prepared.loaded.judge, prepared.judge_tier
    if judge is None or tier is None:
        return JudgingUsage()
    spec = judge.spec
    asked = [judge.messages(item, "") for item in _some_items(prepared)]
    expected, worst = _of_a_call(tier, asked, answer.tokens, longest_tokens)
    again = spec.repeats + 1 + spec.reference  # repeats after the first, padded, drift, swapped
    return JudgingUsage(expected, worst * spec.attempts, len(judge.labels) + spec.checked * again)


def verifying_usage(
    prepared: Prepared, answer: SampleCost, longest_tokens: float = 0.0
) -> JudgingUsage:
    """The same of a judgement below a sample; nothing where the space asks for none."""
    verifier, tier = prepared.verifier, prepared.verifier_tier
    if verifier is None or tier is None:
        return JudgingUsage()
    asked = [verifier.messages(item.inputs, "") for item in _some_items(prepared)]
    return JudgingUsage(*_of_a_call(tier, asked, answer.tokens, longest_tokens))


def _some_items(prepared: Prepared) -> Sequence[Item]:
    return prepared.loaded.task.splits["validation"][:MEASURED_ANSWERS]


def _of_a_call(
    tier: Tier, asked: Sequence[tuple[Message, ...]], answer: float, longest: float
) -> tuple[Usage, Usage]:
    """Expected, and at worst: the reply fills the cap, and a token of the prompt is a byte."""
    request = judge_request(tier, asked[0])
    sizes = [sum(len(m.content.encode()) for m in messages) for messages in asked]

    def usage(prompt: float, completion: float) -> Usage:
        usd = tier.price.prompt_usd(prompt)
        usd += tier.price.completion_usd(completion, prompt_tokens=prompt)
        return Usage(1, 0, prompt, completion, usd=usd)

    most = most_tokens(request.params, tier.name, bounded=False)
    usual = usage(sum(sizes) / len(sizes) / BYTES_A_TOKEN + answer, cap_of(request) * PART_OF_CAP)
    return usual, usage(max(sizes) + longest * BYTES_A_TOKEN, most)
