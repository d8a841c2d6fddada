"""What judging costs, before the first judgement: for a plan, and for the size of a search."""

from __future__ import annotations

from typing import NamedTuple

from tierwise.llm import cap_of
from tierwise.pool.calls import most_tokens
from tierwise.pool.judging import judge_request
from tierwise.runs.prepare import Prepared
from tierwise.schema import Usage
from tierwise.search.budget import BYTES_A_TOKEN, PART_OF_CAP
from tierwise.search.problem import SampleCost

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

    ``longest_tokens``: of an answer at worst. At worst every one of the judge's attempts is needed,
    its reply fills the cap, and a token of its prompt is a byte.
    """
    judge, tier = prepared.loaded.judge, prepared.judge_tier
    if judge is None or tier is None:
        return JudgingUsage()
    spec = judge.spec
    items = prepared.loaded.task.splits["validation"][:MEASURED_ANSWERS]
    requests = [judge_request(tier, judge.messages(item, ""), "") for item in items]
    sizes = [sum(len(m.content.encode()) for m in request.messages) for request in requests]
    cap = cap_of(requests[0])

    def usage(prompt: float, completion: float) -> Usage:
        usd = tier.price.prompt_usd(prompt) + tier.price.completion_usd(
            completion, prompt_tokens=prompt
        )
        return Usage(1, 0, prompt, completion, usd=usd)

    expected = usage(sum(sizes) / len(sizes) / BYTES_A_TOKEN + answer.tokens, cap * PART_OF_CAP)
    most = most_tokens(requests[0].params, tier.name, bounded=False)
    worst = usage(max(sizes) + longest_tokens * BYTES_A_TOKEN, most) * spec.attempts
    again = spec.repeats + 1 + spec.reference  # repeats after the first, padded, drift, swapped
    return JudgingUsage(expected, worst, len(judge.labels) + spec.checked * again)
