"""Cascades over a study's variants: enumerated, judged on the study's samples, the best kept.

A cascade's stages name variants, its weights follow from their accuracy and its thresholds lie at
quantiles of what the samples show, so that good ones can be listed. They take part in selection
beside what the sampler proposed, and are the same for every seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from tierwise.evaluation import Evaluator
from tierwise.schema import Policy, Recipe, StrategySpec, Variant, uniform
from tierwise.schema.space import Range
from tierwise.search.space import SINGLE, Dimensions
from tierwise.stats.pareto import pareto_front
from tierwise.strategies import Stage
from tierwise.strategies.cascade import CONFIDENCE_SCORE

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
        policy = _policy(evaluator, stages)
        judged = evaluator.evaluate(policy)
        if not np.isnan(judged.score).any():
            found[policy] = (judged.mean_score, judged.mean_usd)
    return _near_front(found)


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


def _policy(evaluator: Evaluator, stages: _Stages) -> Policy:
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


def _near_front(found: dict[Policy, tuple[float, float]]) -> list[Policy]:
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
