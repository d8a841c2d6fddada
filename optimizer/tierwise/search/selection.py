"""Which policy is taken at each operating point, and its worth on items it was not chosen on.

A policy is chosen by its estimated utility on all validation items; no significance is asked of a
handful of them. Two things would flatter such a choice, and cross-fitting (choose on k - 1 folds of
the items, score on the k-th, repeat over partitions) measures both:

- *Complexity.* Buckets and cascades have more settings than a vote, a vote has more than a single
  sample, so the best of them overfits more. Kinds are nested sets of candidates; a larger set is
  chosen from where its cross-fitted gain is more than a prior expects of it (``PRIOR``). The search
  proposes buckets by what was good on these same items, which cross-fitting among candidates cannot
  see. So buckets are proposed once more without each fold, to be scored on it (``out_of_fold``).
- *Selection.* The mean of the best of many is biased upward (winner's curse), and the cheapest of
  many that seem level is mostly one that only seems so: how strictly it is to be level is chosen
  by cross-fitting, too. What is reported is the cross-fitted mean of the whole procedure, the
  choice of the kind included (nested cross-validation; Cawley and Talbot, JMLR 2010).

Partitions depend on the number of items alone, not on a seed: the same samples give the same
choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import Evaluation, Evaluator
from tierwise.schema import LEVEL, Policy
from tierwise.stats.comparisons import reach_of
from tierwise.stats.intervals import Floats, Interval, student_cdf, student_quantile
from tierwise.stats.pareto import Indices
from tierwise.strategies import build

KINDS = ("one sample", "one variant", "several variants", "cascade", "two buckets", "more buckets")
"""Of policies, from the simplest: a sample of one variant, a strategy over one, a strategy over
several, stages of variants, difficulty buckets."""

BUCKETED = 4
"""Kinds from this on are proposed by a search over cuts and recipes of every bucket at once."""

SCORE_PER_DOUBLING = 0.01
"""Score that a policy must gain for costing twice as much, at the balanced point."""

TIE_PER_DOUBLING = 0.001
"""The same at the quality point: of two policies that are as good the cheaper one is taken."""

SHORTFALL = 1 / 3
"""Expected shortfall that a policy called level may have, as a share of the margin."""

STRICTNESS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Parts of that shortfall that candidates may be held to, so that the cheapest of them has the
whole of it on other items: cross-fitting says which."""

PRIOR = 0.04
"""Variance over mean loss of the gains of a more complex kind, as they are before any item: a loss
of one point, give or take two. By Bayes' rule for normals what is left of a measured gain is above
0 where the gain exceeds its variance over this."""

SURE, SURE_OF_BUCKETS = 0.7, 1.0
"""Standard errors of a gain that outweigh the prior, which is of usual tasks: votes that gain
thirty points on thirty items would not be believed otherwise. Cuts that fit few items by chance
gain more than votes do."""

OPTIMISM = 0.5
"""Standard errors by which cross-fitting among policies that were proposed on the same items still
flatters a kind; they matter more than the prior where items are many."""

PSEUDO_ITEMS = 4
"""Items that take part in a gain's variance, with a gain of a whole point either way: a few items
that differ little do not show that the means do."""

VALIDATION_FOLDS = 5
PARTITIONS = 8
"""Partitions into folds that a kind is chosen by."""

OUTER_PARTITIONS, INNER_PARTITIONS = 4, 2
"""The same of the cross-fitted evidence: of all items, and of the items of each choice in it."""

TINY = 1e-12


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
    if len(policy.buckets) > 1:
        return BUCKETED + (len(policy.buckets) > 2)
    if strategy.kind == "cascade":
        return BUCKETED - 1
    if len(policy.buckets[0].variants) > 1:
        return 2
    return int(build(strategy).max_samples > 1)


class Means(NamedTuple):
    """Of each policy on the same items; (n_policies,) each.

    Attributes:
        gap, square: of the score less that of the aim's reference, and of its square.
        n: items.
    """

    score: Floats
    usd: Floats
    gap: Floats
    square: Floats
    n: int


