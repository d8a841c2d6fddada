"""Comparisons of two policies on different items: wider, since nothing cancels out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import UNSUPPORTED, Interval, percentile_interval
from tierwise.stats.resampling import resampled_sums


def unpaired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Interval of mean(a) - mean(b), each over items of its own: (n_a,) and (n_b,).

    Both are resampled by themselves, each with a pseudo-item at both bounds, as ``bootstrap_mean``
    has them. NaN among the values, or fewer than two items on a side, give NaN.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(x), len(y)) < 2 or np.isnan(x).any() or np.isnan(y).any():
        return UNSUPPORTED
    means = []
    for part, own_seed in ((x, seed), (y, seed + 1)):
        rows = np.concatenate([part, bounds])
        means.append(resampled_sums(rows, resamples, own_seed) / len(rows))
    difference = float(x.mean() - y.mean())
    return percentile_interval(difference, means[0] - means[1], min(len(x), len(y)), level)
