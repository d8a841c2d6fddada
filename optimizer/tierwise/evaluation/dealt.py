"""Draws of a recipe's arms in the order in which they are dealt, over all orders at once.

Rows are (item, order) pairs, item-major; arrays are (length, n_rows), so that the draws at one
position lie together. Dealing looks only at how many draws each arm has had, hence it is the same
for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.orders import Orders
from tierwise.evaluation.table import ABSTAINED, ArmTable
from tierwise.strategies import deal

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]
Positions = npt.NDArray[np.intp]
Scalar = TypeVar("Scalar", bound=np.generic)


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
    """The draws of ``arms`` as dealt, after ``prefill`` draws of arm ``prefilled``.

    Attributes:
        length: draws until an arm would run out.
        counts: (length + 1, n_arms), draws of each arm among the first t.
    """

    def __init__(self, arms: Sequence[ArmRows], prefilled: int = 0, prefill: int = 0) -> None:
        self.arms, self.prefill = tuple(arms), prefill
        counts, arm_at = [0] * len(arms), list[int]()
        while True:
            arm = prefilled if len(arm_at) < prefill else deal(counts, 1)[0]
            if counts[arm] == arms[arm].depth:
                break
            counts[arm] += 1
            arm_at.append(arm)
        self.length = len(arm_at)
        self._arm_at = np.array(arm_at, dtype=np.intp)
        self.counts = np.zeros((self.length + 1, len(arms)), dtype=np.intp)
        self.counts[np.arange(1, self.length + 1), self._arm_at] = 1
        self.counts = self.counts.cumsum(axis=0)
        self._position_at = self.counts[np.arange(self.length), self._arm_at]
        self.n_rows = arms[0].answers.shape[1]
        self.all_rows = np.arange(self.n_rows)
        self.complete = np.logical_and.reduce([arm.complete for arm in arms])
        self._votes: VoteStates | None = None

    @property
    def nbytes(self) -> int:
        """What its lazily built arrays take, about."""
        return min(self.length, 24) * int(self.n_rows) * 4

    def merge(self, values: Sequence[npt.NDArray[Scalar]], upto: int) -> npt.NDArray[Scalar]:
        """(upto, n_rows), the first ``upto`` dealt, from one (depth, n_rows) array an arm."""
        if len(values) == 1:
            return values[0][:upto]
        merged = np.empty((upto, self.n_rows), dtype=values[0].dtype)
        for t in range(upto):
            merged[t] = values[self._arm_at[t]][self._position_at[t]]
        return merged

    def answers(self, upto: int) -> Codes:
        """(upto, n_rows): answer codes."""
        return self.merge([arm.answers for arm in self.arms], upto)

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([arm.verifier(name) for arm in self.arms], upto)

    def score_at(self, chosen: Positions) -> Floats:
        """(n_rows,): the metric of the draw at ``chosen``."""
        position = self._position_at[chosen]
        score = self.arms[0].score[_within(position, self.arms[0]), self.all_rows]
        for a, arm in enumerate(self.arms[1:], start=1):
            other = arm.score[_within(position, arm), self.all_rows]
            score = np.where(self._arm_at[chosen] == a, other, score)
        return score

    def votes(self, upto: int) -> VoteStates:
        """The states of a plurality vote over at least the first ``upto`` draws."""
        if self._votes is None or len(self._votes.code) < upto:
            length = min(self.length, max(upto, 17))  # most caps: one computation for all of them
            self._votes = VoteStates(self.answers(length))
        return self._votes

    @functools.cached_property
    def agreeing(self) -> Codes:
        """(length, n_rows): how many draws up to this one gave its answer without a break."""
        answers = self.answers(self.length)
        runs = np.ones(answers.shape, dtype=np.int16)
        for t in range(1, self.length):
            runs[t] += runs[t - 1] * (answers[t] == answers[t - 1])
        runs *= answers != ABSTAINED
        return runs

    def completion_usd(self, end: Positions) -> Floats:
        """(n_rows,): dollars for the completions of draws ``prefill`` to ``end - 1``."""
        total = np.zeros(self.n_rows)
        for a, arm in enumerate(self.arms):
            paid = arm.completion_paid
            total += paid[self.counts[end, a], self.all_rows]
            total -= paid[self.counts[self.prefill, a]]
        return total

    def prompt_usd(self, start: Positions, end: Positions, rows: Positions) -> Floats:
        """(len(rows),): dollars for the prompts of one round, draws ``start`` to ``end - 1``."""
        total = np.zeros(len(rows))
        for a, arm in enumerate(self.arms):
            first, last = self.counts[start, a], self.counts[end, a]
            if arm.takes_n:
                bill = arm.prompt_usd[_within(first, arm), rows]
                total += bill if len(self.arms) == 1 else np.where(last > first, bill, 0.0)
            else:
                total += arm.prompt_paid[last, rows] - arm.prompt_paid[first, rows]
        return total


class VoteStates:
    """Counts of leader and runner-up after each draw, and whose answer leads.

    Attributes:
        base: one more than the most votes there can be.
        code: (length, n_rows), ``lead * base + runner_up`` after draw t.
        winner: (length, n_rows), position of the first draw with the leading answer; while there
            are only abstentions, of the first draw.
    """

    def __init__(self, answers: Codes) -> None:
        length, n_rows = answers.shape
        self.base = length + 1
        small: type[np.int8 | np.int16] = np.int8 if length < 127 else np.int16
        narrow = answers.astype(np.int8) if answers.max(initial=0) < 127 else answers
        self.code = np.empty((length, n_rows), dtype=np.int16 if length < 180 else np.int32)
        self.winner = np.empty((length, n_rows), dtype=small)
        earliest = np.arange(length, 0, -1, dtype=small)[:, None]
        lead: npt.NDArray[Any] = np.zeros(n_rows, dtype=small)
        runner_up, winner = lead.copy(), lead.copy()
        for t in range(length):
            # Comparing with every earlier draw is quadratic, and yet many times as fast as counting
            # by scattered indices, because it is branch-free arithmetic on small integers; so is
            # all that follows, where np.where would read more plainly and take ten times as long.
            same = (narrow[: t + 1] == narrow[t]).view(np.int8)
            count: npt.NDArray[Any] = np.zeros(n_rows, dtype=small)
            for earlier in same:
                count += earlier
            first = length - (same * earliest[: t + 1]).max(axis=0)
            voted = narrow[t] != ABSTAINED
            count *= voted
            other = voted & ~((first == winner) & (lead > 0))
            overtakes = other & ((count > lead) | ((count == lead) & (first < winner)))
            np.maximum(runner_up, np.minimum(count, lead) * other, out=runner_up)
            np.maximum(lead, count, out=lead)
            winner += (first - winner) * overtakes
            np.multiply(lead, self.base, out=self.code[t], dtype=self.code.dtype)
            self.code[t] += runner_up
            self.winner[t] = winner


def _within(position: Positions, arm: ArmRows) -> Positions:
    """``position`` where the arm has such a draw; elsewhere any, since it is not looked at."""
    return np.minimum(position, arm.depth - 1)


def _running(values: Floats) -> Floats:
    total = np.zeros((values.shape[0] + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    return total