EVERYWHERE, NOWHERE = -1, -2
"""In place of a fold: proposed on all items; not to be chosen."""


@dataclass(frozen=True)
class CandidateTable:
    """Policies on the same items.

    Attributes:
        score, usd: (n_policies, n_items).
        kind: (n_policies,) index into ``KINDS``.
        without: (n_policies,) the fold of the first partition that a policy was proposed without,
            to stand for its kind where that is cross-fitted; ``EVERYWHERE`` for what may be taken.
    """

    score: Floats
    usd: Floats
    kind: Indices
    without: Indices

    @classmethod
    def of(
        cls, candidates: Sequence[Candidate], out_of_fold: Sequence[Sequence[Candidate]] = ()
    ) -> CandidateTable:
        """The table of ``candidates``, in their order, and behind them what was proposed without
        each fold."""
        folds = [(EVERYWHERE, candidates), *enumerate(out_of_fold)]
        rows = [(fold, c) for fold, some in folds for c in some]
        return cls(
            np.array([c.evaluation.score for _, c in rows]),
            np.array([c.evaluation.usd for _, c in rows]),
            np.array([complexity(c.policy) for _, c in rows]),
            np.array([fold for fold, _ in rows]),
        )

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.score.shape[1])

    @property
    def has_out_of_fold(self) -> bool:
        """Whether there are policies that were proposed without a fold."""
        return bool((self.without >= 0).any())

    def known_to(self, fold: int) -> npt.NDArray[np.bool_]:
        """(n_policies,): what could have been chosen without the fold; policies that were proposed
        out of fold, where there are some, are in place of others of their kinds."""
        here = self.without == EVERYWHERE
        if fold == EVERYWHERE or not self.has_out_of_fold:
            return np.asarray(here)
        return np.asarray((here & (self.kind < BUCKETED)) | (self.without == fold))

    def on(self, keep: Indices, fold: int) -> CandidateTable:
        """What could have been chosen without the fold, on some of the items; same indices."""
        without = np.where(self.known_to(fold), EVERYWHERE, NOWHERE)
        return CandidateTable(self.score[:, keep], self.usd[:, keep], self.kind, without)

    def means(self, reference: Floats, parts: Sequence[Indices]) -> list[Means]:
        """The means over each of ``parts`` of the items; ``reference`` is (n_items,)."""
        weights = np.zeros((self.n_items, len(parts)))
        for j, part in enumerate(parts):
            weights[part, j] = 1 / len(part)
        gap = self.score - reference
        score, usd, mean, square = (of @ weights for of in (self.score, self.usd, gap, gap**2))
        return [
            Means(score[:, j], usd[:, j], mean[:, j], square[:, j], len(part))
            for j, part in enumerate(parts)
        ]


# Aims: what an operating point maximises


