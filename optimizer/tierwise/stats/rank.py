"""How well one number orders or predicts another (rank correlation, AUROC, calibration), and how
far two raters agree (weighted kappa, intraclass correlation).
"""

from __future__ import annotations

import math
from typing import NamedTuple

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


def rankdata(values: npt.ArrayLike) -> Floats:
    """(n,): ranks from 1, tied values sharing their mean rank."""
    x = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: Floats = (last - (counts - 1) / 2)[inverse]
    return mean_rank


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation, with ties; NaN with a constant, a NaN or under two values."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"needs two arrays of one shape, got {a.shape} and {b.shape}")
    if len(a) < 2 or np.isnan(a).any() or np.isnan(b).any():
        return math.nan
    a, b = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def auroc_of_shares(scores: npt.ArrayLike, shares: npt.ArrayLike) -> float:
    """``auroc`` where item i is positive in the part ``shares[i]`` of its trials, else negative.

    The chance that a positive trial's item scores above a negative one's, a tie counting half.
    """
    s, p = np.asarray(scores, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    total = float(p.sum() * (1 - p).sum())
    if total == 0 or np.isnan(s).any():
        return math.nan
    above = (s[:, None] > s[None]) + 0.5 * (s[:, None] == s[None])
    return float(p @ above @ (1 - p)) / total


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """P(a positive scores above a negative), a tie counting half; NaN with one class or a NaN.

    Args:
        scores: (n,).
        positive: (n,) booleans.
    """
    s, p = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    n_positive = int(p.sum())
    n_negative = len(p) - n_positive
    if n_positive == 0 or n_negative == 0 or np.isnan(s).any():
        return math.nan
    wins = float(rankdata(s)[p].sum()) - n_positive * (n_positive + 1) / 2
    return wins / (n_positive * n_negative)


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


class ReliabilityBin(NamedTuple):
    """Predictions of about one size: their mean, and how often the outcome came."""

    predicted: float
    observed: float
    items: int


def reliability(
    probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Bins of about equally many predictions, lowest first; equal predictions share a bin."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"needs two arrays of one shape, got {p.shape} and {y.shape}")
    if not len(p):
        return ()
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    which = np.searchsorted(edges, p, side="left")
    return tuple(
        ReliabilityBin(float(p[which == b].mean()), float(y[which == b].mean()), int(n))
        for b, n in zip(*np.unique(which, return_counts=True), strict=True)
    )


def expected_calibration_error(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """ECE: the mean over predictions of |predicted - observed| of their bin; NaN for none."""
    found = reliability(probabilities, outcomes)
    total = sum(b.items for b in found)
    if not total:
        return float("nan")
    return sum(b.items * abs(b.predicted - b.observed) for b in found) / total


# Agreement of raters


def quadratic_kappa(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, resamples: int = 2000
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
    means = resampled_sums(columns, resamples, 0) / len(x)
    found = float(_kappa(columns.mean(axis=0)[None])[0])
    return percentile_interval(found, _kappa(means), len(x))


def _chance(means: Floats) -> Floats:
    return means[:, 3] - 2 * means[:, 1] * means[:, 2]


def _kappa(means: Floats) -> Floats:
    """Of (resamples, 4) means; 0 where a resample has one rating only, which shows nothing."""
    chance = _chance(means)
    there = chance > 1e-12
    return np.where(there, 1 - means[:, 0] / np.where(there, chance, 1.0), 0.0)


def intraclass_correlation(readings: npt.ArrayLike) -> Interval:
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
    return percentile_interval(found, _icc(resampled_sums(columns, 2000, 0), n, k), n)


def _icc(sums: Floats, n: int, k: int) -> Floats:
    within = sums[:, 0] / (n * (k - 1))
    between = k * (sums[:, 2] - sums[:, 1] ** 2 / n) / (n - 1)
    total = between + (k - 1) * within
    there = total > 1e-12
    return np.where(there, (between - within) / np.where(there, total, 1.0), 0.0)
