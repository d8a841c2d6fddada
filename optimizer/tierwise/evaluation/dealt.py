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

from tierwise.evaluation.growing import Growing
from tierwise.evaluation.orders import Orders
from tierwise.evaluation.table import ArmTable
from tierwise.strategies import deal

Floats = npt.NDArray[np.float64]
Measure = npt.NDArray[np.float32]
"""Scores and dollars of rows: in single precision, which is exact to 1e-7 and twice as fast."""
Codes = npt.NDArray[np.signedinteger[Any]]
Positions = npt.NDArray[np.intp]
Position = npt.NDArray[np.signedinteger[Any]]
Scalar = TypeVar("Scalar", bound=np.generic)
Kept = TypeVar("Kept")


USUAL_DRAWS = 17
"""Most strategies stop by then."""


def pick(
    values: npt.NDArray[Scalar], position: npt.NDArray[np.signedinteger[Any]], rows: Positions
) -> npt.NDArray[Scalar]:
    """``values[position, rows]`` of a contiguous (length, n_rows); read flat, which is faster."""
    at = np.multiply(position, values.shape[1], dtype=np.intp)
    at += rows
    # Not mode="raise", which reads all indices once more; they are right by construction.
    flat: npt.NDArray[Scalar] = values.ravel().take(at, mode="wrap")
    return flat


