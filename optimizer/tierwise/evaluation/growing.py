"""Arrays along the draws, computed as far as anybody has asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)

USUAL_DRAWS = 17
"""Most strategies stop by then."""


class Growing(Generic[Scalar]):
    """``values``, (draws, n_rows): row t is ``row(t, values)``, made from the rows before it.

    There is room for the usual draws at first; it doubles as more are asked for.

    Attributes:
        nbytes: what the known rows take.
    """

    def __init__(
        self, n_rows: int, dtype: npt.DTypeLike,
        row: Callable[[int, npt.NDArray[Scalar]], npt.NDArray[Scalar]],
    ) -> None:  # fmt: skip
        self._values: npt.NDArray[Scalar] = np.empty((USUAL_DRAWS, n_rows), dtype=dtype)
        self._row, self._known, self.nbytes = row, 0, 0

    def upto(self, draws: int) -> npt.NDArray[Scalar]:
        """The array; the first ``draws`` rows are known, what lies beyond may not be."""
        if draws > self._known:
            self._grow(draws)
        return self._values

    def at(self, draw: int) -> npt.NDArray[Scalar]:
        """Row ``draw``."""
        row: npt.NDArray[Scalar] = self.upto(draw + 1)[draw]
        return row

    def _grow(self, draws: int) -> None:
        if draws > len(self._values):
            room = max(draws, 2 * len(self._values))
            wider = np.empty((room, self._values.shape[1]), dtype=self._values.dtype)
            wider[: self._known] = self._values[: self._known]
            self._values = wider
        for t in range(self._known, draws):
            self._values[t] = self._row(t, self._values)
        self._known, self.nbytes = draws, self._values[:draws].nbytes
