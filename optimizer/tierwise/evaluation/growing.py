"""Arrays along the draws, computed as far as anybody has asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)

FIRST_ROOM = 8
"""Draws that there is room for at first; it doubles as more are asked for."""


class Growing(Generic[Scalar]):
    """``values``, (draws, n_rows): row t is ``row(t, values)``, made from the rows before it."""

    def __init__(
        self, n_rows: int, dtype: type[Scalar],
        row: Callable[[int, npt.NDArray[Scalar]], npt.NDArray[Scalar]],
    ) -> None:  # fmt: skip
        self._values = np.empty((FIRST_ROOM, n_rows), dtype=dtype)
        self._row, self._known = row, 0

    @classmethod
    def whole(cls, values: npt.NDArray[Scalar]) -> Growing[Scalar]:
        """One that is known already."""
        grown = cls(0, values.dtype.type, lambda t, known: known[t])
        grown._values, grown._known = values, len(values)
        return grown

    def upto(self, draws: int) -> npt.NDArray[Scalar]:
        """The array; the first ``draws`` rows are known, what lies beyond may not be."""
        if draws > len(self._values):
            room = max(draws, 2 * len(self._values))
            wider = np.empty((room, self._values.shape[1]), dtype=self._values.dtype)
            wider[: self._known] = self._values[: self._known]
            self._values = wider
        for t in range(self._known, draws):
            self._values[t] = self._row(t, self._values)
        self._known = max(self._known, draws)
        return self._values
