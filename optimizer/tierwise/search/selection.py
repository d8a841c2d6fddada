"""Which policies are taken: candidates, the objective of each operating point, and what it must show.

The front of a study is judged anew on held-out items. Each operating point maximises its objective
there, where a more complex policy must earn its place by more than noise, and buckets also against
the same recipes assigned at random. A point that only asks for an equal score at fewer dollars
(``economy``, ``level``) takes the cheapest policy that is non-inferior, corrected for the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation, Evaluator
from tierwise.schema import LEVEL, Policy
from tierwise.search.problem import BOUNDED, keeps_to_itself
from tierwise.search.study import EvaluatedTrial, StudyRound
from tierwise.stats.comparisons import reach_of
from tierwise.stats.intervals import bootstrap_mean, resampled_sums
from tierwise.stats.pareto import pareto_front
from tierwise.strategies import build

Floats = npt.NDArray[np.float64]

KINDS = ("one sample", "one bucket", "buckets")
"""Of policies, from the simplest."""

STANDARD_ERRORS = {"one sample": 0.0, "one bucket": 1.0, "buckets": 1.5}
"""Standard errors that a policy must gain over the simpler kind: buckets overfit easily. Those of
buckets are for one candidate; of several, the best must gain what the best of as many gains by
chance as rarely (Bonferroni)."""

SCORE_PER_DOUBLING = 0.01
"""Score that a policy must gain for costing twice as much, at the balanced point."""

EQUAL_SCORE = 0.02
"""Score that a policy may lose at worst and still be held equal, where only its dollars count."""

NEAR = 0.04
"""Of the best score on the study's samples: what may turn out to be level with it."""

TINY = 1e-12


@dataclass(frozen=True)
class Selection:
    """What was chosen on the select split.

    Attributes:
        baseline: the baseline prompt at one sample.
        points: operating point -> candidate.
        chosen: name of the job's operating point; its own bound is ``BOUNDED``.
        candidates: the baseline, then the finalists.
        alone: with escalation targets, what is chosen where nothing may be escalated; else None.
    """

    baseline: Policy
    points: Mapping[str, Candidate]
    chosen: str
    candidates: Sequence[Candidate]
    alone: Policy | None = None


# Candidates


class Candidate(NamedTuple):
    """A policy judged on the select split.

    ``random_control``: of a policy with buckets, what it would be worth if its signal told nothing.
    """

    policy: Policy
    trial: int
    on_select: Evaluation
    random_control: Evaluation | None = None


def candidate(judge: Evaluator, policy: Policy, trial: int = -1) -> Candidate:
    """``policy`` judged by ``judge``."""
    evaluation = judge.evaluate(policy)
    return Candidate(policy, trial, evaluation, _random_control(judge, policy, evaluation))


def _random_control(judge: Evaluator, policy: Policy, own: Evaluation) -> Evaluation | None:
    """Every item by each bucket's recipe, after the same probe, as often as it is used.

    Whether a signal orders items and whether its buckets are the better policy are two questions:
    of many random assignments to two recipes of about the same worth one is lucky. Against the
    recipes alone that shows as a gain, against this control it does not. None for one bucket.
    """
    if len(policy.buckets) == 1:
        return None
    uncut = replace(policy.difficulty, thresholds=())
    each = [judge.evaluate(Policy((recipe,), uncut, policy.limits)) for recipe in policy.buckets]
    score, usd, samples, rounds = (
        np.average([getattr(e, name) for e in each], axis=0, weights=own.shares)
        for name in ("score", "usd", "samples", "rounds")
    )
    return Evaluation(score, usd, samples, rounds, own.shares)


def complexity(policy: Policy) -> str:
    """One of ``KINDS``, by what a policy may ask for."""
    if len(policy.buckets) > 1:
        return "buckets"
    most = build(policy.buckets[0].strategy).max_samples
    return "one sample" if most == 1 else "one bucket"


