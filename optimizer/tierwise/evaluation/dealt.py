"""Draws of a recipe's arms in the order in which they are dealt, over all orders at once.

Rows are (item, order) pairs, item-major; arrays are (length, n_rows), so that the draws at one
position lie together. Dealing looks only at how many draws each arm has had, hence it is the same
for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar

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
        self.complete = np.logical_and.reduce([arm.complete for arm in arms])

    @property
    def nbytes(self) -> int:
        """What its lazily built arrays take at most."""
        return self.length * int(self.n_rows) * (6 if len(self.arms) == 1 else 24)

    def merge(self, values: Sequence[npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
        """(length, n_rows) from one (depth, n_rows) array an arm."""
        if len(values) == 1:
            return values[0][: self.length]
        merged = np.empty((self.length, self.n_rows), dtype=values[0].dtype)
        for a, rows in enumerate(values):
            at = self._arm_at == a
            merged[at] = rows[self._position_at[at]]
        return merged

    @functools.cached_property
    def answers(self) -> Codes:
        """(length, n_rows): answer codes."""
        return self.merge([arm.answers for arm in self.arms])

    @functools.cached_property
    def score(self) -> Floats:
        """(length, n_rows): the metric of each draw."""
        return self.merge([arm.score for arm in self.arms])

    def verifier(self, name: str) -> Floats:
        """(length, n_rows): a verifier's scores."""
        return self.merge([arm.verifier(name) for arm in self.arms])

    @functools.cached_property
    def votes(self) -> VoteStates:
        """The state of a plurality vote after each draw."""
        return VoteStates(self.answers)

    @functools.cached_property
    def agreeing(self) -> Codes:
        """(length, n_rows): how many draws up to this one gave its answer without a break."""
        runs = np.ones(self.answers.shape, dtype=np.int16)
        for t in range(self.length):
            if t:
                runs[t] += np.where(self.answers[t] == self.answers[t - 1], runs[t - 1], 0)
            runs[t][self.answers[t] == ABSTAINED] = 0
        return runs

    def completion_usd(self, start: int, end: Positions, rows: Positions) -> Floats:
        """(len(rows),): dollars for the completions of draws ``start`` to ``end - 1``."""
        total = np.zeros(len(rows))
        for a, arm in enumerate(self.arms):
            paid = arm.completion_paid
            total += paid[self.counts[end, a], rows] - paid[self.counts[start, a], rows]
        return total

    def prompt_usd(self, start: Positions, end: Positions, rows: Positions) -> Floats:
        """(len(rows),): dollars for the prompts of one round, draws ``start`` to ``end - 1``."""
        total = np.zeros(len(rows))
        for a, arm in enumerate(self.arms):
            first, last = self.counts[start, a], self.counts[end, a]
            if arm.takes_n:
                bill = arm.prompt_usd[np.minimum(first, arm.depth - 1), rows]
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
        self.code = np.empty((length, n_rows), dtype=np.int32)
        self.winner = np.empty((length, n_rows), dtype=np.int16)
        never = length
        n_answers = int(answers.max(initial=0)) + 1
        rows = np.arange(n_rows)
        counts = np.zeros((n_answers, n_rows), dtype=np.int16)
        first = np.full((n_answers, n_rows), never, dtype=np.int16)
        leader = np.full(n_rows, ABSTAINED, dtype=np.int16)
        lead, runner_up, winner = (np.zeros(n_rows, dtype=np.int16) for _ in range(3))
        for t, answer in enumerate(answers):
            voted = answer != ABSTAINED
            at = np.where(voted, answer, 0)
            count = counts[at, rows] + voted
            counts[at, rows] = count
            seen_at = np.minimum(first[at, rows], np.where(voted, t, never).astype(np.int16))
            first[at, rows] = seen_at
            leads = voted & (at == leader)
            other = voted & ~leads
            passes = other & (count > lead)
            overtakes = passes | (other & (count == lead) & (seen_at < winner))
            runner_up = np.where(other, np.maximum(runner_up, np.minimum(count, lead)), runner_up)
            lead = np.where(leads | passes, count, lead)
            leader = np.where(overtakes, at, leader)
            winner = np.where(overtakes, seen_at, winner)
            self.code[t] = lead.astype(np.int32) * self.base + runner_up
            self.winner[t] = winner


def _running(values: Floats) -> Floats:
    total = np.zeros((values.shape[0] + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    return total
