"""Samples of a recipe's variants in the order in which they are interleaved, over all orders at once.

Dealing looks only at how many samples each variant has had, hence it is the same for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.growing import Growing
from tierwise.evaluation.variant_rows import Codes, Floats, Measure, Scalar, VariantRows
from tierwise.strategies import interleave

Positions = npt.NDArray[np.intp]
Counts = npt.NDArray[np.unsignedinteger[Any]]
"""Numbers and places of samples: in bytes where these are enough, see ``small``."""


_BYTE, _WORD = np.dtype(np.uint8), np.dtype(np.uint16)


def small(most: int) -> np.dtype[np.unsignedinteger[Any]]:
    """What holds numbers up to ``most``: passes over bytes are what is fast here."""
    return _BYTE if most < 2**8 else _WORD


def ones(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The mask as numbers: to multiply by a mask itself takes twice as long."""
    return mask.view(np.uint8)


@functools.lru_cache(maxsize=64)
def _numbers(n: int) -> Positions:
    """0 to ``n - 1``; one array for all, which so stays in the processor's cache."""
    numbers = np.arange(n)
    numbers.setflags(write=False)
    return numbers


class Interleaved:
    """The samples of ``variants`` as interleaved, after those of ``first`` (indices of variants: a probe's samples).

    Attributes:
        length: samples until a variant would run out.
        counts: (n_variants, length + 1), samples of each variant among the first t.
        variant_at: the variant of each of the ``length`` samples.
    """

    def __init__(self, variants: Sequence[VariantRows], first: Sequence[int] = ()) -> None:
        self.variants = tuple(variants)
        begun = [list(first).count(variant) for variant in range(len(variants))]
        counts, variant_at, position_at = [[0] * len(variants)], list[int](), list[int]()
        for variant in [*first, *interleave(begun, sum(variant.n_samples for variant in variants))]:
            have = counts[-1].copy()
            if have[variant] == variants[variant].n_samples:
                break
            variant_at.append(variant)
            position_at.append(have[variant])
            have[variant] += 1
            counts.append(have)
        self.length = len(variant_at)
        self.variant_at = variant_at
        self.counts = np.array(counts, dtype=np.intp).T.copy()
        self._places = list(zip(variant_at, position_at, strict=True))
        self.n_rows = variants[0].n_rows
        self._all_rows = _numbers(self.n_rows)

    @functools.cached_property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n_rows,): rows that have all samples."""
        complete: npt.NDArray[np.bool_] = np.logical_and.reduce([a.complete for a in self.variants])
        return complete

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all rows have all samples."""
        return bool(self.complete.all())

    def at(self, sample: int, values: Sequence[Growing[Scalar]]) -> npt.NDArray[Scalar]:
        """(n_rows,): what the interleaved ``sample`` has in one (samples, n_rows) a variant."""
        variant, position = self._places[sample]
        return values[variant].at(position)

    def merge(self, values: Sequence[Growing[Scalar]], upto: int) -> npt.NDArray[Scalar]:
        """(upto, n_rows), the first ``upto`` interleaved, from one (samples, n_rows) a variant."""
        return np.array([self.at(t, values) for t in range(upto)])

    def flat(
        self, position: npt.NDArray[np.integer[Any]], through: Positions | None = None
    ) -> Positions:
        """(n_rows,): where each row's ``position`` lies in a ravelled (samples, n_rows).

        With ``through`` it is ``through[position]``.
        """
        at: Positions
        if through is None:
            at = position.astype(np.intp)
            at *= self.n_rows
        else:
            at = (through * self.n_rows).take(position)
        at += self._all_rows
        return at

    def pick(
        self,
        values: npt.NDArray[Scalar],
        position: npt.NDArray[np.integer[Any]],
        through: Positions | None = None,
    ) -> npt.NDArray[Scalar]:
        """(n_rows,): of each row ``values[position]``; ``values`` is a contiguous (samples, n_rows).

        With ``through`` it is ``values[through[position]]``. Read flat, which is faster.
        """
        picked: npt.NDArray[Scalar] = values.ravel().take(self.flat(position, through))
        return picked

    def score_at(self, chosen: Counts, upto: int) -> Measure:
        """(n_rows,): the metric of the sample at ``chosen``, one of the first ``upto``."""
        places = [
            self.variants[variant].score_place(position)
            for variant, position in self._places[:upto]
        ]
        return self.pick(self.variants[0].scores.values, chosen, np.array(places))

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([variant.verifier(name) for variant in self.variants], upto)

    def answers(self, upto: int) -> Codes:
        """(upto, n_rows): answer codes."""
        return self.merge([variant.answers for variant in self.variants], upto)

    def waits(self, seen: int) -> list[int]:
        """For each variant: samples of other variants that come before its next, after ``seen`` samples."""
        return [
            self.variant_at.index(variant, seen) - seen
            if variant in self.variant_at[seen:]
            else self.length - seen
            for variant in range(len(self.variants))
        ]
