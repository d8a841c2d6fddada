"""What an evaluation says: score, dollars, samples and rounds, by row and by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.variant_rows import Floats

Measures = npt.NDArray[np.float32]
"""(4, n_rows): the measures of ``Rows``."""


class Rows(NamedTuple):
    """A measure of each (item, order), item-major; NaN where the samples do not support it."""

    score: Floats
    usd: Floats
    samples: Floats
    rounds: Floats


@dataclass(frozen=True)
class Evaluation:
    """What a policy does on each item, as the mean over orders; all arrays are (n_items,).

    ``shares`` are the buckets' shares of the (item, order) pairs.
    """

    score: Floats
    usd: Floats
    samples: Floats
    rounds: Floats
    shares: tuple[float, ...]

    @classmethod
    def of(cls, means: Floats, shares: tuple[float, ...]) -> Evaluation:
        """From (4, n_items): the measures in the order of ``Rows``."""
        score, usd, samples, rounds = means
        return cls(score, usd, samples, rounds, shares)

    @property
    def mean_score(self) -> float:
        """Mean over items; NaN where an item is not supported."""
        return float(self.score.mean())

    @property
    def mean_usd(self) -> float:
        """Dollars an item."""
        return float(self.usd.mean())


def select(bucket: npt.NDArray[np.intp], measures: Sequence[Measures | Floats]) -> Floats:
    """(4, n): for each column the measures of its bucket, easiest first."""
    chosen = measures[0].astype(np.float64)
    for b, other in enumerate(measures[1:], start=1):
        np.copyto(chosen, other, where=bucket == b)
    return chosen
