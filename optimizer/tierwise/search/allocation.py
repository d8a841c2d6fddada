"""Policies that are listed from a study's samples, not sampled: exact allocations and cascades.

Allocation of a budget over difficulty buckets (Damani et al., arXiv 2410.04707): given a signal and
its cuts, the buckets' score-cost fronts over a grid of recipes are merged by a Minkowski sum with
dominance pruning: exact at any budget, off the convex hull too. Its fronts warm start the study,
and say how far a study without them is from what the grid allows.

A cascade's stages name variants, its weights follow from their accuracy and its thresholds lie at
quantiles of what the samples show, so that good ones can be listed. They take part in selection
beside what the sampler proposed, and are the same for every seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal_of
from tierwise.evaluation import Evaluator
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, Variant, uniform
from tierwise.schema.result import Proposal
from tierwise.schema.space import Range
from tierwise.search.space import SINGLE, Dimensions, in_order, recipe_grid, thresholds
from tierwise.stats.intervals import Floats
from tierwise.stats.pareto import Indices, minkowski_front, pareto_front
from tierwise.strategies import Stage
from tierwise.strategies.cascade import CONFIDENCE_SCORE


@dataclass(frozen=True)
class Allocation:
    """Proposals on the front of all allocations, cheapest first, with what they score and cost.

    ``simple``: the policies of one bucket on the grid that are nearest to the front.
    ``by_buckets``: the fronts of those of two buckets, of three, and so on.
    """

    proposals: tuple[Proposal, ...]
    score: Floats
    usd: Floats
    simple: tuple[Policy, ...] = ()
    by_buckets: tuple[tuple[Proposal, ...], ...] = ()

    def utility(self, usd_weight: float) -> float:
        """The best of score - usd_weight * usd on the front."""
        return float((self.score - usd_weight * self.usd).max())

    def spread(self, n: int) -> list[Proposal]:
        """About ``n`` proposals along the front, its ends among them."""
        return _spread(self.proposals, n)

    def by_bucket_counts(self, n: int) -> list[Proposal]:
        """The same along the front of each number of buckets."""
        return [proposal for front in self.by_buckets for proposal in _spread(front, n)]


def _spread(front: Sequence[Proposal], n: int) -> list[Proposal]:
    if len(front) <= n:
        return list(front)
    at = np.unique(np.rint(np.linspace(0, len(front) - 1, n)).astype(int))
    return [front[i] for i in at]


MAX_POINTS = 400
"""Of a front of allocations, that are kept after each bucket is added."""

CHEAPEST = 2
"""Variants, by what they cost, that a probe is made of."""

_Point = tuple[Proposal, float, float]
"""A proposal with its score and dollars."""


def allocate(
    evaluator: Evaluator, dimensions: Dimensions, *, max_points: int = MAX_POINTS
) -> Allocation:
    """The front of all allocations over the space's signals and buckets, and a grid of recipes."""
    everything = np.arange(evaluator.table.n_items)
    return allocate_on(evaluator, dimensions, [everything], max_points=max_points)[0]


def allocate_on(
    evaluator: Evaluator,
    dimensions: Dimensions,
    parts: Sequence[Indices],
    *,
    max_points: int = MAX_POINTS,
) -> list[Allocation]:
    """The same by the scores of each of ``parts`` of the items alone. Cuts are quantiles over all
    items, which no score decides."""
    grid = recipe_grid(dimensions, steps=3)
    judged = {recipe: evaluator.evaluate(Policy((recipe,))) for recipe in grid}
    grid = [recipe for recipe, e in judged.items() if e.known]
    uniform = [judged[recipe] for recipe in grid]
    score = np.array([e.score for e in uniform])
    usd = np.array([e.usd for e in uniform])
    n, permutations = evaluator.table.n_items, evaluator.permutations.n
    found: list[list[_Point]] = []
    for part in parts:
        alone = score[:, part].mean(axis=1), usd[:, part].mean(axis=1)
        found.append(
            [
                (Proposal(Difficulty(), (), (grid[i],)), float(alone[0][i]), float(alone[1][i]))
                for i in pareto_front(*alone)
            ]
        )
    means = score.mean(axis=1), usd.mean(axis=1)
    probes = _probes(dimensions, grid, *means)
    # A probe makes some recipes expensive and some pointless: only those near the front are tried.
    near = _near_front(means, 60)
    told: set[Difficulty] = set()  # of few values of a signal, several shares are one cut
    probed: tuple[Probe, Floats, Floats] | None = None  # of the last probe: cuts of one follow
    for difficulty, shares in _difficulties(dimensions, probes):
        cuts = thresholds(evaluator.signal(difficulty), shares)
        if cuts is None or (cut := replace(difficulty, thresholds=cuts)) in told:
            continue
        told.add(cut)
        bucket = evaluator.bucket_rows(cut)
        if difficulty.probe is None:
            members, each = bucket[::permutations], 1
            candidates, s, u = grid, score, usd
        else:
            members, each, candidates = bucket, permutations, [grid[i] for i in near]
            if probed is None or probed[0] != difficulty.probe:
                probed = difficulty.probe, *_probed(evaluator, candidates, difficulty)
            _, s, u = probed
        for of, part in zip(found, parts, strict=True):
            inside = np.isin(np.arange(n), part).repeat(each)
            mine = np.where(inside, members, -1)
            of += _merge(difficulty, shares, mine, candidates, s, u, max_points)
    simple = tuple(Policy((grid[i],)) for i in near)
    return [_front(of, simple) for of in found]


