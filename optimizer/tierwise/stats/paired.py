"""Paired comparisons of two policies on the same items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import (
    UNSUPPORTED,
    Floats,
    Interval,
    bootstrap_ratio,
    expanded_p,
    percentile_interval,
)
from tierwise.stats.resampling import resampled_sums

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
        if d.mean() <= -margin:
            return max(0.5, self._p(d, margin))
        return self._p(d, margin)

    def ratio(self, a: npt.ArrayLike, b: npt.ArrayLike, level: float = 0.95) -> Interval:
        """Two-sided interval of mean(a) / mean(b), for costs; as ``ratio_of_means``."""
        return ratio_of_means(a, b, seed=self.seed, resamples=self.resamples, level=level)

    def _p(self, differences: Floats, margin: float) -> float:
        below = np.count_nonzero(self._replicates(differences) <= -margin)
        return expanded_p((1 + below) / (self.resamples + 2), self.n_items)

    def _differences(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
        x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if x.shape != (self.n_items,) or y.shape != (self.n_items,):
            raise ValueError(
                f"a paired comparison needs two arrays of {self.n_items} items, "
                f"got {x.shape} and {y.shape}"
            )
        return x - y


def paired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
    bound: float = 1.0,
) -> Interval:
    """Interval of mean(a) - mean(b) over the same items, each (n_items,): ``PairedBootstrap``."""
    n = len(np.asarray(a))
    return PairedBootstrap(n, seed, resamples, bound).difference(a, b, level)


def ratio_of_means(
    cost_a: npt.ArrayLike,
    cost_b: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """Interval of mean(cost_a) / mean(cost_b), resampling items: ``bootstrap_ratio``."""
    return bootstrap_ratio(cost_a, cost_b, seed=seed, resamples=resamples, level=level)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test from the discordant pairs; 1 where there are none."""
    n, k = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 0
    for i in range(k + 1):
        tail += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * tail / (1 << n))
