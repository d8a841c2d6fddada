"""Exact allocation of a budget over difficulty buckets (Damani et al., arXiv 2410.04707).

Given a signal and its cuts, the buckets' score-cost fronts over a grid of recipes are merged by a
Minkowski sum with dominance pruning: exact at any budget, off the convex hull too. Its fronts warm
start the study, and say how far a study without them is from what the grid allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal_of
from tierwise.evaluation import Evaluator
from tierwise.schema import Difficulty, Policy, Probe, Recipe, Variant
from tierwise.schema.result import Proposal
from tierwise.search.space import Dimensions, in_order, policy_of, recipe_grid
from tierwise.stats.intervals import Floats
from tierwise.stats.pareto import minkowski_front, pareto_front


@dataclass(frozen=True)
class Allocation:
    """Proposals on the front of all allocations, cheapest first, with what they score and cost.

    ``simple``: the policies of one bucket on the grid that are nearest to the front.
    """

    proposals: tuple[Proposal, ...]
    score: Floats
    usd: Floats
    simple: tuple[Policy, ...] = ()

    def utility(self, usd_weight: float) -> float:
        """The best of score - usd_weight * usd on the front."""
        return float((self.score - usd_weight * self.usd).max())

    def spread(self, n: int) -> list[Proposal]:
        """About ``n`` proposals along the front, its ends among them."""
        if len(self.proposals) <= n:
            return list(self.proposals)
        at = np.unique(np.rint(np.linspace(0, len(self.proposals) - 1, n)).astype(int))
        return [self.proposals[i] for i in at]


def allocate(
    evaluator: Evaluator, dimensions: Dimensions, *, probe_variants: int = 2, max_points: int = 400
) -> Allocation:
    """The front of all allocations over the space's signals, buckets and a grid of recipe_grid."""
    grid = recipe_grid(dimensions, steps=3)
    judged = {recipe: evaluator.evaluate(Policy((recipe,))) for recipe in grid}
    grid = [recipe for recipe, e in judged.items() if not np.isnan(e.score).any()]
    uniform = [judged[recipe] for recipe in grid]
    score = np.array([e.score for e in uniform])
    usd = np.array([e.usd for e in uniform])
    found: list[tuple[Proposal, float, float]] = []
    means = score.mean(axis=1), usd.mean(axis=1)
    for i in pareto_front(*means):
        found.append((Proposal(Difficulty(), (), (grid[i],)), means[0][i], means[1][i]))
    probes = _probes(dimensions, grid, *means, probe_variants)
    # A probe makes some recipes expensive and some pointless: only those near the front are tried.
    near = _near_front(means, 60)
    told: set[Difficulty] = set()  # of few values of a signal, several shares are one cut
    for difficulty, shares in _difficulties(dimensions, probes):
        proposal = Proposal(difficulty, shares, tuple(grid[:1] * (len(shares) + 1)))
        cut = policy_of(proposal, evaluator)
        if cut is None or cut.difficulty in told:
            continue
        told.add(cut.difficulty)
        bucket = evaluator.bucket_rows(cut.difficulty)
        if difficulty.probe is None:
            members = bucket[:: evaluator.permutations.n]
            candidates, s, u = grid, score, usd
        else:
            members, candidates = bucket, [grid[i] for i in near]
            s, u = _probed(evaluator, candidates, difficulty)
        found += _merge(difficulty, shares, members, candidates, s, u, max_points)
    on = pareto_front([f[1] for f in found], [f[2] for f in found])
    return Allocation(
        tuple(found[i][0] for i in on),
        np.array([found[i][1] for i in on]),
        np.array([found[i][2] for i in on]),
        tuple(Policy((grid[i],)) for i in near),
    )


def _merge(
    difficulty: Difficulty,
    shares: tuple[float, ...],
    members: npt.NDArray[np.intp],
    candidates: Sequence[Recipe],
    score: Floats,
    usd: Floats,
    max_points: int,
) -> list[tuple[Proposal, float, float]]:
    components, weights = [], []
    for b in range(len(shares) + 1):
        mine = (members == b).astype(np.float64)
        weights.append(float(mine.mean()))
        components.append((score @ mine / mine.sum(), usd @ mine / mine.sum()))
    merged = minkowski_front(components, weights, max_points=max_points)
    return [
        (Proposal(difficulty, shares, tuple(candidates[c] for c in choice)), float(s), float(u))
        for choice, s, u in zip(merged.choices, merged.scores, merged.costs, strict=True)
    ]


def _probed(
    evaluator: Evaluator, candidates: Sequence[Recipe], difficulty: Difficulty
) -> tuple[Floats, Floats]:
    """(n_candidates, n_rows) scores and dollars after the probe, which is on the bill."""
    rows = [evaluator.rows(Policy((recipe,), difficulty)) for recipe in candidates]
    return np.array([r.score for r in rows]), np.array([r.usd for r in rows])


PAIRED = 4
"""Variants with the best scores, whose pairs are tried as probes."""

CUTS: Mapping[int, tuple[tuple[float, ...], ...]] = {
    2: ((0.35,), (0.5,), (0.65,)),
    3: ((0.35, 0.7), (0.5, 0.8)),
    4: ((0.25, 0.5, 0.75),),
    5: ((0.2, 0.4, 0.6, 0.8),),
}
"""Buckets -> where they are cut: shares of the items from the easiest on. Others: evenly."""


def _difficulties(
    dimensions: Dimensions, probes: Sequence[Probe]
) -> Iterator[tuple[Difficulty, tuple[float, ...]]]:
    cuts = [
        cut
        for n in dimensions.space.buckets
        if n > 1
        for cut in CUTS.get(n, (tuple(b / n for b in range(1, n)),))
    ]
    for kind in dimensions.signals:
        for way in dimensions.ways(kind):
            searched = signal_of(way).probes and way.probe is None
            probed = [replace(way, probe=probe) for probe in probes] if searched else [way]
            yield from itertools.product(probed, cuts)


def _probes(
    dimensions: Dimensions, grid: Sequence[Recipe], score: Floats, usd: Floats, n: int
) -> list[Probe]:
    """Of the ``n`` cheapest variants; where the space has them, pairs of the best and cheapest."""
    alone = [
        i for i, r in enumerate(grid) if len(r.variants) == 1 and r.variants[0] in dimensions.own
    ]
    cost: dict[Variant, float] = {}
    best: dict[Variant, float] = {}
    for i in alone:
        (variant,) = grid[i].variants
        cost[variant] = min(cost.get(variant, np.inf), float(usd[i]))
        best[variant] = max(best.get(variant, -np.inf), float(score[i]))
    cheapest = sorted(cost, key=lambda variant: cost[variant])[:n]
    wanted = dimensions.space.probe_samples
    counts = sorted({int(wanted.low), int(wanted.high)})
    probes = []
    if 1 in dimensions.space.probe_variants:
        probes += [Probe((variant,), k) for variant in cheapest for k in counts]
    if 2 in dimensions.space.probe_variants:
        leading = sorted(best, key=lambda variant: -best[variant])[:PAIRED]
        pairs = dict.fromkeys(itertools.combinations(in_order([*leading, *cheapest]), 2))
        probes += [Probe(pair, max(2, counts[0])) for pair in pairs]
    return probes


def _near_front(means: tuple[Floats, Floats], n: int) -> list[int]:
    score, usd = means
    left = np.arange(len(score))
    near: list[int] = []
    while len(left) and len(near) < n:
        on = left[pareto_front(score[left], usd[left])]
        near += on.tolist()
        left = np.setdiff1d(left, on)
    return near[:n]
