"""What is shown of a policy although it is one of many that were searched.

The cheapest of many policies that look level is a lucky one, and the study's items, on which they
were searched, flatter all of them. Yet the items of a select split alone are too few to see two
points. So both splits count, and each pays for what was chosen on it:

- on *select* one policy is tested after the other, in an order that the study sets, from the surest
  on to the first that fails. A sequence that is set beforehand needs no correction for its length
  (Maurer, Hothorn and Lehmacher 1995; over a front of score and cost: Pareto testing,
  Laufer-Goldshtein et al., arXiv 2210.07913);
- on the *study* a policy may be the luckiest of all that were judged there. What that is worth is
  known from resamples of its items, over all of them at once, so that policies that do nearly the
  same count as one (White's reality check, Econometrica 2000; those far below are no rivals, Hansen
  2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import Evaluation
from tierwise.schema import Policy
from tierwise.search.candidates import KINDS, Candidate, complexity
from tierwise.search.study import StudyRound
from tierwise.stats.comparisons import reach_of
from tierwise.stats.intervals import resampled_sums
from tierwise.stats.pareto import pareto_front

Floats = npt.NDArray[np.float64]

ERROR = 0.025
"""Chance that anything is shown wrongly: that of a two-sided 95% interval's lower end."""

EVEN = 0.5
"""The same of what is held to be likelier than not."""

STEP = 0.1
"""Share of the dollars that a test must be worth: a front's points may be closer than that, and the
cheapest of a crowd saves nothing and scores least."""

RESAMPLES = 1000
NORMAL = NormalDist()
QUANTILES = np.array([NORMAL.inv_cdf((i + 0.5) / 200) for i in range(200)])


@dataclass(frozen=True)
class Searched:
    """The study that candidates come from.

    Attributes:
        usd: everything that it judged -> mean dollars an item.
        evaluate: judges a policy on its items.
    """

    usd: Mapping[Policy, float]
    evaluate: Callable[[Policy], Evaluation]

    @classmethod
    def of(cls, study_round: StudyRound) -> Searched:
        """The study of a generation."""
        usd = {policy: judged.usd for policy, judged in study_round.judged.items()}
        return cls(usd, study_round.evaluator.evaluate)


class Claim(NamedTuple):
    """That a policy's mean score, less another's on the same items, is above ``least``.

    Attributes:
        other: what it is compared with; None: with nothing.
    """

    least: float
    other: Candidate | None = None


def shown(
    candidates: Sequence[Candidate], claim: Claim, searched: Searched | None, error: float = ERROR
) -> list[Candidate]:
    """The candidates of which ``claim`` is shown, the surest first.

    The chance that any of them is wrong is at most ``error``. Beside another policy only those that
    are cheaper are looked at. Without ``searched`` the select split sets the order too.
    """
    other = claim.other
    first = {c.policy: searched.evaluate(c.policy) if searched else c.on_select for c in candidates}
    theirs = other and (searched.evaluate(other.policy) if searched else other.on_select)
    below = theirs.mean_usd if theirs else math.inf
    in_turn = sorted(
        _steps([c for c in candidates if first[c.policy].mean_usd < below], first, below),
        key=lambda c: -float(surety(_gap(first[c.policy], theirs), claim)),
    )
    if not in_turn:
        return []
    least = NORMAL.inv_cdf(1 - error)
    if searched:
        rivals = (searched.evaluate(policy) for policy, usd in searched.usd.items() if usd < below)
        gaps = np.array([_gap(e, theirs) for e in rivals])
        least = critical(gaps, claim, len(in_turn[0].on_select.score), error)
    found = []
    for c in in_turn:
        gap = _gap(c.on_select, other and other.on_select)
        if searched:
            gap = np.concatenate([_gap(first[c.policy], theirs), gap])
        if not surety(gap, claim) > least:  # nor where it is NaN
            break
        found.append(c)
    return found


def critical(flattered: Floats, claim: Claim, n_fresh: int, error: float) -> float:
    """Standard errors above ``claim.least`` that show it, on the study's items and fresh ones.

    ``flattered`` (n_policies, n_items) are the gaps of everything that was judged. The policy that
    is tested may be the luckiest of them on the study, and is any one on the ``n_fresh`` others:
    the quantile of the largest of the one plus a normal of the other, each as its items weigh.
    """
    alone = NORMAL.inv_cdf(1 - error)
    n = flattered.shape[-1]
    if not flattered.size or n < 3:
        return alone
    rivals = flattered[surety(flattered, claim) > -math.sqrt(2 * math.log(math.log(n)))]
    if not len(rivals):
        return alone
    ends = _ends(rivals, claim)
    sums, squares = (resampled_sums(of.T, RESAMPLES, seed=0) for of in (rivals, rivals**2))
    mean, errors = _moments(sums, squares, ends, n)
    # By the errors of each resample: where few items differ, the luckiest have small ones too.
    luck = (mean - _moments(*_sums(rivals), ends, n)[0]) / errors
    share = n / (n + n_fresh)
    both = np.add.outer(math.sqrt(share) * luck.max(axis=1), math.sqrt(1 - share) * QUANTILES)
    return max(alone, float(np.quantile(both, 1 - error)))


def surety(gaps: Floats, claim: Claim) -> Floats:
    """Standard errors by which the means of ``gaps`` (…, n_items) are above ``claim.least``."""
    mean, error = _moments(*_sums(gaps), _ends(gaps, claim), gaps.shape[-1])
    return np.asarray((np.minimum(mean, gaps.mean(axis=-1)) - claim.least) / error)


def _ends(gaps: Floats, claim: Claim) -> tuple[Floats, Floats]:
    """The two pseudo-items of the intervals (``stats.paired``): the ends of what a score may be,
    or plus and minus the reach of a difference."""
    if claim.other is None:
        return np.zeros(gaps.shape[:-1]), np.ones(gaps.shape[:-1])
    reach = np.apply_along_axis(reach_of, -1, gaps, 1.0)
    return -reach, reach


def _sums(gaps: Floats) -> tuple[Floats, Floats]:
    return gaps.sum(axis=-1), (gaps**2).sum(axis=-1)


def _moments(
    sums: Floats, squares: Floats, ends: tuple[Floats, Floats], n: int
) -> tuple[Floats, Floats]:
    """Mean of ``n`` items and both ends, from the items' sums, and its standard error."""
    low, high = ends
    mean = (sums + low + high) / (n + 2)
    square = (squares + low**2 + high**2) / (n + 2)
    return mean, np.sqrt((square - mean**2) / n)


def _gap(mine: Evaluation, theirs: Evaluation | None) -> Floats:
    return mine.score if theirs is None else mine.score - theirs.score


def _steps(
    candidates: Sequence[Candidate], first: Mapping[Policy, Evaluation], below: float
) -> list[Candidate]:
    """The fronts of one sample, of one bucket at most and of all, at steps that are worth a test."""
    found: dict[int, Candidate] = {}
    among: list[Candidate] = []
    for kind in KINDS:
        among += [c for c in candidates if complexity(c.policy) == kind]
        score, usd = (
            [getattr(first[c.policy], name) for c in among] for name in ("mean_score", "mean_usd")
        )
        last = below
        for i in reversed(pareto_front(score, usd)):
            if usd[i] <= (1 - STEP) * last:
                last = usd[i]
                found[id(among[i])] = among[i]
    return list(found.values())