def _front(found: Sequence[_Point], simple: tuple[Policy, ...]) -> Allocation:
    on = [found[i] for i in pareto_front([f[1] for f in found], [f[2] for f in found])]
    by_buckets = []
    for n in sorted({len(f[0].buckets) for f in found} - {1}):
        of = [f for f in found if len(f[0].buckets) == n]
        front = pareto_front([f[1] for f in of], [f[2] for f in of])
        by_buckets.append(tuple(of[i][0] for i in front))
    return Allocation(
        tuple(f[0] for f in on),
        np.array([f[1] for f in on]),
        np.array([f[2] for f in on]),
        simple,
        tuple(by_buckets),
    )


def _merge(
    difficulty: Difficulty,
    shares: tuple[float, ...],
    members: npt.NDArray[np.intp],
    candidates: Sequence[Recipe],
    score: Floats,
    usd: Floats,
    max_points: int,
) -> list[_Point]:
    """The front of the allocations to the buckets of ``members``, where none is empty; rows of no
    bucket (-1) do not count."""
    components, weights = [], []
    for b in range(len(shares) + 1):
        mine = (members == b).astype(np.float64)
        if not mine.any():
            return []
        weights.append(float(mine.sum() / (members >= 0).sum()))
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
    dimensions: Dimensions, grid: Sequence[Recipe], score: Floats, usd: Floats
) -> list[Probe]:
    """Probes of the cheapest variants; where the space has them, pairs of best and cheapest."""
    alone = [
        i for i, r in enumerate(grid) if len(r.variants) == 1 and r.variants[0] in dimensions.own
    ]
    cost: dict[Variant, float] = {}
    best: dict[Variant, float] = {}
    for i in alone:
        (variant,) = grid[i].variants
        cost[variant] = min(cost.get(variant, np.inf), float(usd[i]))
        best[variant] = max(best.get(variant, -np.inf), float(score[i]))
    cheapest = sorted(cost, key=lambda variant: cost[variant])[:CHEAPEST]
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


OWN_VARIANTS = 4
"""Own variants of a tier that stages are made of: the best and the cheapest at one sample."""

TARGET_VARIANTS = 3
"""The same of its escalation targets."""

QUANTILES = (0.3, 0.5, 0.7)
"""Of the confidence of a variant's samples: where a stage of one sample may end a request."""

KEPT = 48
"""Cascades that take part in selection: the nearest to the front of score and cost."""

_Stages = tuple[tuple[tuple[Variant, ...], int, float, float | None], ...]


def cascades(evaluator: Evaluator, dimensions: Dimensions) -> list[Policy]:
    """The cascades of the space that are nearest to the front on ``evaluator``'s table.

    None where the space does not name the strategy, or there is one variant.
    """
    ranges = dimensions.space.strategies.get("cascade")
    leading = _leading(evaluator, dimensions)
    if ranges is None or len(leading) < 2:
        return []
    low, high = _ends(ranges.get("samples"), (1, 8))
    least, most = _ends(ranges.get("stages"), (2, 3))
    share, unanimous = _ends(ranges.get("threshold"), (0.6, 1.0))
    found: dict[Policy, tuple[float, float]] = {}
    for stages in _listed(evaluator, dimensions, leading):
        if not least <= len(stages) <= most or any(not low <= s[1] <= high for s in stages):
            continue
        if any(not share <= s[2] <= max(unanimous, 0.99) and s[2] < 1 for s in stages[:-1]):
            continue
        policy = _cascade_policy(evaluator, stages)
        judged = evaluator.evaluate(policy)
        if judged.known:
            found[policy] = (judged.mean_score, judged.mean_usd)
    return _nearest_front(found)


