"""Draws of a recipe's arms in the order in which they are dealt, over all orders at once.

Rows are (item, order) pairs, item-major; arrays are (length, n_rows), so that the draws at one
position lie together. Dealing looks only at how many draws each arm has had, hence it is the same
for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.orders import Orders
from tierwise.evaluation.table import ArmTable
from tierwise.strategies import deal

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]
Positions = npt.NDArray[np.intp]
Scalar = TypeVar("Scalar", bound=np.generic)
Kept = TypeVar("Kept")

USUAL_DRAWS = 17
"""Most strategies stop by then: what is kept along the draws is computed that far at once."""


def pick(values: npt.NDArray[Scalar], position: Positions, rows: Positions) -> npt.NDArray[Scalar]:
    """``values[position, rows]`` of a contiguous (length, n_rows); read flat, which is faster."""
    flat: npt.NDArray[Scalar] = values.ravel().take(position * values.shape[1] + rows)
    return flat


class ArmRows:
    """One arm's draws laid out by order.

    Attributes:
        answers, score, prompt_usd: (depth, n_rows).
        completion_paid, prompt_paid: (depth + 1, n_rows), dollars for the first t draws, the
            prompts as if each draw was a call of its own.
        complete: (n_rows,), rows whose item has all draws.
    """

    def __init__(self, arm: ArmTable, orders: Orders) -> None:
        n_items = arm.answers.shape[0]
        self.depth, self.takes_n = arm.depth, arm.takes_n
        self._arm = arm
        self._verifier: dict[str, Floats] = {}
        columns = orders.columns(n_items, arm.depth)
        self._columns = np.ascontiguousarray(columns.reshape(-1, arm.depth).T)
        self._items = np.repeat(np.arange(n_items), orders.n)
        self.answers = self.lay(arm.answers)
        self.score = self.lay(arm.score)
        self.prompt_usd = self.lay(arm.prompt_usd)
        self.completion_paid = _running(self.lay(arm.completion_usd))
        self.complete = np.repeat(arm.complete, orders.n)
        one_prompt = (arm.prompt_usd == arm.prompt_usd[:, :1]).all()
        self.prompt_of_a_call = self.prompt_usd[0] if one_prompt and arm.takes_n else None
        """(n_rows,), where an item's calls of this arm cost the same; None where not."""

    def lay(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """(n_items, depth) -> (depth, n_rows)."""
        return values[self._items, self._columns]

    @functools.cached_property
    def prompt_paid(self) -> Floats:
        """See the class."""
        return _running(self.prompt_usd)

    @property
    def verifiers(self) -> tuple[str, ...]:
        """Names of the verifiers that scored this arm's draws."""
        return tuple(self._arm.scores)

    def verifier(self, name: str) -> Floats:
        """(depth, n_rows): the verifier's scores, NaN where there is none."""
        if name not in self._verifier:
            values = self._arm.scores.get(name)
            missing = np.full(self.answers.shape, np.nan)
            self._verifier[name] = missing if values is None else self.lay(values)
        return self._verifier[name]


class Dealt:
    """The draws of ``arms`` as dealt, after those of ``first`` (indices of arms: a probe's draws).

    Attributes:
        length: draws until an arm would run out.
        counts: (length + 1, n_arms), draws of each arm among the first t.
        arm_at: (length,), the arm of each draw.
        in_turn: nothing came before the dealing.
    """

    def __init__(self, arms: Sequence[ArmRows], first: Sequence[int] = ()) -> None:
        self.arms, self.in_turn = tuple(arms), not first
        counts, arm_at = [0] * len(arms), list[int]()
        while True:
            arm = first[len(arm_at)] if len(arm_at) < len(first) else deal(counts, 1)[0]
            if counts[arm] == arms[arm].depth:
                break
            counts[arm] += 1
            arm_at.append(arm)
        self.length = len(arm_at)
        self.arm_at = np.array(arm_at, dtype=np.intp)
        self.counts = np.zeros((self.length + 1, len(arms)), dtype=np.intp)
        self.counts[np.arange(1, self.length + 1), self.arm_at] = 1
        self.counts = self.counts.cumsum(axis=0)
        self._position_at = self.counts[np.arange(self.length), self.arm_at]
        self.n_rows = arms[0].answers.shape[1]
        self.all_rows = np.arange(self.n_rows)
        self.complete = np.logical_and.reduce([arm.complete for arm in arms])
        self._kept: dict[Hashable, tuple[int, Any]] = {}

    @property
    def nbytes(self) -> int:
        """What its lazily built arrays take, about."""
        return min(self.length, USUAL_DRAWS) * int(self.n_rows) * 4

    def merge(self, values: Sequence[npt.NDArray[Scalar]], upto: int) -> npt.NDArray[Scalar]:
        """(upto, n_rows), the first ``upto`` dealt, from one (depth, n_rows) array an arm."""
        if len(values) == 1:
            return values[0][:upto]
        merged = np.empty((upto, self.n_rows), dtype=values[0].dtype)
        for t in range(upto):
            merged[t] = values[self.arm_at[t]][self._position_at[t]]
        return merged

    def answers(self, upto: int) -> Codes:
        """(upto, n_rows): answer codes."""
        return self.merge([arm.answers for arm in self.arms], upto)

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([arm.verifier(name) for arm in self.arms], upto)

    def score_at(self, chosen: Positions) -> Floats:
        """(n_rows,): the metric of the draw at ``chosen``."""
        if len(self.arms) == 1:
            return pick(self.arms[0].score, chosen, self.all_rows)
        position = self._position_at[chosen]
        score = pick(self.arms[0].score, _within(position, self.arms[0]), self.all_rows)
        for a, arm in enumerate(self.arms[1:], start=1):
            other = pick(arm.score, _within(position, arm), self.all_rows)
            score = np.where(self.arm_at[chosen] == a, other, score)
        return score

    def kept(self, what: Hashable, upto: int, compute: Callable[[int], Kept]) -> Kept:
        """Something computed once over at least the first ``upto`` draws."""
        known = self._kept.get(what)
        if known is None or known[0] < upto:
            length = min(self.length, max(upto, USUAL_DRAWS))
            known = self._kept[what] = (length, compute(length))
        value: Kept = known[1]
        return value

    def completion_usd(self, start: int, end: Positions | int) -> Floats:
        """(n_rows,): dollars for the completions of draws ``start`` to ``end - 1``."""
        total = np.zeros(self.n_rows)
        for a, arm in enumerate(self.arms):
            paid, counts = arm.completion_paid, self.counts[:, a]
            if isinstance(end, int):
                total += paid[counts[end]]
            else:
                total += pick(paid, counts.take(end), self.all_rows)
            total -= paid[counts[start]]
        return total

    def prompt_usd(self, start: Positions, end: Positions, rows: Positions) -> Floats:
        """(len(rows),): dollars for the prompts of one round, draws ``start`` to ``end - 1``."""
        total = np.zeros(len(rows))
        for a, arm in enumerate(self.arms):
            first, last = self.counts[start, a], self.counts[end, a]
            if arm.takes_n:
                bill = pick(arm.prompt_usd, _within(first, arm), rows)
                total += bill if len(self.arms) == 1 else np.where(last > first, bill, 0.0)
            else:
                total += pick(arm.prompt_paid, last, rows) - pick(arm.prompt_paid, first, rows)
        return total


class Bill:
    """Prompt dollars of each row, as rounds go by.

    Where the calls of an item cost the same and take ``n`` (which is usual), only the rounds need
    counting; and of these only the few that leave out an arm need looking at.
    """

    def __init__(self, dealt: Dealt) -> None:
        self._dealt = dealt
        flat = [arm.prompt_of_a_call for arm in dealt.arms]
        self._flat = [usd for usd in flat if usd is not None]
        self._counted = len(self._flat) == len(dealt.arms)
        self._left_out: dict[int, npt.NDArray[np.int16]] = {}
        self._usd: Floats | None = None if self._counted else np.zeros(dealt.n_rows)

    def add(self, start: Positions, end: Positions, rows: Positions) -> None:
        """A round of draws ``start`` to ``end - 1`` for ``rows``."""
        dealt = self._dealt
        if self._usd is not None:
            self._usd[rows] += dealt.prompt_usd(start, end, rows)
        elif len(dealt.arms) > 1:
            # In turn, a round of as many draws as there are arms has a draw of each.
            short = dealt.all_rows[: len(rows)]
            if dealt.in_turn:
                short = np.flatnonzero(end - start < len(dealt.arms))
            if len(short):
                self._leave_out(start[short], end[short], rows[short])

    def _leave_out(self, start: Positions, end: Positions, rows: Positions) -> None:
        for a in range(len(self._dealt.arms)):
            counts = self._dealt.counts[:, a]
            absent = counts.take(end) == counts.take(start)
            if a not in self._left_out:
                self._left_out[a] = np.zeros(self._dealt.n_rows, dtype=np.int16)
            self._left_out[a][rows] += absent

    def add_to_all(self, start: int, end: int) -> None:
        """A round of the same draws for all rows."""
        ones = np.ones(self._dealt.n_rows, dtype=np.intp)
        if self._usd is not None or len(self._dealt.arms) > 1:
            self.add(ones * start, ones * end, self._dealt.all_rows)

    def prompt_usd(self, rounds: npt.NDArray[np.int16]) -> Floats:
        """(n_rows,): dollars for the prompts of all ``rounds``."""
        if self._usd is not None:
            return self._usd
        total = np.zeros(self._dealt.n_rows)
        for a, usd in enumerate(self._flat):
            total += (rounds - self._left_out[a] if a in self._left_out else rounds) * usd
        return total


def _within(position: Positions, arm: ArmRows) -> Positions:
    """``position`` where the arm has such a draw; elsewhere any, since it is not looked at."""
    return np.minimum(position, arm.depth - 1)


def _running(values: Floats) -> Floats:
    total = np.zeros((values.shape[0] + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    return total
