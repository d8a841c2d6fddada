"""A coarse grid of strategies over a space: what racing and allocation look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tierwise.schema import Recipe, StrategySpec, Variant
from tierwise.schema.policy import Param
from tierwise.schema.space import Dimension, Range
from tierwise.search.parameters import Dimensions, in_order, repaired
from tierwise.strategies import build, width_of

STEPS = 5


def strategies(dimensions: Dimensions, max_samples: int, steps: int = STEPS) -> list[StrategySpec]:
    """Strategies of the space that need at most ``max_samples`` samples, on a grid."""
    specs: dict[StrategySpec, None] = {}
    for kind in dimensions.kinds:
        space = dimensions.space.strategies[kind]
        for values in itertools.product(*(_levels(d, steps) for d in space.values())):
            params = repaired(kind, dict(zip(space, values, strict=True)))
            spec = StrategySpec.of(kind, params)
            if width_of(build(spec)) <= max_samples:
                specs[spec] = None
    return list(specs)


def variant_sets(
    variants: Sequence[Variant], sizes: Sequence[int]
) -> Iterator[tuple[Variant, ...]]:
    """All sets of variants that a recipe may have."""
    for size in sizes:
        for chosen in itertools.combinations(variants, size):
            yield in_order(chosen)


def recipes(dimensions: Dimensions, steps: int = STEPS) -> list[Recipe]:
    """Every recipe of the grid."""
    found: list[Recipe] = []
    for size in dimensions.space.variants:
        for chosen in variant_sets(dimensions.variants, (size,)):
            if len({variant.tier for variant in chosen}) > 1:
                continue  # a vote over two tiers is left to the sampler
            # One sample of a portfolio is one sample of its first variant.
            specs = strategies(dimensions, dimensions.n_samples(chosen) * size, steps)
            found += [Recipe(chosen, spec) for spec in specs if width_of(build(spec)) >= size]
    return found


def _levels(dimension: Dimension, steps: int) -> list[Param]:
    if not isinstance(dimension, Range):
        return list(dimension)
    space = np.geomspace if dimension.log else np.linspace
    levels = space(dimension.low, dimension.high, steps)
    if dimension.whole:
        return [int(v) for v in np.unique(np.rint(levels))]
    return [round(float(v), 3) for v in levels]
