"""Which samples a strategy may ask for: the paths of their turns, and how many of each."""

from __future__ import annotations

import itertools

from tierwise.errors import InputError
from tierwise.schema import Path, StrategySpec
from tierwise.schema.space import Range, SearchSpace
from tierwise.strategies._base import Strategy, build

PLAIN_PATHS: tuple[Path, ...] = ((),)
"""The paths of a strategy that asks for answers only."""


def paths_of(strategy: Strategy) -> tuple[Path, ...]:
    """Paths of the samples that a strategy may ask for."""
    paths: tuple[Path, ...] = getattr(strategy, "paths", PLAIN_PATHS)
    return paths


def asks(strategy: Strategy, turn: str) -> bool:
    """Whether a strategy may ask for a ``turn``."""
    return any(step.name == turn for path in paths_of(strategy) for step in path)


def width_of(strategy: Strategy) -> int:
    """The most samples of one path that a strategy may ask for, over all variants."""
    width: int = getattr(strategy, "width", strategy.max_samples)
    return width


def paths_in(space: SearchSpace) -> dict[Path, int]:
    """The paths beyond plain answers that strategies of the space may ask for, parents first, with
    the most samples of each."""
    found: dict[Path, int] = {}
    for kind, dims in space.strategies.items():
        ends = (d.ends if isinstance(d, Range) else d for d in dims.values())
        for values in itertools.product(*ends):
            try:
                strategy = build(StrategySpec.of(kind, dict(zip(dims, values, strict=True))))
            except InputError:  # corners that contradict each other
                continue
            for path in paths_of(strategy):
                if path:
                    found[path] = max(found.get(path, 0), width_of(strategy))
    return dict(sorted(found.items(), key=lambda pair: len(pair[0])))
