"""The gate: a policy is exported only where it is surely better, or surely as good and cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.evaluation import Evaluation
from tierwise.stats.comparisons import PairedBootstrap, holm
from tierwise.stats.intervals import Interval


@dataclass(frozen=True)
class Comparison:
    """A policy against the baseline on the test split, paired by item.

    ``p`` is that of the gate before Holm's correction.
    """

    difference: Interval
    cost_ratio: Interval
    p: float


def compare(
    policy: Evaluation, baseline: Evaluation, *, margin: float, seed: int = 0
) -> Comparison:
    """Difference of scores, ratio of costs, and the gate's p-value.

    The gate's hypothesis is that the policy is neither better (difference > 0) nor as good and
    cheaper (difference > -margin and cost ratio < 1). Either way in counts, so the smaller p is
    doubled: at .05 that is what two-sided 95% intervals say.
    """
    paired = PairedBootstrap(len(policy.score), seed)
    better = paired.p_value(policy.score, baseline.score)
    level = paired.p_value(policy.score, baseline.score, margin)
    scale = baseline.mean_usd or 1.0
    cheaper = paired.p_value(baseline.usd / scale, policy.usd / scale)
    p = min(1.0, 2 * min(better, max(level, cheaper)))
    return Comparison(
        paired.difference(policy.score, baseline.score), paired.ratio(policy.usd, baseline.usd), p
    )


def passed(comparisons: Sequence[Comparison]) -> list[bool]:
    """The gate's verdicts, by Holm over all tiers and operating points of a job."""
    if not comparisons:
        return []
    return [bool(r) for r in holm([c.p for c in comparisons]).rejected]