def _leading(evaluator: Evaluator, dimensions: Dimensions) -> list[Variant]:
    """Own variants first, then the targets'; each by its score at one sample, the cheapest too."""
    single = {
        variant: evaluator.evaluate(uniform(variant, SINGLE)) for variant in dimensions.variants
    }
    targets = [variant for variant in dimensions.variants if variant.tier is not None]

    def best(among: Sequence[Variant], n: int) -> list[Variant]:
        by_score = sorted(among, key=lambda v: (-single[v].mean_score, v.label))
        by_usd = sorted(among, key=lambda v: (single[v].mean_usd, v.label))
        return list(dict.fromkeys((*by_score[: n - 1], *by_usd[:1], *by_score)))[:n]

    return best(dimensions.own, OWN_VARIANTS) + best(targets, TARGET_VARIANTS)


def _listed(
    evaluator: Evaluator, dimensions: Dimensions, leading: Sequence[Variant]
) -> Iterator[_Stages]:
    """First stages that may end a request, then one stage of one or several samples, or two."""
    own = [variant for variant in leading if variant.tier is None]
    first: list[tuple[tuple[Variant, ...], int, float, float | None]] = []
    for variant in own:
        first += [((variant,), n, 1.0, None) for n in (2, 3)]
        scores = evaluator.table.of(variant).scores.get(CONFIDENCE_SCORE)
        if dimensions.logprobs and scores is not None and not np.isnan(scores).all():
            cuts = np.unique(np.round(np.nanquantile(scores, QUANTILES), 4))
            first += [((variant,), 1, 1.0, min(float(cut), 0.0)) for cut in cuts]
    for a, b in itertools.combinations(leading, 2):
        if a.tier is None:
            first.append(((a, b), 2, 1.0, None))
    for stage in first:
        for variant in leading:
            for n in (1, 3):
                yield (stage, ((variant,), n, 1.0, None))
        if len(stage[0]) > 1 or stage[1] > 1:
            for middle, last in itertools.permutations(leading, 2):
                if middle not in stage[0] and last.tier is not None:
                    yield (stage, ((middle,), 1, 0.75, None), ((last,), 1, 1.0, None))


def _cascade_policy(evaluator: Evaluator, stages: _Stages) -> Policy:
    """The cascade of ``stages``, its votes weighted by the log-odds of its variants' accuracy."""
    variants = tuple(dict.fromkeys(v for of, *_ in stages for v in of))
    table = evaluator.table
    accuracy = [float(np.nanmean(table.of(variant).score)) for variant in variants]
    weights = tuple(round(max(_log_odds(p), 0.05), 3) for p in accuracy)
    spec = StrategySpec.of(
        "cascade",
        stages=tuple(
            Stage(tuple(variants.index(v) for v in of), n, share, confidence)
            for of, n, share, confidence in stages
        ),
        weights=weights,
    )
    return Policy((Recipe(variants, spec),))


def _log_odds(p: float) -> float:
    p = min(max(p, 0.02), 0.98)
    return math.log(p / (1 - p))


def _nearest_front(found: dict[Policy, tuple[float, float]]) -> list[Policy]:
    """Up to ``KEPT`` policies: the front of score and cost, then the front of the rest, and on."""
    left, kept = list(found), list[Policy]()
    while left and len(kept) < KEPT:
        on = pareto_front([found[p][0] for p in left], [found[p][1] for p in left])
        layer = [left[i] for i in on]
        kept += layer
        left = [policy for policy in left if policy not in set(layer)]
    return kept[:KEPT]


def _ends(dimension: object, default: tuple[float, float]) -> tuple[float, float]:
    if isinstance(dimension, Range):
        return dimension.low, dimension.high
    if isinstance(dimension, tuple) and dimension:
        return min(dimension), max(dimension)
    return default
