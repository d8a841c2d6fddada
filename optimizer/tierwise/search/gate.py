"""The gate: a policy is exported only where it is surely better, or surely as good and cheaper.

Evidence is the test split, which nothing was chosen on, and the validation split as cross-fitted
(``selection.cross_fitted``): there each item is judged under a policy that was chosen without it,
so that 60 test items do not throw away what 200 validation items show. Folds share most of the
items that they choose on, hence their errors are correlated: the validation items' share of the
variance is taken VALIDATION_FOLDS / (VALIDATION_FOLDS - 1) times, as Nadeau and Bengio (Machine
Learning 2003) correct it. By simulation at most 5% of jobs without a better policy pass
(docs/design/selection.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tierwise.evaluation import Evaluation
from tierwise.search.selection import VALIDATION_FOLDS, CrossFitted
from tierwise.stats.comparisons import PairedBootstrap, holm, reach_of
from tierwise.stats.intervals import Floats, Interval, student_cdf, student_quantile

POWER_80, TWO_SIDED_95 = NormalDist().inv_cdf(0.8), NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Comparison:
    """A policy against the baseline, paired by item.

    Attributes:
        difference: of scores, on the test split.
        cost_ratio: of dollars, on the test split.
        pooled: of scores, on test and cross-fitted validation items together.
        p: that the gate would pass by chance, before Holm's correction.
    """

    difference: Interval
    cost_ratio: Interval
    pooled: Interval
    p: float

    @property
    def provable_gain(self) -> float:
        """Gain of score that the gate would prove with power .8 on as many items of this noise."""
        half = (self.pooled.high - self.pooled.low) / 2
        return half * (1 + POWER_80 / TWO_SIDED_95)


@dataclass(frozen=True)
class PairedItems:
    """Differences a - b of items of which the first ``validation`` are cross-fitted.

    Two pseudo-items at plus and minus the largest difference take part (``stats.comparisons``).
    """

    values: Floats
    validation: int

    @property
    def error(self) -> float:
        """Standard error of the mean, with the folds' correlation."""
        n = len(self.values)
        reach = reach_of(self.values, 1.0)
        rows = np.append(self.values, [-reach, reach])
        inflation = (
            self.validation * VALIDATION_FOLDS / (VALIDATION_FOLDS - 1) + n - self.validation
        ) / n
        return float(np.sqrt(rows.var() / n * inflation))

    def p_value(self, margin: float = 0.0) -> float:
        """One-sided p of H0: mean <= -margin, by Student's t."""
        shrunk = float(self.values.mean()) * len(self.values) / (len(self.values) + 2)
        mean = min(shrunk, float(self.values.mean()))
        return 1 - student_cdf((mean + margin) / self.error, len(self.values) - 1)

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided interval of the mean."""
        mean = float(self.values.mean())
        reach = student_quantile((1 + level) / 2, len(self.values) - 1) * self.error
        return Interval(mean, mean - reach, mean + reach)


def compare(
    policy: Evaluation,
    baseline: Evaluation,
    *,
    margin: float,
    seed: int = 0,
    validation: tuple[CrossFitted, Evaluation] | None = None,
) -> Comparison:
    """Difference of scores, ratio of costs, and the gate's p-value.

    The gate's hypothesis is that the policy is neither better (difference > 0) nor as good and
    cheaper (difference > -margin and cost ratio < 1). Either way in counts, so the smaller p is
    doubled: at .05 that is what two-sided 95% intervals say.

    Args:
        policy, baseline: on the test split.
        validation: how the choice cross-fits on the validation split, and the baseline there; None:
            the test split decides alone.
    """
    paired = PairedBootstrap(len(policy.score), seed)
    score, usd = policy.score - baseline.score, baseline.usd - policy.usd
    n_validation = 0
    if validation is not None:
        fitted, there = validation
        n_validation = len(fitted.score)
        score = np.append(fitted.score - there.score, score)
        usd = np.append(there.usd - fitted.usd, usd)
    scores = PairedItems(score, n_validation)
    dollars = PairedItems(usd / (baseline.mean_usd or 1.0), n_validation)
    better, level = scores.p_value(), scores.p_value(margin)
    p = min(1.0, 2 * min(better, max(level, dollars.p_value())))
    return Comparison(
        paired.difference(policy.score, baseline.score),
        paired.ratio(policy.usd, baseline.usd),
        scores.interval(),
        p if math.isfinite(p) else 1.0,
    )


def passed(comparisons: Sequence[Comparison]) -> list[bool]:
    """The gate's verdicts, by Holm over all tiers and operating points of a job."""
    if not comparisons:
        return []
    return [bool(r) for r in holm([c.p for c in comparisons]).rejected]
