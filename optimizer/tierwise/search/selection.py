"""Which policy is taken at each operating point, and its worth on items it was not chosen on.

A policy is chosen by its estimated utility on all validation items; no significance is asked of a
handful of them. Two things would flatter such a choice, and cross-fitting (choose on k - 1 folds of
the items, score on the k-th, repeat over partitions) measures both:

- *Complexity.* Buckets and cascades have more settings than a vote, a vote has more than a single
  sample, so the best of them overfits more. Kinds are nested sets of candidates; a larger set is
  chosen from where its cross-fitted utility is higher by more than one standard error (Breiman,
  Friedman, Olshen and Stone, Classification and Regression Trees, 1984). Cross-fitting sees what
  choosing among candidates overfits, the error stands for what proposing them did: the sampler
  proposes thresholds and recipes that were good on these same items.
- *Selection.* The mean of the best of many is biased upward (winner's curse). What is reported is
  the cross-fitted mean of the whole procedure, the choice of the kind included (nested
  cross-validation; Cawley and Talbot, JMLR 2010), which is not.

Partitions depend on the number of items alone, not on a seed: the same samples give the same
choice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import Evaluation, Evaluator
from tierwise.schema import LEVEL, Policy
from tierwise.search.problem import BOUNDED
from tierwise.stats.intervals import Floats
from tierwise.stats.pareto import Indices
from tierwise.strategies import build

KINDS = ("one sample", "one variant", "several variants", "stages", "more than two buckets")
"""Of policies, from the simplest: a sample of one variant, a strategy over one, a strategy over
several, two difficulty buckets or a cascade, more buckets."""

SCORE_PER_DOUBLING = 0.01
"""Score that a policy must gain for costing twice as much, at the balanced point."""

TIE_PER_DOUBLING = 0.001
"""The same at the quality point: of two policies that are as good the cheaper one is taken."""

SHORTFALL = 0.25
"""Expected shortfall that a policy called level may have, as a share of the margin."""

VALIDATION_FOLDS = 5
PARTITIONS = 8
"""Partitions into folds that a kind is chosen by."""

OUTER_PARTITIONS, INNER_PARTITIONS = 4, 2
"""The same of the cross-fitted evidence: of all items, and of the items of each choice in it."""

TINY = 1e-12
NORMAL = NormalDist()


class Candidate(NamedTuple):
    """A policy judged on the validation items; ``trial`` is -1 where no trial proposed it."""

    policy: Policy
    trial: int
    evaluation: Evaluation


@dataclass(frozen=True)
class CrossFitted:
    """A choice, judged on items that it was not made on; (n_items,) each.

    ``reference`` is the score that the choice may not fall short of, 0 where there is none.
    """

    score: Floats
    usd: Floats
    reference: Floats


class PointChoice(NamedTuple):
    """What is taken at an operating point, and what choosing so is worth on unseen items."""

    candidate: Candidate
    evidence: CrossFitted

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.candidate.policy


@dataclass(frozen=True)
class Selection:
    """What was chosen on the validation split.

    Attributes:
        baseline: the baseline prompt at one sample.
        points: operating point -> choice.
        chosen: name of the job's operating point; its own bound is ``BOUNDED``.
        candidates: the baseline, then everything that the study judged.
        judge: of policies on the validation items, as the candidates were judged.
        alone: with escalation targets, what is chosen where nothing may be escalated; else None.
    """

    baseline: Candidate
    points: Mapping[str, PointChoice]
    chosen: str
    candidates: Sequence[Candidate]
    judge: Evaluator
    alone: Policy | None = None


def complexity(policy: Policy) -> int:
    """Index into ``KINDS``, by what a policy may ask for."""
    strategy = policy.buckets[0].strategy
    if len(policy.buckets) > 1 or strategy.kind == "cascade":
        return 3 + (len(policy.buckets) > 2)
    if len(policy.buckets[0].variants) > 1:
        return 2
    return int(build(strategy).max_samples > 1)


@dataclass(frozen=True)
class CandidateTable:
    """Policies on the same items.

    Attributes:
        score, usd: (n_policies, n_items).
        kind: (n_policies,) index into ``KINDS``.
    """

    score: Floats
    usd: Floats
    kind: Indices

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> CandidateTable:
        """The table of ``candidates``, in their order."""
        return cls(
            np.array([c.evaluation.score for c in candidates]),
            np.array([c.evaluation.usd for c in candidates]),
            np.array([complexity(c.policy) for c in candidates]),
        )

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.score.shape[1])

    def rows(self, keep: Indices) -> CandidateTable:
        """The same policies on some of the items."""
        return CandidateTable(self.score[:, keep], self.usd[:, keep], self.kind)


# Aims: what an operating point maximises


@dataclass(frozen=True)
class Utility:
    """The highest mean score, less ``a_doubling`` for each doubling of dollars and ``usd_weight``
    for each dollar, among policies of at most ``max_usd`` an item."""

    a_doubling: float = TIE_PER_DOUBLING
    usd_weight: float = 0.0
    max_usd: float = math.inf

    def pick(self, table: CandidateTable, among: Indices) -> int:
        """Index of the best policy on ``table``; the cheapest where none keeps to ``max_usd``."""
        score, usd = table.score[among].mean(axis=1), table.usd[among].mean(axis=1)
        allowed = usd <= self.max_usd
        value = np.where(allowed, self.value(score, usd), -np.inf) if allowed.any() else -usd
        return int(among[_first_best(value, usd)])

    def reference(self, table: CandidateTable) -> Floats:
        """Nothing that it may not fall short of."""
        return np.zeros(table.n_items)

    def better(self, more: CrossFitted, simpler: CrossFitted) -> bool:
        """Whether a more complex kind is worth choosing from: by more than a standard error."""
        gain = self.gain(more, simpler)
        return float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain)) + TINY

    def gain(self, one: CrossFitted, other: CrossFitted) -> Floats:
        """(n_items,): utility of ``one`` less that of ``other``, doublings of the mean dollars to
        first order in each item."""
        mine, theirs = max(float(one.usd.mean()), 1e-30), max(float(other.usd.mean()), 1e-30)
        doublings = math.log2(mine / theirs) + (one.usd / mine - other.usd / theirs) / math.log(2)
        dollars = self.a_doubling * doublings + self.usd_weight * (one.usd - other.usd)
        return np.asarray(one.score - other.score - dollars)

    def at_price(self, times: float) -> Utility:
        """The same where dollars count for so many times as much."""
        return replace(self, a_doubling=self.a_doubling * times, usd_weight=self.usd_weight * times)

    def value(self, score: npt.ArrayLike, usd: npt.ArrayLike) -> Floats:
        """What is maximised, whether or not ``max_usd`` is kept."""
        score, usd = np.asarray(score), np.asarray(usd)
        doublings = np.log2(np.maximum(usd, 1e-30))
        return np.asarray(score - self.a_doubling * doublings - self.usd_weight * usd)


@dataclass(frozen=True)
class CheapestLevel:
    """The cheapest policy that is level with a reference, or reaches a score.

    Level: the expected shortfall of its mean score, E[(reference - score)+] under a normal of the
    paired mean and its standard error, is at most ``SHORTFALL`` of ``margin``. A policy that is
    surely a little worse and one that may be much worse are refused alike. The reference itself is
    level. Where no policy is, the one of the highest score.

    Attributes:
        other: index of the policy that is the reference; None: ``least`` is.
        least: a score.
    """

    margin: float
    other: int | None = None
    least: float = 0.0

    def pick(self, table: CandidateTable, among: Indices) -> int:
        """Index of the cheapest level policy on ``table``."""
        score, usd = table.score[among].mean(axis=1), table.usd[among].mean(axis=1)
        level = self._level(table.score[among] - self.reference(table))
        level |= among == self.other
        value = np.where(level, -usd, -np.inf) if level.any() else score
        return int(among[_first_best(value, usd)])

    def reference(self, table: CandidateTable) -> Floats:
        """(n_items,): the score of the reference."""
        if self.other is None:
            return np.full(table.n_items, self.least)
        return np.asarray(table.score[self.other])

    def better(self, more: CrossFitted, simpler: CrossFitted) -> bool:
        """Whether a more complex kind is worth choosing from: level, and cheaper."""
        gaps = np.array([f.score - f.reference for f in (more, simpler)])
        level, simpler_level = self._level(gaps)
        if not level or not simpler_level:
            return bool(level and not simpler_level) or (
                not level and float(gaps[0].mean()) > float(gaps[1].mean()) + TINY
            )
        return float(more.usd.mean()) < float(simpler.usd.mean()) * (1 - 1e-9)

    def _level(self, gaps: Floats) -> npt.NDArray[np.bool_]:
        """(n_policies,) of (n_policies, n_items)."""
        if self.other is None:  # a score is reached, or it is not: its error favours neither
            return np.asarray(gaps.mean(axis=1) >= 0)
        return expected_shortfall(gaps) <= SHORTFALL * self.margin


def expected_shortfall(gaps: Floats) -> Floats:
    """(n_policies,): E[max(-m, 0)] of the true mean m of each row of ``gaps`` (n_policies,
    n_items).

    m is normal around the row's mean. One pseudo-item of half a point either way: a few items that
    all agree do not show that the means are equal.
    """
    n = gaps.shape[1]
    mean = gaps.mean(axis=1)
    square = ((gaps**2).sum(axis=1) + 0.25) / (n + 1)
    error = np.sqrt(np.maximum(square - mean**2, 0.25 / (n + 1)) / n)
    z = mean / error
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([NORMAL.cdf(-float(v)) for v in z])
    return np.asarray(error * (density - z * below))


Aim = Utility | CheapestLevel


def _first_best(value: Floats, usd: Floats) -> int:
    """Index of the highest value; of equal ones the cheapest, then the first."""
    ties = np.flatnonzero(value >= value.max() - TINY)
    return int(ties[np.argmin(usd[ties])])


# Choosing and cross-fitting


def choose_policy(table: CandidateTable, aim: Aim, partitions: int = PARTITIONS) -> int:
    """Index of the policy that ``aim`` takes, of the kind that cross-fits best."""
    among = [np.flatnonzero(table.kind <= kind) for kind in np.unique(table.kind)]
    best, measured = among[0], None
    for nested in among if len(among) > 1 else ():
        fitted = _cross_fit(table, aim, partitions, functools.partial(aim.pick, among=nested))
        if measured is None or aim.better(fitted, measured):
            best, measured = nested, fitted
    return aim.pick(table, best)


def cross_fitted(table: CandidateTable, aim: Aim) -> CrossFitted:
    """What ``choose_policy`` is worth on items that it does not see: nested cross-validation."""
    return _cross_fit(
        table, aim, OUTER_PARTITIONS, lambda train: choose_policy(train, aim, INNER_PARTITIONS)
    )


def _cross_fit(
    table: CandidateTable, aim: Aim, partitions: int, pick: Callable[[CandidateTable], int]
) -> CrossFitted:
    """Each item's measures under what ``pick`` takes without it, as a mean over ``partitions``."""
    score, usd = np.zeros((2, table.n_items))
    for train, held_out in _folds(table.n_items, partitions):
        chosen = pick(table.rows(train))
        score[held_out] += table.score[chosen, held_out] / partitions
        usd[held_out] += table.usd[chosen, held_out] / partitions
    return CrossFitted(score, usd, aim.reference(table))


