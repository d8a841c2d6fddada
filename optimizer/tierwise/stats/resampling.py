"""Bootstrap resamples of items, sampled once for each number of items and kept."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLOCK = 500
KEPT = 8
"""A run compares over the items of a few splits, with one seed and two numbers of resamples."""


def resampled_sums(columns: Floats, resamples: int, seed: int) -> Floats:
    """The sum of ``columns`` (rows,) or (rows, k) in each resample of its rows: (resamples, …)."""
    counts = _counts(len(columns), resamples, seed)
    sums = np.empty((resamples, *columns.shape[1:]))
    for start in range(0, resamples, BLOCK):
        sums[start : start + BLOCK] = counts[start : start + BLOCK].astype(np.float64) @ columns
    return sums


@functools.lru_cache(maxsize=KEPT)
def _counts(rows: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """(resamples, rows): how often each row is in each resample.

    Small whole numbers (chance of more than 255: none to speak of), an eighth of what the products
    above are made of: 6 MB for 600 items and 10,000 resamples.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, rows), np.uint8)
    for start in range(0, resamples, BLOCK):
        block = counts[start : start + BLOCK]
        picks = rng.integers(rows, size=block.shape) + rows * np.arange(len(block))[:, None]
        block[:] = np.bincount(picks.ravel(), minlength=block.size).reshape(block.shape)
    counts.flags.writeable = False
    return counts
