"""Arrays along the samples, computed as far as anybody has asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)

USUAL_SAMPLES = 17
"""Most strategies stop by then."""


class Growing(Generic[Scalar]):
    """``values``, (samples, n_rows): row t is ``row(t, values)``, made from the rows before it.

    There is room for the usual samples at first; it doubles as more are asked for.

    Attributes:
        nbytes: what the known rows take.
    """

    def __init__(
        self,
        n_rows: int,
        dtype: npt.DTypeLike,
        row: Callable[[int, npt.NDArray[Scalar]], npt.NDArray[Scalar]],
    ) -> None:
        self._values: npt.NDArray[Scalar] = np.empty((USUAL_SAMPLES, n_rows), dtype=dtype)
        self._row, self._known, self.nbytes = row, 0, 0

    def upto(self, samples: int) -> npt.NDArray[Scalar]:
        """The array; the first ``samples`` rows are known, what lies beyond may not be."""
        if samples > self._known:
            self._grow(samples)
        return self._values

    def at(self, sample: int) -> npt.NDArray[Scalar]:
        """Row ``sample``."""
        row: npt.NDArray[Scalar] = self.upto(sample + 1)[sample]
        return row

    def _grow(self, samples: int) -> None:
        if samples > len(self._values):
            room = max(samples, 2 * len(self._values))
            wider = np.empty((room, self._values.shape[1]), dtype=self._values.dtype)
            wider[: self._known] = self._values[: self._known]
            self._values = wider
        for t in range(self._known, samples):
            self._values[t] = self._row(t, self._values)
        self._known, self.nbytes = samples, self._values[:samples].nbytes