def _folds(n_items: int, partitions: int) -> Iterator[tuple[Indices, Indices]]:
    """(rows to choose on, rows to score on) of each fold of each partition."""
    for number in range(partitions):
        shuffled = np.random.default_rng([n_items, number]).permutation(n_items)
        for fold in range(min(VALIDATION_FOLDS, n_items)):
            yield (
                np.delete(shuffled, np.s_[fold::VALIDATION_FOLDS]),
                shuffled[fold::VALIDATION_FOLDS],
            )


# Operating points


def select_points(
    candidates: Sequence[Candidate],
    wanted: str | Mapping[str, float],
    *,
    margin: float,
    strong: Policy | None = None,
    only: str | None = None,
) -> dict[str, PointChoice]:
    """Operating point -> what is taken there.

    economy: the cheapest that is level with the baseline. balanced: the highest score less
    ``SCORE_PER_DOUBLING`` a doubling of dollars, which does not depend on what a dollar is worth.
    quality: the highest score. level: the cheapest that is level with ``strong``.

    Args:
        candidates: what may be taken, on the same items; the baseline first.
        wanted: the job's point; a bound of its own becomes ``BOUNDED``.
        margin: score that an equal policy may be short of.
        strong: with escalation targets, the strongest one's prompt at one sample.
        only: name of the one point that is wanted; None: all of them.
    """
    table = CandidateTable.of(candidates)
    aims: dict[str, Aim] = {
        "economy": CheapestLevel(margin, other=0),
        "balanced": Utility(SCORE_PER_DOUBLING),
        "quality": Utility(),
    }
    if not isinstance(wanted, str):
        aims[BOUNDED] = _bounded(wanted, margin)
    if strong is not None:
        at = next(i for i, c in enumerate(candidates) if c.policy == strong)
        aims[LEVEL] = CheapestLevel(margin, other=at)
    return {
        point: PointChoice(candidates[choose_policy(table, aim)], cross_fitted(table, aim))
        for point, aim in aims.items()
        if only in (None, point)
    }


