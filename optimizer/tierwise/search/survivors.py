"""Which variants go on: envelopes over strategies, at the job's price, with what more samples may bring.

At one sample the ranks of prompts are not those under a vote, so a variant is judged by all that
the strategies can make of its samples, and beyond them by the optimistic end of its vote curve
(``curves``). It is dropped only where, on all items and on the shorter and the longer half of them,
every one of its points is dominated by some other variant, at a level that is split over the pairs of
variants; a variant that is only good for hard items stays. Of those, the most useful go on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import Evaluator, SampleTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.space import SearchSpace
from tierwise.search.curves import curve_points
from tierwise.search.problem import TierProblem
from tierwise.search.selection import Utility, price_aim
from tierwise.search.signals import watched
from tierwise.search.space import SINGLE, strategy_grid
from tierwise.stats.intervals import Floats

Mask = npt.NDArray[np.bool_]

BY_UTILITY = 2 / 3
"""Of the variants that go on, those that are taken by their own utility."""

PRICES = (1.0, 4.0)
"""Times the job's price of a doubling, at which a variant may be useful: what is cheap serves the
easy requests of a policy that is costlier elsewhere."""


def kept(
    problem: TierProblem, table: SampleTable, variants: Sequence[Variant], n: int
) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants whose envelopes over strategies are not dominated."""
    dims = problem.dimensions(table, variants)
    ways = [SINGLE, *strategy_grid(dims, max(dims.depths.values()), steps=3)]
    points = envelope(problem.evaluator(table), variants, list(dict.fromkeys(ways)))
    points = extended(points, problem, table)
    always = (problem.variants.baseline, *watched(problem.ready_signals))
    aim = price_aim(problem.operating_point)
    return most_useful(points, survivors(points), n, aim, always=always)


def verifiers_of(space: SearchSpace) -> list[str]:
    """Scores by which best-of-n of ``space`` ranks."""
    names = space.strategies.get("best_of_n", {}).get("verifier", ())
    return [name for name in names if isinstance(name, str)] if isinstance(names, tuple) else []


def extended(points: Envelope, problem: TierProblem, table: SampleTable) -> Envelope:
    """``points`` with those that more samples of each variant may come to, optimistically.

    What a vote gains is the same on all items: where it would is not known.
    """
    names = verifiers_of(problem.space)
    single = Evaluator(table, problem.permutations)
    owner, score, usd = list(points.variant), list(points.score), list(points.usd)
    for i, variant in enumerate(points.variants):
        one = single.evaluate(uniform(variant, SINGLE))
        for gain, ratio in curve_points(table.of(variant), problem.space, names):
            owner.append(i)
            score.append(one.score + gain)
            usd.append(one.usd * ratio)
    return replace(points, variant=np.array(owner), score=np.array(score), usd=np.array(usd))


@dataclass(frozen=True)
class Envelope:
    """What the strategies make of each variant's samples, on the same items.

    Attributes:
        variant: (n_points,) index of the point's variant.
        score, usd: (n_points, n_items).
        strata: masks of items: all, and the shorter and the longer half.
        seen: points that samples show; the last ones may be hopes, which beat nobody.
    """

    variants: tuple[Variant, ...]
    variant: npt.NDArray[np.intp]
    score: Floats
    usd: Floats
    strata: tuple[Mask, ...]
    seen: int


def envelope(
    evaluator: Evaluator, variants: Sequence[Variant], strategies: Sequence[StrategySpec]
) -> Envelope:
    """Every variant under every strategy, but for points that the samples do not support."""
    owner, score, usd = [], [], []
    for i, variant in enumerate(variants):
        for strategy in strategies:
            judged = evaluator.evaluate(uniform(variant, strategy))
            if not np.isnan(judged.score).any():
                owner.append(i)
                score.append(judged.score)
                usd.append(judged.usd)
    length = signal("length")
    lengths = np.array([length.value(inputs, ()) for inputs in evaluator.table.inputs])
    everything = np.ones(len(lengths), dtype=np.bool_)
    short = lengths >= np.median(lengths)
    halves = [half for half in (short, ~short) if half.sum() >= 8]
    return Envelope(
        tuple(variants),
        np.array(owner),
        np.array(score),
        np.array(usd),
        (everything, *halves),
        len(owner),
    )


