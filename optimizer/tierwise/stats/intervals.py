"""Intervals of one quantity: Wilson for proportions, an item bootstrap for means and ratios.

Rows are items. An item's samples are correlated, so they are averaged before they come here, and
items are what is resampled (a cluster bootstrap).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.stats.resampling import resampled_sums
from tierwise.stats.student import student_cdf, student_quantile

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
SMALL_SAMPLE = 100
"""Items; of fewer an interval is said to be of a small sample wherever it is shown. Those of skewed
costs are too short at twenty (``docs/statistics.md``)."""
DUST = 1e-7
"""Relative size of what rounding leaves of a difference of squares that is 0."""


class Interval(NamedTuple):
    """A point estimate and its two-sided interval; all NaN where the data do not support one."""

    mean: float
    low: float
    high: float


UNSUPPORTED = Interval(math.nan, math.nan, math.nan)


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); never collapses at 0 or n.

    Raises:
        ValueError: successes are not in [0, n].
    """
    if n == 0:
        return UNSUPPORTED
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in [0, {n}], got {successes}")
    p, z2 = successes / n, _NORMAL.inv_cdf((1 + level) / 2) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return Interval(
        p, 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half
    )


def expanded_tail(tail: float, n: int) -> float:
    """The bootstrap quantile to read for a one-sided error of ``tail`` with ``n`` items.

    The plain percentile interval is too short by about sqrt((n-1)/n) and by the normal's quantile
    in place of Student's t; the expanded percentile interval (Hesterberg 2015, "What teachers
    should know about the bootstrap", section 5.4) reads further out to make up for both.
    """
    t = student_quantile(1 - tail, n - 1)
    return _NORMAL.cdf(-math.sqrt(n / (n - 1)) * t)


def expanded_p(raw: float, n: int) -> float:
    """Inverse of ``expanded_tail``: the error whose interval just ends at the ``raw`` quantile."""
    return student_cdf(_NORMAL.inv_cdf(raw) * math.sqrt((n - 1) / n), n - 1)


def percentile_interval(mean: float, replicates: Floats, n: int, level: float) -> Interval:
    """The expanded percentile interval from bootstrap ``replicates`` over ``n`` items.

    It is stretched to hold ``mean``, so that a skewed resampling never excludes what was measured.
    """
    tail = expanded_tail((1 - level) / 2, n)
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(mean, min(mean, float(low)), max(mean, float(high)))


def stretched(
    found: Interval, replicates: Floats, errors: Floats, error: float, level: float
) -> Interval:
    """``found`` (percentile), stretched to hold the studentised bootstrap interval as well.

    Costs are skewed: a few requests take many samples or long answers. There the percentile interval
    ends too early on the long side, and the studentised one (Efron and Tibshirani 1993, section
    12.5) does not; where resamples without any spread leave an end of it unknown, the percentile
    end stands. ``errors`` are the replicates' own standard errors, ``error`` that of the sample.
    """
    dust = DUST * abs(found.mean)
    if not error > dust:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (replicates - found.mean) / np.where(errors > dust, errors, 0.0)
    tail = (1 - level) / 2
    near, far = np.quantile(
        np.nan_to_num(t, nan=0.0, posinf=np.inf, neginf=-np.inf),
        [tail, 1 - tail],
        method="inverted_cdf",
    )
    low, high = found.mean - far * error, found.mean - near * error
    if found.low >= 0:
        low = max(low, 0.0)
    return Interval(
        found.mean,
        min(found.low, low) if math.isfinite(low) else found.low,
        max(found.high, high) if math.isfinite(high) else found.high,
    )


def bootstrap_mean(
    values: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Interval of the mean of per-item ``values`` (n_items,), resampling items.

    With ``bounds`` (give (0, 1) for scores) one pseudo-item at each bound takes part in the
    resampling, as in Laplace's and Agresti's estimates: 50 right of 50 is no certainty. Without
    (costs) the interval is ``stretched``, and equal values give a point. NaN among the values, or
    fewer than two items, give NaN.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or np.isnan(x).any():
        return UNSUPPORTED
    rows = x if bounds is None else np.concatenate([x, bounds])
    replicates = resampled_sums(rows, resamples, seed) / len(rows)
    found = percentile_interval(float(x.mean()), replicates, len(x), level)
    if bounds is not None:
        return found
    squares = resampled_sums(rows**2, resamples, seed) / len(rows)
    errors = np.sqrt(np.maximum(squares - replicates**2, 0.0))
    # The factor sqrt(n / (n - 1)) of both errors, and 1 / sqrt(n), cancel out.
    return stretched(found, replicates, errors, float(x.std()), level)


def bootstrap_ratio(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Interval of mean(numerator) / mean(denominator) over the same items, each (n_items,).

    The denominator must be positive in sum in every resample, as costs are; NaN otherwise.
    """
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    if top.shape != bottom.shape:
        raise ValueError(f"a ratio needs the same items twice, got {top.shape} and {bottom.shape}")
    if len(top) < 2 or np.isnan(top).any() or np.isnan(bottom).any():
        return UNSUPPORTED
    columns = np.stack([top, bottom, top**2, top * bottom, bottom**2], axis=1)
    sums = resampled_sums(columns, resamples, seed)
    if sums[:, 1].min() <= 0:
        return UNSUPPORTED
    ratio = float(top.sum() / bottom.sum())
    replicates = sums[:, 0] / sums[:, 1]
    found = percentile_interval(ratio, replicates, len(top), level)
    # To first order the error is that of the mean of top - ratio x bottom, over that of bottom.
    spread = sums[:, 2] - 2 * replicates * sums[:, 3] + replicates**2 * sums[:, 4]
    residual = top - ratio * bottom
    errors = np.sqrt(np.maximum(spread, 0.0) * len(top)) / sums[:, 1]
    error = math.sqrt(float(residual @ residual) * len(top)) / float(bottom.sum())
    return stretched(found, replicates, errors, error, level)