def _bounded(bound: Mapping[str, float], margin: float) -> Aim:
    """The aim of ``max_usd_per_item``, ``min_score`` or ``usd_per_point``."""
    ((name, value),) = bound.items()
    if name == "max_usd_per_item":
        return Utility(max_usd=value)
    if name == "min_score":
        return CheapestLevel(margin, least=value)
    return Utility(0.0, usd_weight=1 / (100 * value))


def out_of_reach(choice: PointChoice, wanted: str | Mapping[str, float]) -> str:
    """What is said where the job's own bound is not reached: what was taken is the nearest."""
    if isinstance(wanted, str):
        return ""
    ((name, value),) = wanted.items()
    got = choice.candidate.evaluation
    if name == "max_usd_per_item" and got.mean_usd > value:
        return (
            f"max_usd_per_item ${value:g} is out of reach: the cheapest policy that was found "
            "costs "
            f"${got.mean_usd:.3g} an item on validation items"
        )
    if name == "min_score" and got.mean_score < value:
        return (
            f"min_score {value:g} is out of reach: the best policy that was found scores "
            f"{float(choice.evidence.score.mean()):.3f} on validation items that it was not "
            "chosen on"
        )
    return ""


def price_aim(wanted: str | Mapping[str, float]) -> Utility:
    """What a gain of score may cost under a job's operating point: the compute gate goes by it."""
    if isinstance(wanted, str):
        return Utility() if wanted == "quality" else Utility(SCORE_PER_DOUBLING)
    if "usd_per_point" in wanted:
        return Utility(0.0, usd_weight=1 / (100 * wanted["usd_per_point"]))
    return Utility(max_usd=wanted.get("max_usd_per_item", math.inf))


def balanced_utility(score: float, usd: float) -> float:
    """What the balanced point maximises."""
    return score - SCORE_PER_DOUBLING * math.log2(max(usd, 1e-30))