def survivors(points: Envelope, *, alpha: float = 0.05) -> tuple[Variant, ...]:
    """Variants that are not dominated in every stratum; ``alpha`` is split over pairs of variants.

    Not over the strata: a variant must lose in all of them to go.
    """
    pairs = len(points.variants) * max(len(points.variants) - 1, 1)
    z = NormalDist().inv_cdf(1 - alpha / pairs)
    dropped = np.logical_and.reduce([_dominated(points, mask, z) for mask in points.strata])
    return tuple(variant for variant, out in zip(points.variants, dropped, strict=True) if not out)


def _dominated(points: Envelope, mask: Mask, z: float) -> Mask:
    """(n_variants,): each of the variant's points is surely beaten by one of another variant."""
    score, usd = points.score[:, mask], points.usd[:, mask]
    beaten = _surely_above(score, z) & _surely_above(-usd, 0.0)  # [a, b]: a beats b
    own = points.variant[:, None] == points.variant[None, :]
    hit = (beaten & ~own)[: points.seen].any(axis=0)
    return np.array([hit[points.variant == i].all() for i in range(len(points.variants))])


def _surely_above(values: Floats, z: float) -> Mask:
    """[a, b]: the paired mean of a - b less ``z`` standard errors is at least 0 (above, if z)."""
    n = values.shape[1]
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    cov = centred @ centred.T / max(n - 1, 1)
    variance = np.diag(cov)[:, None] + np.diag(cov)[None, :] - 2 * cov
    # One pseudo-item of difference: variants that agreed on few items are not known to be equal.
    error = np.sqrt(np.maximum(variance, 1.0 / n) / n) if z else 0.0
    difference = mean[:, None] - mean[None, :] - z * error
    above: Mask = difference > 0 if z else difference >= 0
    return above


def most_useful(
    points: Envelope,
    among: Sequence[Variant],
    keep: int,
    aim: Utility,
    *,
    always: Sequence[Variant] = (),
) -> tuple[Variant, ...]:
    """At most ``keep`` variants, the most useful first; ``always`` before them.

    Two thirds are those of the highest utility by ``aim``, near ties among them: which of these is
    better is what the next iteration is for. The others raise together the best utility over the strata
    and prices most, greedily: a variant that is good for hard items alone, or cheap.
    """
    index = {variant: i for i, variant in enumerate(points.variants)}
    utility = _utilities(points, aim)
    chosen = [index[variant] for variant in always]
    rest = [index[variant] for variant in among if variant not in always]
    seen = replace(
        points,
        variant=points.variant[: points.seen],
        score=points.score[: points.seen],
        usd=points.usd[: points.seen],
    )
    own = (utility[:, 0] + _utilities(seen, aim)[:, 0]) / 2  # what is hoped for, and what was seen
    by_own = sorted(rest, key=lambda i: (-own[i], i))
    chosen += by_own[: math.ceil(BY_UTILITY * max(keep - len(chosen), 0))]
    rest = [i for i in rest if i not in chosen]
    best = utility[chosen].max(axis=0) if chosen else np.full(utility.shape[1], -np.inf)
    while rest and len(chosen) < keep:
        gains = [float(np.maximum(utility[i], best).mean()) for i in rest]
        winner = rest.pop(int(np.argmax(gains)))
        chosen.append(winner)
        best = np.maximum(best, utility[winner])
    return tuple(points.variants[i] for i in chosen)


def _utilities(points: Envelope, aim: Utility) -> Floats:
    """(n_variants, n_strata * n_prices): the best that each variant reaches."""
    rows = []
    for mask in points.strata:
        score, usd = points.score[:, mask].mean(axis=1), points.usd[:, mask].mean(axis=1)
        for times in PRICES:
            value = aim.at_price(times).value(score, usd)
            rows.append([value[points.variant == i].max() for i in range(len(points.variants))])
    return np.array(rows).T
