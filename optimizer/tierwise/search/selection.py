"""Which policies are taken, on the select split: three operating points, or one with a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation
from tierwise.search.candidates import Candidate, complexity
from tierwise.search.shown import EVEN, Claim, Searched, shown
from tierwise.stats.intervals import bootstrap_mean

Floats = npt.NDArray[np.float64]

POINT_A_DOUBLING = 0.01
"""Score that a policy must gain for costing twice as much, at the balanced point."""

LEVEL = 0.02
"""Score that an equal policy may be short of, at worst: the gate's margin, where no job says so."""

MUST_GAIN = {"one sample": 0.0, "one bucket": 1.0, "buckets": 1.5}
"""Standard errors that a policy must gain over the simpler kind: buckets overfit easily. Those of
buckets are for one candidate; of several, the best must gain what one of them all gains by chance
as rarely (Bonferroni)."""


def operating_points(
    candidates: Sequence[Candidate],
    baseline: Candidate,
    searched: Searched | None = None,
    *,
    margin: float,
) -> dict[str, Candidate]:
    """The three named points.

    quality: the highest score. balanced: the highest score less ``POINT_A_DOUBLING`` for each
    doubling of dollars, which does not depend on what a dollar is worth. economy: the cheapest that
    is shown to be level with the baseline. With each, buckets must earn their place.
    """
    return {
        "economy": level_point(candidates, baseline, searched, margin=margin),
        "balanced": _best(candidates, _SCORE_A_DOUBLING),
        "quality": _best(candidates, _SCORE),
    }


def level_point(
    candidates: Sequence[Candidate],
    other: Candidate,
    searched: Searched | None = None,
    *,
    margin: float,
) -> Candidate:
    """The cheapest that is shown to be level with ``other``: less than ``margin`` below it.

    So small a difference takes many items to see. Where it cannot be shown of any, ``other``.
    """
    return _best([other, *shown(candidates, Claim(-margin, other), searched)], _DOLLARS)


def in_doublings(score: float, usd: float) -> float:
    """What the balanced point ranks by: the score, less a point for each doubling of dollars."""
    return score - POINT_A_DOUBLING * math.log2(max(usd, 1e-30))


def bounded_point(
    candidates: Sequence[Candidate], bound: Mapping[str, float], searched: Searched | None = None
) -> Candidate:
    """The point for ``max_usd_per_item``, ``min_score`` or ``usd_per_point``.

    ``min_score``: the cheapest that keeps to it likelier than not, as one of many; where there is
    none, the one that scores most.

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
        return _best(fit, _SCORE)
    if name == "min_score":
        good = [c for c in candidates if c.on_select.mean_score >= value]
        if not good:
            most = max(c.on_select.mean_score for c in candidates)
            raise UnsupportedError(
                f"no policy scores {value:g} or more; the best scores {most:.3f}"
            )
        likely = shown(candidates, Claim(value), searched, EVEN)
        return _best(likely, _DOLLARS) if likely else _best(good, _SCORE)

    points = Aim(
        lambda e: 100 * value * e.mean_score - e.mean_usd,
        lambda e, _: 100 * value * e.score - e.usd,
    )
    return _best(candidates, points)


class Aim(NamedTuple):
    """What a point is chosen by.

    ``rank`` orders policies; ``worth`` is the same for each item, (n_items,), so that a paired
    standard error can be had; its mean is ``rank``, but for a constant that the dollars that are
    given set. ``saves``: what ranks higher may also show it by dollars alone, at a level score.
    """

    rank: Callable[[Evaluation], float]
    worth: Callable[[Evaluation, float], Floats]
    saves: bool = False


def _doublings(e: Evaluation, reference_usd: float) -> Floats:
    """Of the dollars over the reference; their mean over items is that of the mean dollars.

    To first order around the policy's own dollars: around the reference, a search that costs fifty
    times a plain answer would be charged seventy doublings, where it is five and a half.
    """
    mean = max(e.mean_usd, 1e-30)
    of_mean = math.log2(mean / max(reference_usd, 1e-30))
    return of_mean + (e.usd / mean - 1) / math.log(2)


_SCORE = Aim(lambda e: e.mean_score, lambda e, _: e.score)
_DOLLARS = Aim(lambda e: -e.mean_usd, lambda e, _: -e.usd)
_SCORE_A_DOUBLING = Aim(
    lambda e: in_doublings(e.mean_score, e.mean_usd),
    lambda e, reference_usd: e.score - POINT_A_DOUBLING * _doublings(e, reference_usd),
    saves=True,
)


def _best(candidates: Sequence[Candidate], aim: Aim) -> Candidate:
    """The candidate that ranks first, where what is more complex earns its place.

    From one sample to one bucket to buckets: of each kind, the first of those that earn the place of
    the simpler one takes it: that rank above it, and gain more than ``MUST_GAIN`` standard errors
    of the paired difference (``_gain``). Buckets must be as clearly
    better than the same recipes interleaved by lot: else their signal tells nothing.
    """
    chosen: Candidate | None = None
    for kind, errors in MUST_GAIN.items():
        among = [c for c in candidates if complexity(c.policy) == kind]
        if kind == "buckets":
            errors = _of_several(errors, max(len(among), 1))
        if chosen is not None:
            rank, simpler = aim.rank(chosen.on_select), chosen.on_select
            among = [
                c
                for c in among
                if aim.rank(c.on_select) > rank
                and min(_gain(c.on_select, simpler, aim), _beyond_chance(c)) > errors
            ]
        if among:
            chosen = max(among, key=lambda c: (aim.rank(c.on_select), -c.on_select.mean_usd))
    assert chosen is not None
    return chosen


def _of_several(errors: float, n: int) -> float:
    """Standard errors that the best of ``n`` passes by chance no oftener than one ``errors``."""
    normal = NormalDist()
    return normal.inv_cdf(1 - (1 - normal.cdf(errors)) / n)


def _beyond_chance(mine: Candidate) -> float:
    """What buckets gain over the same interleaved by lot, in standard errors of the balanced worth."""
    if mine.by_lot is None:
        return math.inf
    usd, worth = mine.by_lot.mean_usd, _SCORE_A_DOUBLING.worth
    return _in_errors(worth(mine.on_select, usd) - worth(mine.by_lot, usd))


def _gain(mine: Evaluation, other: Evaluation, aim: Aim) -> float:
    """In standard errors: of worth, or of dollars saved at a level score where these count alone.

    They count at the balanced point, where the error of the score hides what a doubling is worth.
    Where score is all (quality, a bound on dollars), or a point has a price, they prove nothing.
    """
    usd = other.mean_usd
    gain = _in_errors(aim.worth(mine, usd) - aim.worth(other, usd))
    if not aim.saves or bootstrap_mean(mine.score - other.score).low <= -LEVEL:
        return gain
    return max(gain, _in_errors(other.usd - mine.usd))


def _in_errors(differences: Floats) -> float:
    """Mean in standard errors."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    if error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / error
