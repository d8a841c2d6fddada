"""How far two raters agree, and one rater with itself: weighted kappa and reliability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import (
    UNSUPPORTED,
    Floats,
    Interval,
    percentile_interval,
    resampled_sums,
)

FEWEST_RATED = 10
"""Rated answers of which a measure of agreement has an interval."""


def quadratic_kappa(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Cohen's kappa with quadratic weights (Cohen 1968) of two ratings of the same answers.

    1 - D_observed / D_chance, with D the mean squared difference of an answer's two ratings, and of
    the ratings of all pairs of answers. The interval resamples answers. A rating needs no
    categories; where it has equally spaced ones, this is the kappa of their table.

    Args:
        labels, scores: (n_answers,), on the same scale. Fewer than ``FEWEST_RATED`` give NaN, and
            so do raters of whom neither ever differs.
    """
    x, y = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError(f"needs two ratings of the same answers, got {x.shape} and {y.shape}")
    if len(x) < FEWEST_RATED or np.isnan(x).any() or np.isnan(y).any():
        return UNSUPPORTED
    columns = np.stack([(x - y) ** 2, x, y, x**2 + y**2], axis=1)
    if not _chance(columns.mean(axis=0)[None])[0] > 0:
        return UNSUPPORTED
    means = resampled_sums(columns, resamples, seed) / len(x)
    found = float(_kappa(columns.mean(axis=0)[None])[0])
    return percentile_interval(found, _kappa(means), len(x), 0.95)


def _chance(means: Floats) -> Floats:
    return means[:, 3] - 2 * means[:, 1] * means[:, 2]


def _kappa(means: Floats) -> Floats:
    """Of (resamples, 4) means; 0 where a resample has one rating only, which shows nothing."""
    chance = _chance(means)
    there = chance > 1e-12
    return np.where(there, 1 - means[:, 0] / np.where(there, chance, 1.0), 0.0)


def intraclass_correlation(
    readings: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> Interval:
    """The part of the variance of a rater's readings that is between answers: ICC(1).

    One-way analysis of variance (Shrout and Fleiss 1979): 1 where repeated readings of an answer
    are the same, 0 where they differ as much as those of different answers. The interval resamples
    answers.

    Args:
        readings: (n_answers, k), k >= 2. Fewer than ``FEWEST_RATED`` answers give NaN, and so do
            readings that are all alike.
    """
    x = np.asarray(readings, dtype=np.float64)
    if len(x) < FEWEST_RATED or x.shape[1] < 2 or np.isnan(x).any() or np.ptp(x) == 0:
        return UNSUPPORTED
    mean = x.mean(axis=1)
    columns = np.stack([((x - mean[:, None]) ** 2).sum(axis=1), mean, mean**2], axis=1)
    n, k = x.shape
    found = float(_icc(columns.sum(axis=0)[None], n, k)[0])
    return percentile_interval(found, _icc(resampled_sums(columns, resamples, seed), n, k), n, 0.95)


def _icc(sums: Floats, n: int, k: int) -> Floats:
    within = sums[:, 0] / (n * (k - 1))
    between = k * (sums[:, 2] - sums[:, 1] ** 2 / n) / (n - 1)
    total = between + (k - 1) * within
    there = total > 1e-12
    return np.where(there, (between - within) / np.where(there, total, 1.0), 0.0)
