"""Keys and values of the samples that run, laid out once and changed in place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.checkpoint import Floats

Ints = NDArray[np.int64]

GROWTH = 32
"""Places by which the cache grows. Most samples end within as many, and rows that have ended are not
copied: room for the longest sample would be memory that most batches clear for nothing."""


class Gaps(NamedTuple):
    """How rows close up when some of them go: the last of those that stay take their places.

    So what is copied is as much as goes, not as much as stays.
    """

    left: int
    holes: Ints
    tails: Ints

    @classmethod
    def of(cls, gone: NDArray[np.bool_]) -> Gaps:
        """The gaps that the rows ``gone`` leave."""
        left = len(gone) - int(gone.sum())
        return cls(left, np.flatnonzero(gone[:left]), left + np.flatnonzero(~gone[left:]))

    def close(self, rows: Ints) -> Ints:
        """An array of one entry a row, closed up."""
        closed = rows[: self.left].copy()
        closed[self.holes] = rows[self.tails]
        return closed


class Cache:
    """Keys and values of each layer, ``(rows, heads, capacity, head width)``.

    The first ``filled`` places are in use, in all rows alike; a row's own text begins at its
    ``first``, and padding stands before it.
    """

    def __init__(self, array: Floats, first: Ints, filled: int = 0) -> None:
        self._array = array
        """``(layers, keys and values, rows, heads, capacity, head width)``."""
        self.first, self.filled = first, filled

    @classmethod
    def empty(
        cls, layers: int, rows: int, heads: int, capacity: int, head_width: int, first: Ints
    ) -> Cache:
        """Room for ``capacity`` places a row."""
        return cls(np.empty((layers, 2, rows, heads, capacity, head_width), np.float32), first)

    @property
    def layers(self) -> Floats:
        """Keys and values, a layer after the other; what is written to them is kept."""
        return self._array[:, :, : len(self.first)]

    def next_place(self) -> int:
        """A further place, in use from now on; :attr:`layers` are to be asked for afterwards."""
        if self.filled == self._array.shape[-2]:
            self._array = self.take(np.arange(len(self.first)))._array
        self.filled += 1
        return self.filled - 1

    def take(self, rows: Ints) -> Cache:
        """The cache of ``rows``, which may repeat, with room to grow."""
        layers, _, _, heads, _, width = self._array.shape
        capacity = self.filled + GROWTH
        wide = Cache.empty(layers, len(rows), heads, capacity, width, self.first[rows])
        wide.filled = self.filled
        for mine, its in zip(self.layers, wide.layers, strict=True):
            for old, new in zip(mine, its, strict=True):
                new[:, :, : self.filled] = old[rows, :, : self.filled]
        return wide

    def close(self, gaps: Gaps) -> None:
        """Let rows go."""
        self.first = gaps.close(self.first)
        if len(gaps.holes):
            for layer in self._array:
                for each in layer:
                    each[gaps.holes, :, : self.filled] = each[gaps.tails, :, : self.filled]
