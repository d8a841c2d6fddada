"""Isotonic regression: the nearest non-decreasing sequence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pool_adjacent_violators(values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """(n,): the non-decreasing sequence nearest to ``values`` in weighted least squares.

    Args:
        values: (n,), in the order of what they should rise with.
        weights: (n,) positive; left out: all 1.

    Raises:
        ValueError: a weight is not positive.
    """
    y = np.asarray(values, dtype=np.float64)
    w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (w > 0).all():
        raise ValueError("weights must be positive")
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(y.tolist(), w.tolist(), strict=True):
        mean, mass, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, before_mass, before_length = blocks.pop()
            mean = (before * before_mass + mean * mass) / (before_mass + mass)
            mass, length = before_mass + mass, before_length + length
        blocks.append((mean, mass, length))
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks]).astype(np.float64)
