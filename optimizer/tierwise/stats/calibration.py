"""Whether probabilities keep their word: the reliability curve and its expected error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


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


def expected_calibration_error(
    probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, bins: int = 10
) -> float:
    """ECE: the mean over predictions of |predicted - observed| of their bin; NaN for none."""
    found = reliability(probabilities, outcomes, bins)
    total = sum(b.items for b in found)
    if not total:
        return float("nan")
    return sum(b.items * abs(b.predicted - b.observed) for b in found) / total
