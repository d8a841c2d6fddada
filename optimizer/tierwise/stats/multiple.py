"""Several tests at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


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
