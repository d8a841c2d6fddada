"""Intervals of many quantities over the same items, all on one resampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import UNSUPPORTED, Interval, percentile_interval
from tierwise.stats.paired import reach_of
from tierwise.stats.resampling import resampled_sums

Floats = npt.NDArray[np.float64]


def bootstrap_means(
    rows: npt.ArrayLike,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> list[Interval]:
    """The interval of each row's mean; ``rows`` are (n_rows, n_items), NaN where a row has no item.

    As ``bootstrap_mean`` with ``bounds``, which for a row without NaN it equals.
    """
    values = np.asarray(rows, dtype=np.float64)
    pseudo = np.tile(np.array(bounds), (len(values), 1))
    return _intervals(values, pseudo, seed, resamples, level)


def paired_differences(
    best: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    bound: float = 1.0,
) -> list[Interval]:
    """The interval of mean(best) - mean(row) over the items that both have, for each row.

    As ``paired_difference``, which for a pair without NaN it equals. ``best`` is (n_items,),
    ``rows`` (n_rows, n_items).
    """
    differences = np.asarray(best, dtype=np.float64) - np.asarray(rows, dtype=np.float64)
    reach = np.array([reach_of(row[~np.isnan(row)], bound) for row in differences])
    return _intervals(differences, np.stack([-reach, reach], axis=1), seed, resamples, level)


def _intervals(
    values: Floats, pseudo: Floats, seed: int, resamples: int, level: float
) -> list[Interval]:
    """Two pseudo-items a row take part in the resampling; items that a row does not have do not."""
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
            mean = float(mine.mean())
            found.append(percentile_interval(mean, replicates[:, i], len(mine), level))
    return found