class ArmRows:
    """One arm's draws laid out by order.

    Attributes:
        answers, score, prompt_usd, completion_usd: (depth, n_rows).
        completion_paid, prompt_paid: (depth + 1, n_rows), dollars for the first t draws, the
            prompts as if each draw was a call of its own.
        complete: (n_rows,), rows whose item has all draws.
    """

    def __init__(self, arm: ArmTable, orders: Orders) -> None:
        n_items = arm.answers.shape[0]
        self.depth, self.takes_n = arm.depth, arm.takes_n
        self._arm = arm
        self._kept: dict[Hashable, Floats] = {}
        columns = orders.columns(n_items, arm.depth).reshape(-1, arm.depth)
        begins = np.repeat(np.arange(n_items, dtype=np.int32) * arm.depth, orders.n)
        # In C order, and so is what it picks: a draw's row lies together and ravels without a copy.
        self._at = np.add(columns.T, begins, dtype=np.int32, order="C")
        self.answers = self.lay(_narrow(arm.answers))
        self.score = self.lay(arm.score.astype(np.float32))
        self.completion_usd = self.lay(arm.completion_usd.astype(np.float32))
        self.complete = np.repeat(arm.complete, orders.n)
        one_prompt = (arm.prompt_usd == arm.prompt_usd[:, :1]).all()
        self.prompt_of_a_call: Measure | None = None
        """(n_rows,), where an item's calls of this arm cost the same; None where not."""
        if one_prompt and arm.takes_n:
            self.prompt_of_a_call = np.repeat(arm.prompt_usd[:, 0].astype(np.float32), orders.n)

    def lay(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """(n_items, depth) -> (depth, n_rows)."""
        laid: npt.NDArray[Scalar] = values.ravel().take(self._at)
        return laid

    @functools.cached_property
    def completion_paid(self) -> Measure:
        """See the class."""
        return _running(self.completion_usd)

    @functools.cached_property
    def prompt_usd(self) -> Measure:
        """See the class."""
        return self.lay(self._arm.prompt_usd.astype(np.float32))

    @functools.cached_property
    def prompt_paid(self) -> Measure:
        """See the class."""
        return _running(self.prompt_usd)

    @property
    def verifiers(self) -> tuple[str, ...]:
        """Names of the verifiers that scored this arm's draws."""
        return tuple(self._arm.scores)

    def verifier(self, name: str) -> Floats:
        """(depth, n_rows): the verifier's scores, NaN where there is none."""
        return self._laid(("score", name), lambda: self._scores(name))

    def rank(self, verifier: str) -> Floats:
        """(depth, n_rows): its scores; where there is none, less than any."""
        least = np.finfo(np.float64).min
        return self._laid(("rank", verifier), lambda: np.fmax(self._scores(verifier), least))

    def weight(self, verifier: str) -> Floats:
        """(depth, n_rows): exp(score), as ``WeightedConsistency`` weighs; 0 where there is none."""

        def weights() -> Floats:
            scores = self._scores(verifier)
            return np.where(np.isnan(scores), 0.0, np.exp(np.minimum(scores, 0.0)))

        return self._laid(("weight", verifier), weights)

    def _scores(self, verifier: str) -> Floats:
        missing = np.full(self._arm.score.shape, np.nan)
        return self._arm.scores.get(verifier, missing)

    def _laid(self, what: Hashable, values: Callable[[], Floats]) -> Floats:
        if what not in self._kept:
            self._kept[what] = self.lay(values())
        return self._kept[what]


class Dealt:
    """The draws of ``arms`` as dealt, after those of ``first`` (indices of arms: a probe's draws).

    Attributes:
        length: draws until an arm would run out.
        counts: (length + 1, n_arms), draws of each arm among the first t.
        arm_at: (length,), the arm of each draw.
    """

    def __init__(self, arms: Sequence[ArmRows], first: Sequence[int] = ()) -> None:
        self.arms = tuple(arms)
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
        self._kept: dict[Hashable, Any] = {}

    @property
    def nbytes(self) -> int:
        """What its arrays take, about: they grow with use."""
        each = 12 if len(self.arms) == 1 else 18  # bytes a draw, where most strategies go along it
        return min(self.length, USUAL_DRAWS) * int(self.n_rows) * each

    @property
    def small(self) -> type[np.int8 | np.int16]:
        """An integer that holds the place of any draw."""
        return np.int8 if self.length < np.iinfo(np.int8).max else np.int16

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all rows have all draws."""
        return bool(self.complete.all())

    def at(self, draw: int, values: Sequence[npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
        """(n_rows,): what the dealt ``draw`` has in one (depth, n_rows) array an arm."""
        row: npt.NDArray[Scalar] = values[self.arm_at[draw]][self._position_at[draw]]
        return row

    def merge(self, values: Sequence[npt.NDArray[Scalar]], upto: int) -> npt.NDArray[Scalar]:
        """(upto, n_rows), the first ``upto`` dealt, from one (depth, n_rows) array an arm."""
        return np.array([self.at(t, values) for t in range(upto)])

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([arm.verifier(name) for arm in self.arms], upto)

    def answers(self, upto: int) -> Codes:
        """(upto, n_rows): answer codes."""
        return self.merge([arm.answers for arm in self.arms], upto)

    def score_at(self, chosen: Position, upto: int) -> Measure:
        """(n_rows,): the metric of the draw at ``chosen``, one of the first ``upto``."""
        return pick(self._scores.upto(upto), chosen, self.all_rows)

    def completion_usd(self, start: int, end: Position | int, upto: int) -> Measure:
        """(n_rows,): dollars for the completions of draws ``start`` to ``end - 1``."""
        paid = self._paid.upto(upto + 1)
        total: Measure = paid[end] if isinstance(end, int) else pick(paid, end, self.all_rows)
        return total - paid[start] if start else total

    @functools.cached_property
    def _scores(self) -> Growing[np.float32]:
        scores = [arm.score for arm in self.arms]
        if len(scores) == 1:
            return Growing.whole(scores[0])
        return Growing(self.n_rows, np.float32, lambda draw, _: self.at(draw, scores))

    @functools.cached_property
    def _paid(self) -> Growing[np.float32]:
        """(draws + 1, n_rows): dollars for the completions of the first draws."""
        if len(self.arms) == 1:
            return Growing.whole(self.arms[0].completion_paid)
        usd, total = [arm.completion_usd for arm in self.arms], np.zeros(self.n_rows)

        def after(draws: int, _: Measure) -> Measure:
            if draws:
                np.add(total, self.at(draws - 1, usd), out=total)
            return total.astype(np.float32)

        return Growing(self.n_rows, np.float32, after)

    def kept(self, what: Hashable, compute: Callable[[], Kept]) -> Kept:
        """Something about these draws, computed once."""
        if what not in self._kept:
            self._kept[what] = compute()
        value: Kept = self._kept[what]
        return value

    @functools.cached_property
    def waits(self) -> list[list[int]]:
        """``waits[seen][arm]``: draws of other arms that come before the arm's next."""
        waits = [[0] * len(self.arms)]
        for arm in reversed(self.arm_at.tolist()):
            waits.append([0 if a == arm else wait + 1 for a, wait in enumerate(waits[-1])])
        return waits[::-1]


def _narrow(answers: npt.NDArray[np.int16]) -> Codes:
    """In one byte where the codes fit: comparing them is what votes spend their time on."""
    return answers.astype(np.int8) if answers.max(initial=0) <= np.iinfo(np.int8).max else answers


def _running(values: Measure) -> Measure:
    running = np.empty((values.shape[0] + 1, values.shape[1]), dtype=np.float32)
    total = np.zeros(values.shape[1])
    for t, row in enumerate(values):
        running[t] = total
        total += row
    running[-1] = total
    return running
