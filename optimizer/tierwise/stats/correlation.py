"""How well one number orders another."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ranks(values: npt.ArrayLike) -> Floats:
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
    a, b = ranks(a) - (len(a) + 1) / 2, ranks(b) - (len(b) + 1) / 2
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
    wins = float(ranks(s)[p].sum()) - n_positive * (n_positive + 1) / 2
    return wins / (n_positive * n_negative)
