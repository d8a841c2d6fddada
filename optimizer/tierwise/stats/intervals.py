"""Intervals of one quantity: Wilson for proportions, an item bootstrap for means and ratios.

Rows are items. An item's samples are correlated, so they are averaged before they come here, and
items are what is resampled (a cluster bootstrap).
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SMALL_SAMPLE = 100
"""Items; of fewer an interval is said to be of a small sample wherever it is shown. Those of skewed
costs are too short at twenty (``docs/statistics.md``)."""

_NORMAL = NormalDist()
_ROUNDING = 1e-7
"""Relative size of what rounding leaves of a difference of squares that is 0."""
_BLOCK = 500
_KEPT_RESAMPLES = 8
"""A run compares over the items of a few splits, with one seed and two numbers of resamples."""


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


def bootstrap_means(rows: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000) -> list[Interval]:
    """The 95% interval of each row's mean score; ``rows`` (n_rows, n_items), NaN for no item.

    As ``bootstrap_mean`` with bounds (0, 1), which for a row without NaN it equals.
    """
    values = np.asarray(rows, dtype=np.float64)
    return row_intervals(values, np.tile([0.0, 1.0], (len(values), 1)), seed, resamples)


def row_intervals(values: Floats, pseudo: Floats, seed: int, resamples: int) -> list[Interval]:
    """The 95% interval of each row's mean, resampled with its two ``pseudo`` items, (n_rows, 2).

    Items that a row does not have (NaN) take no part.
    """
    if not len(values):
        return []
    padded = np.concatenate([values, pseudo], axis=1)
    known = ~np.isnan(padded)
    sums = resampled_sums(np.where(known, padded, 0.0).T, resamples, seed)
    if known.all():
        replicates = sums / padded.shape[1]
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = sums / resampled_sums(known.T.astype(np.float64), resamples, seed)
    found = []
    for i, row in enumerate(values):
        mine = row[~np.isnan(row)]
        if len(mine) < 2 or np.isnan(replicates[:, i]).any():
            found.append(UNSUPPORTED)
        else:
            found.append(percentile_interval(float(mine.mean()), replicates[:, i], len(mine)))
    return found


def bootstrap_ratio(
    numerator: npt.ArrayLike, denominator: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000
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
    found = percentile_interval(ratio, replicates, len(top))
    # To first order the error is that of the mean of top - ratio x bottom, over that of bottom.
    spread = sums[:, 2] - 2 * replicates * sums[:, 3] + replicates**2 * sums[:, 4]
    residual = top - ratio * bottom
    errors = np.sqrt(np.maximum(spread, 0.0) * len(top)) / sums[:, 1]
    error = math.sqrt(float(residual @ residual) * len(top)) / float(bottom.sum())
    return stretched(found, replicates, errors, error, 0.95)


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


def percentile_interval(mean: float, replicates: Floats, n: int, level: float = 0.95) -> Interval:
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

    Costs are skewed: a few requests take many samples or long answers. There the percentile
    interval ends too early on the long side, and the studentised one (Efron and Tibshirani 1993,
    section 12.5) does not; where resamples without any spread leave an end of it unknown, the
    percentile end stands. ``errors`` are the replicates' own standard errors, ``error`` that of the
    sample.
    """
    rounding = _ROUNDING * abs(found.mean)
    if not error > rounding:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (replicates - found.mean) / np.where(errors > rounding, errors, 0.0)
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


def resampled_sums(columns: Floats, resamples: int, seed: int) -> Floats:
    """The sum of ``columns`` (rows,) or (rows, k) in each resample of its rows: (resamples, …)."""
    counts = _resample_counts(len(columns), resamples, seed)
    sums = np.empty((resamples, *columns.shape[1:]))
    for start in range(0, resamples, _BLOCK):
        sums[start : start + _BLOCK] = counts[start : start + _BLOCK].astype(np.float64) @ columns
    return sums


@functools.lru_cache(maxsize=_KEPT_RESAMPLES)
def _resample_counts(rows: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """(resamples, rows): how often each row is in each resample.

    Small whole numbers (chance of more than 255: none to speak of), an eighth of what the products
    above are made of: 6 MB for 600 items and 10,000 resamples.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, rows), np.uint8)
    for start in range(0, resamples, _BLOCK):
        block = counts[start : start + _BLOCK]
        picks = rng.integers(rows, size=block.shape) + rows * np.arange(len(block))[:, None]
        block[:] = np.bincount(picks.ravel(), minlength=block.size).reshape(block.shape)
    counts.flags.writeable = False
    return counts


def student_cdf(t: float, df: int) -> float:
    """P(T <= t) for ``df`` >= 1 degrees of freedom."""
    theta = math.atan2(t, math.sqrt(df))
    sin, cos2 = math.sin(theta), math.cos(theta) ** 2
    if df % 2:
        steps = np.arange(1, (df - 1) // 2)
        terms = np.cumprod(np.append(1.0, cos2 * 2 * steps / (2 * steps + 1)))
        series = math.cos(theta) * float(terms.sum()) if df > 1 else 0.0
        inside = (theta + sin * series) * 2 / math.pi
    else:
        steps = np.arange(1, df // 2)
        inside = sin * float(np.cumprod(np.append(1.0, cos2 * (2 * steps - 1) / (2 * steps))).sum())
    return 0.5 + inside / 2


@functools.lru_cache(maxsize=256)
def student_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = ``p``, for p in (0, 1), by bisection."""
    if p < 0.5:
        return -student_quantile(1 - p, df)
    high = 1.0
    while student_cdf(high, df) < p:
        high *= 2
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, df) < p else (low, middle)
    return high
