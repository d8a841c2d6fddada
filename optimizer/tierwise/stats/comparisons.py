"""Tests of two policies on the same or on different items, and of several at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import (
    UNSUPPORTED,
    Floats,
    Interval,
    bootstrap_ratio,
    expanded_p,
    percentile_interval,
    resampled_sums,
    row_intervals,
)

FEW = 5
"""With fewer differing items than this, an unseen difference may be as large as the bound."""


def reach_of(differences: Floats, bound: float) -> float:
    """How far the pseudo-items lie: the largest difference, or ``bound`` where few items differ."""
    few = np.count_nonzero(differences) < FEW
    return bound if few else float(np.abs(differences).max())


@dataclass(frozen=True)
class PairedBootstrap:
    """Many paired comparisons over the same items, all on the same resamples.

    Besides the items, two pseudo-items take part in the resampling of differences: one at plus and
    one at minus ``reach``, the largest difference seen (``bound`` where fewer than ``FEW`` items
    differ). As with Agresti and Min's intervals for matched pairs (Statistics in Medicine 2005),
    two policies that agree on all of 100 items are so known to be equal within about .03 only (the
    rule of three), and one item more or less never decides.

    Attributes:
        n_items: items of every comparison.
        seed: seed of the resampling.
        resamples: number of resamples; an error level below about 10 / resamples is not resolved.
        bound: the largest difference possible: 1 for scores in [0, 1].
    """

    n_items: int
    seed: int = 0
    resamples: int = 10_000
    bound: float = 1.0

    def _replicates(self, differences: Floats) -> Floats:
        reach = reach_of(differences, self.bound)
        rows = np.append(differences, [-reach, reach])
        return resampled_sums(rows, self.resamples, self.seed) / len(rows)

    def difference(self, a: npt.ArrayLike, b: npt.ArrayLike, level: float = 0.95) -> Interval:
        """Two-sided interval of mean(a) - mean(b); each (n_items,). NaN in, NaN out."""
        d = self._differences(a, b)
        if self.n_items < 2 or np.isnan(d).any():
            return UNSUPPORTED
        return percentile_interval(float(d.mean()), self._replicates(d), self.n_items, level)

    def p_value(self, a: npt.ArrayLike, b: npt.ArrayLike, margin: float = 0.0) -> float:
        """One-sided p of H0: mean(a) - mean(b) <= -margin; small says that ``a`` is no worse.

        It inverts ``difference``: p < (1 - level) / 2 where that interval's low end is above
        -margin (up to the resamples' resolution). NaN in, NaN out.
        """
        d = self._differences(a, b)
        if self.n_items < 2 or np.isnan(d).any():
            return math.nan
        below = np.count_nonzero(self._replicates(d) <= -margin)
        p = expanded_p((1 + below) / (self.resamples + 2), self.n_items)
        return max(0.5, p) if d.mean() <= -margin else p

    def ratio(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Interval:
        """95% interval of mean(a) / mean(b), for costs: ``bootstrap_ratio``."""
        return bootstrap_ratio(a, b, seed=self.seed, resamples=self.resamples)

    def _differences(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
        x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if x.shape != (self.n_items,) or y.shape != (self.n_items,):
            raise ValueError(
                f"a paired comparison needs two arrays of {self.n_items} items, "
                f"got {x.shape} and {y.shape}"
            )
        return x - y


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Interval:
    """95% interval of mean(a) - mean(b) over the same items, each (n_items,)."""
    return PairedBootstrap(len(np.asarray(a)), seed, resamples).difference(a, b)


def paired_differences(
    best: npt.ArrayLike, rows: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> list[Interval]:
    """The interval of mean(best) - mean(row) over the items that both have, for each row.

    As ``paired_difference``, which for a pair without NaN it equals. ``best`` is (n_items,),
    ``rows`` (n_rows, n_items).
    """
    differences = np.asarray(best, dtype=np.float64) - np.asarray(rows, dtype=np.float64)
    reach = np.array([reach_of(row[~np.isnan(row)], 1.0) for row in differences])
    return row_intervals(differences, np.stack([-reach, reach], axis=1), seed, resamples)


def unpaired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> Interval:
    """95% interval of mean(a) - mean(b), scores over items of their own: (n_a,) and (n_b,).

    Both are resampled by themselves, each with a pseudo-item at 0 and at 1, as ``bootstrap_mean``
    has them. NaN among the values, or fewer than two items on a side, give NaN.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(x), len(y)) < 2 or np.isnan(x).any() or np.isnan(y).any():
        return UNSUPPORTED
    means = []
    for part, own_seed in ((x, seed), (y, seed + 1)):
        rows = np.concatenate([part, [0.0, 1.0]])
        means.append(resampled_sums(rows, resamples, own_seed) / len(rows))
    difference = float(x.mean() - y.mean())
    return percentile_interval(difference, means[0] - means[1], min(len(x), len(y)))


class Holm(NamedTuple):
    """Outcome of Holm's procedure, in the order of the p-values given; each (m,)."""

    rejected: npt.NDArray[np.bool_]
    adjusted: npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike, alpha: float = 0.05) -> Holm:
    """Holm's step-down procedure (Holm 1979): family-wise error at most ``alpha``.

    ``p_values`` (m,). A NaN counts as 1: a test that could not be made rejects nothing and still
    takes its share of alpha.
    """
    p = np.asarray(p_values, dtype=np.float64)
    p = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return Holm(adjusted <= alpha, adjusted)
