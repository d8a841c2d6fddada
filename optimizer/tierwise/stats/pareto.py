"""Two objectives: the score is maximised, the cost minimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import Floats

Indices = npt.NDArray[np.intp]


def pareto_front(scores: npt.ArrayLike, costs: npt.ArrayLike) -> Indices:
    """Indices of the points that no other dominates, cheapest first.

    Of points with equal score and cost the first is kept; a NaN is never on the front.

    Args:
        scores: (n,), higher is better.
        costs: (n,), lower is better.
    """
    s, c = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    known = np.flatnonzero(~(np.isnan(s) | np.isnan(c)))
    order = known[np.lexsort((known, -s[known], c[known]))]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(s[order])])[:-1]
    # The first point is on the front even if its score is -inf.
    keep = s[order] > best_before
    keep[:1] = True
    return order[keep]


class MinkowskiFront(NamedTuple):
    """The front of sums, from the cheapest to the most expensive point.

    Attributes:
        scores: (m,) weighted sums of scores.
        costs: (m,) weighted sums of costs.
        choices: (m, k), the point taken from each of the k components.
        epsilon: a point that was left out by ``max_points`` has one here that costs no more and
            scores at most this much less; 0 where nothing was left out.
    """

    scores: Floats
    costs: Floats
    choices: Indices
    epsilon: float


def minkowski_front(
    components: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    weights: Sequence[float],
    *,
    max_points: int | None = None,
) -> MinkowskiFront:
    """Every undominated way to choose one point per component, summed with ``weights``.

    This is the exact allocation of a budget over difficulty buckets, whose weights are the buckets'
    shares: a dominated partial sum cannot be part of an undominated one, so pruning after each
    component loses nothing, off the convex hull too. The front may grow with the product of the
    components' sizes; ``max_points`` >= 2 bounds it, at a loss of at most ``epsilon``.

    Args:
        components: (scores, costs) of each, arrays of one length; dominated points are allowed.
        weights: one a component, non-negative.
        max_points: most points that are kept after each component.
    """
    if len(components) != len(weights):
        raise ValueError(f"{len(components)} components need as many weights, got {len(weights)}")
    if any(w < 0 for w in weights):
        raise ValueError(f"weights must not be negative, got {list(weights)}")
    total = MinkowskiFront(np.zeros(1), np.zeros(1), np.zeros((1, 0), dtype=np.intp), 0.0)
    for (scores, costs), weight in zip(components, weights, strict=True):
        total = _add(total, np.asarray(scores, float), np.asarray(costs, float), weight)
        if max_points is not None and len(total.scores) > max_points:
            total = _thin(total, max_points)
    return total


def _add(total: MinkowskiFront, scores: Floats, costs: Floats, weight: float) -> MinkowskiFront:
    points = pareto_front(scores, costs)
    s = np.add.outer(total.scores, weight * scores[points])
    c = np.add.outer(total.costs, weight * costs[points])
    on = pareto_front(s.ravel(), c.ravel())
    before, point = np.divmod(on, len(points)) if len(points) else (on, on)
    choices = np.column_stack([total.choices[before], points[point]])
    return MinkowskiFront(s.ravel()[on], c.ravel()[on], choices, total.epsilon)


def _thin(total: MinkowskiFront, max_points: int) -> MinkowskiFront:
    """Keep the cheapest point of each of ``max_points - 1`` equal steps of score, and the best."""
    low, high = total.scores[0], total.scores[-1]
    step = (high - low) / (max_points - 1)
    cell = np.minimum(((total.scores - low) / step).astype(np.intp), max_points - 2)
    keep = np.unique(np.append(np.unique(cell, return_index=True)[1], len(cell) - 1))
    return MinkowskiFront(
        total.scores[keep], total.costs[keep], total.choices[keep], total.epsilon + float(step)
    )
