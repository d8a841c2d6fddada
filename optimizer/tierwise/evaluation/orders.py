"""Orders in which stored draws are looked at, common to all policies of a comparison."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Columns = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Orders:
    """``n`` random orders of each item's draws, a pure function of (seed, depth).

    ``shuffled=False`` is the order in which the draws were bought, which is what a runtime sees.
    """

    n: int = 32
    seed: int = 0
    shuffled: bool = True

    def columns(self, n_items: int, depth: int) -> Columns:
        """(n_items, n, depth): column of the k-th draw under each order."""
        return _columns(self, n_items, depth)

    def places(self, n_items: int, depth: int) -> npt.NDArray[np.int32]:
        """(depth, n_items * n): where the k-th draws lie in a ravelled (n_items, depth) array."""
        return _places(self, n_items, depth)


STORED = Orders(n=1, shuffled=False)
"""The one order in which the draws were bought."""


@functools.lru_cache(maxsize=16)
def _columns(orders: Orders, n_items: int, depth: int) -> Columns:
    columns = np.broadcast_to(np.arange(depth), (n_items, orders.n, depth)).copy()
    if orders.shuffled:
        # Up to ``depth`` orders are rotations of one permutation, evenly spread: each order is
        # uniform by itself, and every draw comes first (second, …) about equally often.
        rng = np.random.default_rng([orders.seed, depth])
        for start in range(0, orders.n, depth):
            together = min(depth, orders.n - start)
            permuted = rng.permuted(np.tile(np.arange(depth), (n_items, 1)), axis=1)
            shifts = np.arange(together) * depth // together
            rotated = (np.arange(depth)[None, :] + shifts[:, None]) % depth
            columns[:, start : start + together] = permuted[:, rotated]
    columns.setflags(write=False)
    return columns


@functools.lru_cache(maxsize=16)
def _places(orders: Orders, n_items: int, depth: int) -> npt.NDArray[np.int32]:
    begins = np.repeat(np.arange(n_items) * depth, orders.n)
    columns = orders.columns(n_items, depth).reshape(-1, depth)
    # In C order: what is read together lies together.
    places = np.add(columns.T, begins, dtype=np.int32, order="C")
    places.setflags(write=False)
    return places
