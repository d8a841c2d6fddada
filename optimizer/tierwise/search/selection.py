"""Which policies are taken, on the select split: three operating points, or one with a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation
from tierwise.recipe import Policy
from tierwise.stats.paired import PairedBootstrap

POINTS = ("economy", "balanced", "quality")
POINT_A_DOUBLING = 0.01
"""Score that a policy must gain for costing twice as much, at the balanced point."""

BUCKETS_MUST_GAIN = 1.5
"""Standard errors by which a policy with buckets must beat the best one without."""


class Candidate(NamedTuple):
    """A policy, judged on the select split."""

    policy: Policy
    trial: int
    on_select: Evaluation


def operating_points(
    candidates: Sequence[Candidate], baseline: Evaluation, *, margin: float
) -> dict[str, Candidate]:
    """The three named points.

    quality: the highest score. balanced: the highest score less ``POINT_A_DOUBLING`` for each
    doubling of dollars, which does not depend on what a dollar is worth. economy: the cheapest that
    is not worse than the baseline by ``margin``, by the lower bound of the paired 95% interval;
    where none is, the cheapest whose mean is not. With each, buckets must earn their place
    (``_earned``).
    """
    quality = _earned(candidates, _quality)
    paired = PairedBootstrap(len(baseline.score), resamples=2000)

    def economy(among: Sequence[Candidate]) -> Candidate:
        safe = [
            c for c in among
            if paired.difference(c.on_select.score, baseline.score).low > -margin
        ]  # fmt: skip
        level = [c for c in among if c.on_select.mean_score >= baseline.mean_score - margin]
        return _cheapest(safe or level or among)

    return {
        "economy": _earned(candidates, economy),
        "balanced": _earned(candidates, lambda among: max(among, key=_worth)),
        "quality": quality,
    }


def bounded_point(candidates: Sequence[Candidate], bound: Mapping[str, float]) -> Candidate:
    """The point for ``max_usd_per_item``, ``min_score`` or ``usd_per_point``.

    Raises:
        UnsupportedError: no policy keeps to the bound; says how near they come.
    """
    ((name, value),) = bound.items()
    if name == "max_usd_per_item":
        fit = [c for c in candidates if c.on_select.mean_usd <= value]
        if not fit:
            least = min(c.on_select.mean_usd for c in candidates)
            raise UnsupportedError(
                f"no policy costs at most ${value:g} an item; the cheapest costs ${least:.3g}"
            )
        return _earned(fit, _quality)
    if name == "min_score":
        good = [c for c in candidates if c.on_select.mean_score >= value]
        if not good:
            most = max(c.on_select.mean_score for c in candidates)
            raise UnsupportedError(
                f"no policy scores {value:g} or more; the best scores {most:.3f}"
            )
        return _earned(good, _cheapest)

    def utility(c: Candidate) -> float:
        return 100 * value * c.on_select.mean_score - c.on_select.mean_usd

    return _earned(candidates, lambda among: max(among, key=utility))


def _earned(
    candidates: Sequence[Candidate], choose: Callable[[Sequence[Candidate]], Candidate]
) -> Candidate:
    """The choice among all, if it is of one bucket or clearly beats the one-bucket choice.

    Clearly: by more than ``BUCKETS_MUST_GAIN`` standard errors of the paired difference, in score,
    or in dollars at a score that is not lower.
    """
    best = choose(candidates)
    plain = [c for c in candidates if len(c.policy.buckets) == 1]
    if len(best.policy.buckets) == 1 or not plain:
        return best
    sibling = choose(plain)
    gain, saved = best.on_select, sibling.on_select
    better = _gain(gain.score - saved.score)
    cheaper = _gain(saved.usd - gain.usd)
    level = gain.mean_score >= saved.mean_score
    if better > BUCKETS_MUST_GAIN or (level and cheaper > BUCKETS_MUST_GAIN):
        return best
    return sibling


def _gain(differences: object) -> float:
    """Mean in standard errors."""
    d = np.asarray(differences, dtype=np.float64)
    error = float(d.std(ddof=1)) / np.sqrt(len(d))
    if error == 0:
        return float(np.sign(d.mean()) * np.inf) if d.mean() else 0.0
    return float(d.mean() / error)


def _quality(among: Sequence[Candidate]) -> Candidate:
    return max(among, key=lambda c: (c.on_select.mean_score, -c.on_select.mean_usd))


def _cheapest(among: Sequence[Candidate]) -> Candidate:
    return min(among, key=lambda c: (c.on_select.mean_usd, -c.on_select.mean_score))


def _worth(c: Candidate) -> float:
    return c.on_select.mean_score - POINT_A_DOUBLING * math.log2(max(c.on_select.mean_usd, 1e-30))
