"""Draws of a recipe's arms in the order in which they are dealt, over all orders at once.

Dealing looks only at how many draws each arm has had, hence it is the same for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.arm_rows import ArmRows, Codes, Floats, Measure, Scalar
from tierwise.evaluation.growing import Growing
from tierwise.strategies import deal

Positions = npt.NDArray[np.intp]
Counts = npt.NDArray[np.unsignedinteger[Any]]
"""Numbers and places of draws: in bytes where these are enough, see ``small``."""


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


class Dealt:
    """The draws of ``arms`` as dealt, after those of ``first`` (indices of arms: a probe's draws).

    Attributes:
        length: draws until an arm would run out.
        counts: (n_arms, length + 1), draws of each arm among the first t.
        arm_at: the arm of each of the ``length`` draws.
    """

    def __init__(self, arms: Sequence[ArmRows], first: Sequence[int] = ()) -> None:
        self.arms = tuple(arms)
        begun = [list(first).count(arm) for arm in range(len(arms))]
        counts, arm_at, position_at = [[0] * len(arms)], list[int](), list[int]()
        for arm in [*first, *deal(begun, sum(arm.depth for arm in arms))]:
            have = counts[-1].copy()
            if have[arm] == arms[arm].depth:
                break
            arm_at.append(arm)
            position_at.append(have[arm])
            have[arm] += 1
            counts.append(have)
        self.length = len(arm_at)
        self.arm_at = arm_at
        self.counts = np.array(counts, dtype=np.intp).T.copy()
        self._places = list(zip(arm_at, position_at, strict=True))
        self.n_rows = arms[0].n_rows
        self._all_rows = _numbers(self.n_rows)

    @functools.cached_property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n_rows,): rows that have all draws."""
        complete: npt.NDArray[np.bool_] = np.logical_and.reduce([a.complete for a in self.arms])
        return complete

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all rows have all draws."""
        return bool(self.complete.all())

    def at(self, draw: int, values: Sequence[Growing[Scalar]]) -> npt.NDArray[Scalar]:
        """(n_rows,): what the dealt ``draw`` has in one (draws, n_rows) an arm."""
        arm, position = self._places[draw]
        return values[arm].at(position)

    def merge(self, values: Sequence[Growing[Scalar]], upto: int) -> npt.NDArray[Scalar]:
        """(upto, n_rows), the first ``upto`` dealt, from one (draws, n_rows) an arm."""
        return np.array([self.at(t, values) for t in range(upto)])

    def flat(
        self, position: npt.NDArray[np.integer[Any]], through: Positions | None = None
    ) -> Positions:
        """(n_rows,): where each row's ``position`` lies in a ravelled (draws, n_rows).

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
        """(n_rows,): of each row ``values[position]``; ``values`` is a contiguous (draws, n_rows).

        With ``through`` it is ``values[through[position]]``. Read flat, which is faster.
        """
        picked: npt.NDArray[Scalar] = values.ravel().take(self.flat(position, through))
        return picked

    def score_at(self, chosen: Counts, upto: int) -> Measure:
        """(n_rows,): the metric of the draw at ``chosen``, one of the first ``upto``."""
        places = [self.arms[arm].score_place(position) for arm, position in self._places[:upto]]
        return self.pick(self.arms[0].scores.values, chosen, np.array(places))

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([arm.verifier(name) for arm in self.arms], upto)

    def answers(self, upto: int) -> Codes:
        """(upto, n_rows): answer codes."""
        return self.merge([arm.answers for arm in self.arms], upto)

    def waits(self, seen: int) -> list[int]:
        """For each arm: draws of other arms that come before its next, after ``seen`` draws."""
        return [
            self.arm_at.index(arm, seen) - seen if arm in self.arm_at[seen:] else self.length - seen
            for arm in range(len(self.arms))
        ]
