"""Orders in which stored samples are looked at, common to all policies of a comparison."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Columns = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Permutations:
    """``n`` random orders of each item's samples, a pure function of (seed, n_samples).

    ``shuffled=False`` is the order in which the samples were bought, which is what a runtime sees.
    """

    n: int = 32
    seed: int = 0
    shuffled: bool = True

    def columns(self, n_items: int, n_samples: int) -> Columns:
        """(n_items, n, n_samples): column of the k-th sample under each order."""
        return _columns(self, n_items, n_samples)

    def places(self, n_items: int, n_samples: int) -> npt.NDArray[np.int32]:
        """(n_samples, n_items * n): places of the k-th samples in a ravelled table."""
        return _places(self, n_items, n_samples)


@dataclass(frozen=True, slots=True)
class Blocks(Permutations):
    """Orders that begin at the blocks of ``size`` samples as they are stored, one after the other.

    For strategies of which a turn is bought for a block as a whole: order p looks at block p modulo
    the number of blocks, samples in their stored order.
    """

    size: int = 1

    def columns(self, n_items: int, n_samples: int) -> Columns:
        """See ``Permutations``."""
        blocks = max(n_samples // self.size, 1)
        begins = np.arange(self.n) % blocks * self.size
        rotated = (np.arange(n_samples)[None, :] + begins[:, None]) % max(n_samples, 1)
        return np.broadcast_to(rotated, (n_items, self.n, n_samples))


STORED = Permutations(n=1, shuffled=False)
"""The one order in which the samples were bought."""


@functools.lru_cache(maxsize=16)
def _columns(permutations: Permutations, n_items: int, n_samples: int) -> Columns:
    columns = np.broadcast_to(np.arange(n_samples), (n_items, permutations.n, n_samples)).copy()
    if permutations.shuffled:
        # Up to ``n_samples`` orders are rotations of one permutation, evenly spread: each order is
        # uniform by itself, and every sample comes first (second, …) about equally often.
        rng = np.random.default_rng([permutations.seed, n_samples])
        for start in range(0, permutations.n, n_samples):
            together = min(n_samples, permutations.n - start)
            permuted = rng.permuted(np.tile(np.arange(n_samples), (n_items, 1)), axis=1)
            shifts = np.arange(together) * n_samples // together
            rotated = (np.arange(n_samples)[None, :] + shifts[:, None]) % n_samples
            columns[:, start : start + together] = permuted[:, rotated]
    columns.setflags(write=False)
    return columns


@functools.lru_cache(maxsize=16)
def _places(permutations: Permutations, n_items: int, n_samples: int) -> npt.NDArray[np.int32]:
    begins = np.repeat(np.arange(n_items) * n_samples, permutations.n)
    columns = permutations.columns(n_items, n_samples).reshape(-1, n_samples)
    # In C order: what is read together lies together.
    places = np.add(columns.T, begins, dtype=np.int32, order="C")
    places.setflags(write=False)
    return places
