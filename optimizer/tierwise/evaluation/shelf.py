"""Rows of many variants in one block, so that one index finds a sample of any of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FIRST_ROOM = 64
"""Rows that there is room for at first; it doubles as more are put down."""


class Shelf:
    """``values``, (rows, n_rows): what was put down, in the order in which it came."""

    def __init__(self, n_rows: int) -> None:
        self._values = np.empty((FIRST_ROOM, n_rows), dtype=np.float32)
        self._taken = 0

    def put(self, row: npt.NDArray[np.float32]) -> int:
        """The place that ``row`` got."""
        if self._taken == len(self._values):
            wider = np.empty((2 * self._taken, self._values.shape[1]), dtype=np.float32)
            wider[: self._taken] = self._values
            self._values = wider
        self._values[self._taken] = row
        self._taken += 1
        return self._taken - 1

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The block; rows beyond those put down mean nothing."""
        return self._values