def finalists_of(study_round: StudyRound, n: int) -> list[EvaluatedTrial]:
    """Policies along the study's front, and along the fronts of simpler kinds, which they must beat.

    With escalation targets, also along the front of what escalates nothing, and the cheapest near
    the best score of one bucket, which is the stronger tier's. Last, every recipe of their buckets
    alone: where a signal turns out to tell nothing, the recipe may still be the best.
    """

    def front_of(kind: str) -> list[EvaluatedTrial]:
        return study_round.front_of(lambda judged: complexity(judged.policy) == kind)

    found = [
        *spread_along(study_round.front(), n // 2),
        *spread_along(front_of("one bucket"), n // 4),
        *spread_along(front_of("one sample"), n // 4),
    ]
    if study_round.dimensions.own != study_round.dimensions.variants:
        own = study_round.front_of(lambda judged: keeps_to_itself(judged.policy))
        found += spread_along(own, n // 2)
        plain = study_round.front_of(lambda judged: len(judged.policy.buckets) == 1)
        strong = max(j.score for j in plain)
        found += [j for j in study_round.front() if j.score > strong - NEAR][: n // 2]
    alone = (Policy((recipe,)) for j in list(found) for recipe in j.policy.buckets)
    found += [study_round.judged[policy] for policy in alone if policy in study_round.judged]
    return list({j.policy: j for j in found}.values())


def spread_along(front: Sequence[EvaluatedTrial], n: int) -> list[EvaluatedTrial]:
    """About ``n`` policies at even steps along a front, cheapest first, its ends among them.

    A step counts score and doublings of dollars alike, each over its range: at the expensive end of
    a front a point of score costs most, and many policies stand within it.
    """
    if len(front) <= n:
        return list(front)
    score, usd = [j.score for j in front], [math.log(j.usd or TINY) for j in front]
    place = _shares_of_range(score) + _shares_of_range(usd)
    wanted = np.linspace(place[0], place[-1], n)
    at = np.unique([int(np.argmin(np.abs(place - w))) for w in wanted])
    return [front[i] for i in at]


def _shares_of_range(rising: Sequence[float]) -> Floats:
    above = np.array(rising, dtype=np.float64) - rising[0]
    return above / max(float(above[-1]), TINY)


# Operating points


def select_points(
    candidates: Sequence[Candidate],
    baseline: Candidate,
    wanted: str | Mapping[str, float],
    study: StudyEvidence | None = None,
    *,
    margin: float,
    strong: Candidate | None = None,
) -> dict[str, Candidate]:
    """Operating point -> the candidate that is taken there.

    Args:
        candidates: what may be taken.
        baseline: what ``economy`` may not fall behind.
        wanted: the job's point; a bound of its own becomes ``BOUNDED``.
        study: what the candidates were found on; None: they are judged by ``candidates`` alone.
        margin: score that an equal policy may be short of.
        strong: with escalation targets, the strongest one's prompt at one sample, for ``level``.

    Raises:
        UnsupportedError: no policy keeps to the job's own bound.
    """
    points = {
        "economy": level_point(candidates, baseline, study, margin=margin),
        "balanced": _best(candidates, _BALANCED),
        "quality": _best(candidates, _SCORE),
    }
    if not isinstance(wanted, str):
        points[BOUNDED] = bounded_point(candidates, wanted, study)
    if strong is not None:
        points[LEVEL] = level_point(candidates, strong, study, margin=margin)
    return points


def level_point(
    candidates: Sequence[Candidate],
    other: Candidate,
    study: StudyEvidence | None = None,
    *,
    margin: float,
) -> Candidate:
    """The cheapest that is non-inferior to ``other``: surely less than ``margin`` below its score.

    So small a difference takes many items to see. Where none is shown to be, ``other``.
    """
    return _best([other, *non_inferior(candidates, Claim(-margin, other), study)], _DOLLARS)


def bounded_point(
    candidates: Sequence[Candidate], bound: Mapping[str, float], study: StudyEvidence | None = None
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
        likely = non_inferior(candidates, Claim(value), study, LIKELIER_THAN_NOT)
        return _best(likely, _DOLLARS) if likely else _best(good, _SCORE)
    return _best(
        candidates,
        Objective(
            lambda e: 100 * value * e.mean_score - e.mean_usd,
            lambda e, _: 100 * value * e.score - e.usd,
        ),
    )


def balanced_utility(score: float, usd: float) -> float:
    """What the balanced point maximises: the score, less a point for each doubling of dollars.

    It does not depend on what a dollar is worth.
    """
    return score - SCORE_PER_DOUBLING * math.log2(max(usd, 1e-30))


class Objective(NamedTuple):
    """What a point maximises.

    ``rank`` orders policies; ``per_item`` is the same for each item, (n_items,), so that a paired
    standard error can be had; its mean is ``rank``, but for a constant set by the dollars given.
    ``saves``: what ranks higher may also show it by dollars alone, at an equal score.
    """

    rank: Callable[[Evaluation], float]
    per_item: Callable[[Evaluation, float], Floats]
    saves: bool = False


def _doublings(e: Evaluation, reference_usd: float) -> Floats:
    """Doublings of the dollars over the reference; their mean is that of the mean dollars.

    To first order around the policy's own dollars: around the reference, a search that costs fifty
    times a plain answer would be charged seventy doublings, where it is five and a half.
    """
    mean = max(e.mean_usd, 1e-30)
    of_mean = math.log2(mean / max(reference_usd, 1e-30))
    return of_mean + (e.usd / mean - 1) / math.log(2)


_SCORE = Objective(lambda e: e.mean_score, lambda e, _: e.score)
_DOLLARS = Objective(lambda e: -e.mean_usd, lambda e, _: -e.usd)
_BALANCED = Objective(
    lambda e: balanced_utility(e.mean_score, e.mean_usd),
    lambda e, reference_usd: e.score - SCORE_PER_DOUBLING * _doublings(e, reference_usd),
    saves=True,
)


def _best(candidates: Sequence[Candidate], objective: Objective) -> Candidate:
    """The candidate that ranks first, where what is more complex earns its place.

    From one sample to one bucket to buckets: the best of each kind replaces the simpler choice if
    it ranks above it and gains more than ``STANDARD_ERRORS`` of the paired difference. Buckets must
    be as clearly better than their random-assignment control.
    """
    chosen: Candidate | None = None
    for kind, errors in STANDARD_ERRORS.items():
        among = [c for c in candidates if complexity(c.policy) == kind]
        if kind == "buckets":
            errors = _of_several(errors, max(len(among), 1))
        if chosen is not None:
            rank, simpler = objective.rank(chosen.on_select), chosen.on_select
            among = [
                c
                for c in among
                if objective.rank(c.on_select) > rank
                and min(_gain(c.on_select, simpler, objective), _beyond_random(c)) > errors
            ]
        if among:
            chosen = max(among, key=lambda c: (objective.rank(c.on_select), -c.on_select.mean_usd))
    assert chosen is not None
    return chosen


def _of_several(errors: float, n: int) -> float:
    """Standard errors that the best of ``n`` passes by chance no oftener than one ``errors``."""
    normal = NormalDist()
    return normal.inv_cdf(1 - (1 - normal.cdf(errors)) / n)


def _beyond_random(mine: Candidate) -> float:
    """Standard errors of balanced utility that buckets gain over their random-assignment control."""
    control = mine.random_control
    if control is None:
        return math.inf
    usd, per_item = control.mean_usd, _BALANCED.per_item
    return _in_errors(per_item(mine.on_select, usd) - per_item(control, usd))


def _gain(mine: Evaluation, other: Evaluation, objective: Objective) -> float:
    """In standard errors: of the objective, or of dollars saved at an equal score if these count.

    They count at the balanced point, where the error of the score hides what a doubling is worth.
    Where score is all (quality, a bound on dollars), or a point has a price, they prove nothing.
    """
    usd = other.mean_usd
    gain = _in_errors(objective.per_item(mine, usd) - objective.per_item(other, usd))
    if not objective.saves or bootstrap_mean(mine.score - other.score).low <= -EQUAL_SCORE:
        return gain
    return max(gain, _in_errors(other.usd - mine.usd))


def _in_errors(differences: Floats) -> float:
    """Mean in standard errors."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    if error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / error


# Non-inferiority, corrected for selection among many policies.
#
# Picking the cheapest of many apparently equal policies is biased (winner's curse), and the study's
# items, on which they were searched, flatter all of them. Yet a select split alone is too small to
# see two points. So both splits count, each with its own correction:
#
# - on *select*, policies are tested in an order that the study sets, from the surest on to the first
#   that fails. A sequence that is fixed beforehand needs no correction for its length (Maurer,
#   Hothorn and Lehmacher 1995; over a front of score and cost: Pareto testing, Laufer-Goldshtein
#   et al., arXiv 2210.07913);
# - on the *study*, a policy may be the luckiest of all that were judged there. What that is worth is
#   read from resamples of its items over all policies at once (max-t), so that policies that do
#   nearly the same count as one (White's reality check, Econometrica 2000; those far below are no
#   rivals, Hansen 2005).

ERROR = 0.025
"""Chance that anything is shown wrongly: that of a two-sided 95% interval's lower end."""

LIKELIER_THAN_NOT = 0.5
"""The same for a claim that is only held to be likelier than not."""

STEP = 0.1
"""Share of the dollars that a test must be worth: a front's points may be closer than that, and the
cheapest of a crowd saves nothing and scores least."""

RESAMPLES = 1000
NORMAL = NormalDist()
QUANTILES = np.array([NORMAL.inv_cdf((i + 0.5) / 200) for i in range(200)])


@dataclass(frozen=True)
class StudyEvidence:
    """The study that candidates come from.

    Attributes:
        usd: every policy that it judged -> mean dollars an item.
        evaluate: judges a policy on the study's items.
    """

    usd: Mapping[Policy, float]
    evaluate: Callable[[Policy], Evaluation]

    @classmethod
    def of(cls, study_round: StudyRound) -> StudyEvidence:
        """That of a study round."""
        usd = {policy: judged.usd for policy, judged in study_round.judged.items()}
        return cls(usd, study_round.evaluator.evaluate)


class Claim(NamedTuple):
    """That a policy's mean score, less another's on the same items, is above ``least``.

    Attributes:
        other: what it is compared with; None: with nothing.
    """

    least: float
    other: Candidate | None = None


def non_inferior(
    candidates: Sequence[Candidate], claim: Claim, study: StudyEvidence | None, error: float = ERROR
) -> list[Candidate]:
    """The candidates of which ``claim`` is shown, the surest first.

    The chance that any of them is wrong is at most ``error``. Beside another policy only those that
    are cheaper are looked at. Without ``study`` the select split sets the order too.
    """
    other = claim.other
    first = {c.policy: study.evaluate(c.policy) if study else c.on_select for c in candidates}
    theirs = other and (study.evaluate(other.policy) if study else other.on_select)
    below = theirs.mean_usd if theirs else math.inf
    in_turn = sorted(
        _steps([c for c in candidates if first[c.policy].mean_usd < below], first, below),
        key=lambda c: -float(studentised_margin(_difference(first[c.policy], theirs), claim)),
    )
    if not in_turn:
        return []
    least = NORMAL.inv_cdf(1 - error)
    if study:
        rivals = (study.evaluate(policy) for policy, usd in study.usd.items() if usd < below)
        differences = np.array([_difference(e, theirs) for e in rivals])
        least = critical_value(differences, claim, len(in_turn[0].on_select.score), error)
    found = []
    for c in in_turn:
        difference = _difference(c.on_select, other and other.on_select)
        if study:
            difference = np.concatenate([_difference(first[c.policy], theirs), difference])
        if not studentised_margin(difference, claim) > least:  # nor where it is NaN
            break
        found.append(c)
    return found


def critical_value(searched: Floats, claim: Claim, n_fresh: int, error: float) -> float:
    """Standard errors above ``claim.least`` that show it, on the study's items and fresh ones.

    ``searched`` (n_policies, n_items) are the differences of everything that was judged. The policy
    that is tested may be the luckiest of them on the study, and is any one on the ``n_fresh``
    others: the quantile of the largest of the one plus a normal of the other, each as its items
    weigh.
    """
    alone = NORMAL.inv_cdf(1 - error)
    n = searched.shape[-1]
    if not searched.size or n < 3:
        return alone
    rivals = searched[studentised_margin(searched, claim) > -math.sqrt(2 * math.log(math.log(n)))]
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


def studentised_margin(differences: Floats, claim: Claim) -> Floats:
    """Standard errors by which the means of ``differences`` (…, n_items) exceed ``claim.least``."""
    mean, error = _moments(*_sums(differences), _ends(differences, claim), differences.shape[-1])
    return np.asarray((np.minimum(mean, differences.mean(axis=-1)) - claim.least) / error)


def _ends(differences: Floats, claim: Claim) -> tuple[Floats, Floats]:
    """The two pseudo-items of the intervals (``stats.comparisons``): the ends of what a score may
    be, or plus and minus the reach of a difference."""
    if claim.other is None:
        return np.zeros(differences.shape[:-1]), np.ones(differences.shape[:-1])
    reach = np.apply_along_axis(reach_of, -1, differences, 1.0)
    return -reach, reach


def _sums(differences: Floats) -> tuple[Floats, Floats]:
    return differences.sum(axis=-1), (differences**2).sum(axis=-1)


def _moments(
    sums: Floats, squares: Floats, ends: tuple[Floats, Floats], n: int
) -> tuple[Floats, Floats]:
    """Mean of ``n`` items and both ends, from the items' sums, and its standard error."""
    low, high = ends
    mean = (sums + low + high) / (n + 2)
    square = (squares + low**2 + high**2) / (n + 2)
    return mean, np.sqrt((square - mean**2) / n)


def _difference(mine: Evaluation, theirs: Evaluation | None) -> Floats:
    return mine.score if theirs is None else mine.score - theirs.score


def _steps(
    candidates: Sequence[Candidate], first: Mapping[Policy, Evaluation], below: float
) -> list[Candidate]:
    """The fronts of one sample, of one bucket at most and of all, at steps worth a test."""
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
