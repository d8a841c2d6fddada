"""Racing of variants: few items, five samples or more, and envelopes over strategies.

At one sample the ranks of prompts are not those under a vote, so a variant is judged by all that
the strategies can make of its samples. It is dropped only where, on all items and on the shorter
and the longer half of them, every one of its points is dominated by some other variant, at a level
that is split over the pairs of variants; a variant that is only good for hard items stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import Evaluator, SampleTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.search.problem import TierProblem
from tierwise.search.signals import watched
from tierwise.search.space import SINGLE, strategy_grid

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Envelope:
    """What the strategies make of each variant's samples, on the same items.

    Attributes:
        variant: (n_points,) index of the point's variant.
        score, usd: (n_points, n_items).
        strata: masks of items: all, and the shorter and the longer half.
    """

    variants: tuple[Variant, ...]
    variant: npt.NDArray[np.intp]
    score: Floats
    usd: Floats
    strata: tuple[Mask, ...]


def kept(
    problem: TierProblem, table: SampleTable, variants: Sequence[Variant], n: int
) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants whose envelopes over strategies are not dominated."""
    n_samples = min(rows.n_samples for rows in table.variants.values())
    dims = problem.dimensions(tuple(variants), n_samples)
    ways = [SINGLE, *strategy_grid(dims, n_samples, steps=3)]
    points = envelope(problem.evaluator(table), variants, list(dict.fromkeys(ways)))
    always = (problem.variants.baseline, *watched(problem.ready_signals))
    return most_useful(points, survivors(points), n, always=always)


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
        tuple(variants), np.array(owner), np.array(score), np.array(usd), (everything, *halves)
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
    """(n_variants,): each of the variant's points is surely beaten by a point of another variant."""
    score, usd = points.score[:, mask], points.usd[:, mask]
    beaten = _surely_above(score, z) & _surely_above(-usd, 0.0)  # [a, b]: a beats b
    own = points.variant[:, None] == points.variant[None, :]
    hit = (beaten & ~own).any(axis=0)
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
    points: Envelope, among: Sequence[Variant], keep: int, *, always: Sequence[Variant] = ()
) -> tuple[Variant, ...]:
    """At most ``keep`` variants that together give the best utility over prices and strata.

    Greedy: each step adds the variant that raises the envelope most, averaged over prices of a
    point from "dollars do not matter" to "dollars decide". ``always`` come first.
    """
    index = {variant: i for i, variant in enumerate(points.variants)}
    utility = _utilities(points)
    chosen = [index[variant] for variant in always]
    best = utility[chosen].max(axis=0) if chosen else np.full(utility.shape[1], -np.inf)
    rest = [index[variant] for variant in among if variant not in always]
    while rest and len(chosen) < keep:
        gains = [float(np.maximum(utility[i], best).mean()) for i in rest]
        winner = rest.pop(int(np.argmax(gains)))
        chosen.append(winner)
        best = np.maximum(best, utility[winner])
    return tuple(points.variants[i] for i in sorted(chosen))


def _utilities(points: Envelope) -> Floats:
    """(n_variants, n_strata * n_prices): the best that each variant reaches."""
    rows = []
    for mask in points.strata:
        score, usd = points.score[:, mask].mean(axis=1), points.usd[:, mask].mean(axis=1)
        for price in np.geomspace(0.002, 1.0, 8) / (float(np.median(usd)) or 1.0):
            value = score - price * usd
            rows.append([value[points.variant == i].max() for i in range(len(points.variants))])
    return np.array(rows).T