@dataclass(frozen=True)
class Utility:
    """The highest mean score, less ``a_doubling`` for each doubling of dollars and ``usd_weight``
    for each dollar, among policies of at most ``max_usd`` an item."""

    a_doubling: float = TIE_PER_DOUBLING
    usd_weight: float = 0.0
    max_usd: float = math.inf

    @property
    def degrees(self) -> tuple[Utility, ...]:
        """How strictly it may be followed: in one way."""
        return (self,)

    def pick(self, means: Means, among: Indices) -> int:
        """Index of the best policy; the cheapest where none keeps to ``max_usd``."""
        score, usd = means.score[among], means.usd[among]
        allowed = usd <= self.max_usd
        value = np.where(allowed, self.value(score, usd), -np.inf) if allowed.any() else -usd
        return int(among[_first_best(value, usd)])

    def reference(self, table: CandidateTable) -> Floats:
        """Nothing that it may not fall short of."""
        return np.zeros(table.n_items)

    def better(self, more: CrossFitted, simpler: CrossFitted, kind: int) -> bool:
        """Whether a more complex kind is worth choosing from: its expected gain is above 0."""
        gain = self.gain(more, simpler)
        mean, n = float(gain.mean()), len(gain)
        variance = (float((gain**2).sum()) + PSEUDO_ITEMS) / (n + PSEUDO_ITEMS) - mean**2
        error = math.sqrt(max(variance, 0.0) / n)
        sure = SURE if kind < BUCKETED else SURE_OF_BUCKETS
        return mean > error * max(OPTIMISM, min(error / PRIOR, sure)) + TINY

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
        strictness: part of ``SHORTFALL`` that is allowed.
    """

    margin: float
    other: int | None = None
    least: float = 0.0
    strictness: float = 1.0

    @property
    def degrees(self) -> tuple[CheapestLevel, ...]:
        """How strictly it may be followed, most strictly first."""
        if self.other is None:
            return (self,)
        return tuple(replace(self, strictness=part) for part in STRICTNESS)

    def pick(self, means: Means, among: Indices) -> int:
        """Index of the cheapest level policy."""
        score, usd = means.score[among], means.usd[among]
        level = self._level(means.gap[among], means.square[among], means.n)
        level |= among == self.other
        value = np.where(level, -usd, -np.inf) if level.any() else score
        return int(among[_first_best(value, usd)])

    def reference(self, table: CandidateTable) -> Floats:
        """(n_items,): the score of the reference."""
        if self.other is None:
            return np.full(table.n_items, self.least)
        return np.asarray(table.score[self.other])

    def better(self, more: CrossFitted, simpler: CrossFitted, kind: int) -> bool:
        """Whether a more complex kind is worth choosing from: level, and cheaper."""
        gaps = np.array([f.score - f.reference for f in (more, simpler)])
        mean = gaps.mean(axis=1)
        level, simpler_level = self._level(mean, (gaps**2).mean(axis=1), gaps.shape[1])
        if not level or not simpler_level:
            return bool(level and not simpler_level) or (
                not level and float(mean[0]) > float(mean[1]) + TINY
            )
        return float(more.usd.mean()) < float(simpler.usd.mean()) * (1 - 1e-9)

    def _level(self, gap: Floats, square: Floats, n: int) -> npt.NDArray[np.bool_]:
        """(n_policies,): of the means over ``n`` items of gaps and of their squares."""
        if self.other is None:  # a score is reached, or it is not: its error favours neither
            return np.asarray(gap >= 0)
        return expected_shortfall(gap, square, n) <= SHORTFALL * self.margin * self.strictness


def expected_shortfall(mean: Floats, square: Floats, n: int) -> Floats:
    """(n_policies,): E[max(-m, 0)] of the true mean m of gaps whose mean over ``n`` items is
    ``mean``, that of their squares ``square``.

    m is normal around ``mean``. One pseudo-item of half a point either way: a few items that all
    agree do not show that the means are equal.
    """
    square = (square * n + 0.25) / (n + 1)
    error = np.sqrt(np.maximum(square - mean**2, 0.25 / (n + 1)) / n)
    z = mean / error
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([math.erfc(v) / 2 for v in (z / math.sqrt(2)).tolist()])
    return np.asarray(error * (density - z * below))


Aim = Utility | CheapestLevel


def _first_best(value: Floats, usd: Floats) -> int:
    """Index of the highest value; of equal ones the cheapest, then the first."""
    ties = np.flatnonzero(value >= value.max() - TINY)
    return int(ties[np.argmin(usd[ties])])


# Choosing and cross-fitting


class Fold(NamedTuple):
    """Rows to choose on and to score on; its number in the first partition, else ``EVERYWHERE``."""

    train: Indices
    held_out: Indices
    number: int


def folds_of(n_items: int, partitions: int = 1) -> Iterator[Fold]:
    """The folds of each partition."""
    for partition in range(partitions):
        shuffled = np.random.default_rng([n_items, partition]).permutation(n_items)
        for i in range(min(VALIDATION_FOLDS, n_items)):
            held_out = np.s_[i::VALIDATION_FOLDS]
            number = EVERYWHERE if partition else i
            yield Fold(np.delete(shuffled, held_out), shuffled[held_out], number)


def choose_policy(table: CandidateTable, aim: Aim, partitions: int = PARTITIONS) -> int:
    """Index of the policy that ``aim`` takes, of the kind and as strictly as cross-fits best."""
    known = table.known_to(EVERYWHERE)
    # A cascade is as complex as two buckets.
    kinds = np.unique(np.where(table.kind == BUCKETED - 1, BUCKETED, table.kind)[known])
    ways = [(kind, way) for kind in kinds for way in aim.degrees]
    (kind, way), measured = ways[0], None
    if len(ways) > 1:
        fits = _Fits(table, aim, partitions)
        for one in ways:
            fitted = fits.of(*one)
            if measured is None or aim.better(fitted, measured, one[0]):
                (kind, way), measured = one, fitted
    (whole,) = table.means(aim.reference(table), [np.arange(table.n_items)])
    return way.pick(whole, np.flatnonzero(known & (table.kind <= kind)))


class _Fits:
    """What ways to choose are worth on items that they do not see."""

    def __init__(self, table: CandidateTable, aim: Aim, partitions: int) -> None:
        self.table, self.reference = table, aim.reference(table)
        self.folds = list(folds_of(table.n_items, partitions))
        self.means = table.means(self.reference, [fold.train for fold in self.folds])

    def of(self, kind: int, way: Aim) -> CrossFitted:
        """Of choosing in the way ``way`` among policies up to ``kind``.

        What was proposed on all items flatters its kind, what was proposed without the fold is
        coarser and from fewer items: where there is such, the mean of both counts as utility. That
        a policy is level is to be shown by the latter alone.
        """
        if kind < BUCKETED or not self.table.has_out_of_fold:
            return self._among(kind, way, out_of_fold=False)
        other = self._among(kind, way, out_of_fold=True)
        if isinstance(way, CheapestLevel):
            return other
        fitted = self._among(kind, way, out_of_fold=False)
        return CrossFitted(
            (fitted.score + other.score) / 2, (fitted.usd + other.usd) / 2, self.reference
        )

    def _among(self, kind: int, way: Aim, *, out_of_fold: bool) -> CrossFitted:
        picked = []
        for fold, means in zip(self.folds, self.means, strict=True):
            if out_of_fold and fold.number == EVERYWHERE:
                continue
            known = self.table.known_to(fold.number if out_of_fold else EVERYWHERE)
            among = np.flatnonzero(known & (self.table.kind <= kind))
            picked.append((fold, way.pick(means, among)))
        return _fitted(self.table, picked, self.reference)


def cross_fitted(table: CandidateTable, aim: Aim) -> CrossFitted:
    """What ``choose_policy`` is worth on items that it does not see: nested cross-validation."""
    partitions = 1 if table.has_out_of_fold else OUTER_PARTITIONS
    picked = [
        (fold, choose_policy(table.on(fold.train, fold.number), aim, INNER_PARTITIONS))
        for fold in folds_of(table.n_items, partitions)
    ]
    return _fitted(table, picked, aim.reference(table))


def _fitted(
    table: CandidateTable, picked: Sequence[tuple[Fold, int]], reference: Floats
) -> CrossFitted:
    """Each item's measures under what was picked without it, as a mean over partitions."""
    score, usd, times = np.zeros((3, table.n_items))
    for (_, held_out, _), chosen in picked:
        score[held_out] += table.score[chosen, held_out]
        usd[held_out] += table.usd[chosen, held_out]
        times[held_out] += 1
    return CrossFitted(score / times, usd / times, reference)


# Operating points


def select_points(
    candidates: Sequence[Candidate],
    wanted: str | Mapping[str, float],
    *,
    margin: float,
    strong: Policy | None = None,
    only: str | None = None,
    out_of_fold: Sequence[Sequence[Candidate]] = (),
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
        out_of_fold: what was proposed without each fold of ``folds_of``.
    """
    table = CandidateTable.of(candidates, out_of_fold)
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
            f"costs ${got.mean_usd:.3g} an item on validation items"
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


BOUNDED = "bounded"
"""Name of the operating point that a job's own bound makes."""


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
