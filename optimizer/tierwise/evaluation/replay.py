"""The plain evaluation: an episode over stored draws, one item and one order at a time.

This is the contract that the vectorised path (``evaluator``) must equal to the last choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tierwise.episode import Drawn, Outcome, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.orders import STORED, Orders
from tierwise.evaluation.table import ABSTAINED, ArmTable, SampleTable
from tierwise.recipe import Arm, DrawBill, Policy
from tierwise.strategies import Draw, Strategy


class Replayed(NamedTuple):
    """An episode over stored draws, and in which column of its arm's table each draw is."""

    outcome: Outcome
    columns: tuple[int, ...]

    def score(self, table: SampleTable, item: int) -> float:
        """The metric of the answer that was returned; 0 where there is none."""
        index = self.outcome.index
        if index is None:
            return 0.0
        return float(table.of(self.outcome.arms[index]).score[item, self.columns[index]])


def replay(
    policy: Policy,
    table: SampleTable,
    item: int,
    orders: Orders = STORED,
    order: int = 0,
    *,
    strategies: Sequence[Strategy] | None = None,
) -> Outcome:
    """The episode of one item under one order of its draws.

    Raises:
        UnsupportedError: the episode asks for a draw or an arm that the table does not have.
    """
    return replayed(policy, table, item, orders, order, strategies=strategies).outcome


def replayed(
    policy: Policy,
    table: SampleTable,
    item: int,
    orders: Orders = STORED,
    order: int = 0,
    *,
    strategies: Sequence[Strategy] | None = None,
) -> Replayed:
    """``replay``, with the place of each draw in the table."""
    rounds = episode(policy, strategies or strategies_of(policy), table.inputs[item])
    taken: dict[Arm, int] = {}
    columns: list[int] = []
    try:
        round_ = next(rounds)
        while True:
            drawn = []
            for arm, parent in zip(round_.arms, round_.parents, strict=True):
                if parent is None:
                    position = taken.get(arm, 0)
                    taken[arm] = position + 1
                    column = column_of(table, item, orders, order, arm, position)
                else:
                    column = columns[parent]
                columns.append(column)
                rows = _rows_with(table, item, arm, column)
                call = arm if parent is None else (arm, parent)
                drawn.append(_draw(rows, (item, column), call, round_.timeout_s))
            round_ = rounds.send(drawn)
    except StopIteration as end:
        return Replayed(end.value, tuple(columns))


def column_of(
    table: SampleTable, item: int, orders: Orders, order: int, arm: Arm, position: int
) -> int:
    """Column of the draw that is an arm's ``position``-th under this order."""
    rows = table.of(arm)
    depth = rows.depth
    if position >= depth:
        raise UnsupportedError(f"{arm.label} has {depth} draws an item, {position + 1} were asked")
    column = int(orders.columns(table.n_items, depth)[item, order, position])
    _rows_with(table, item, arm, column)
    return column


def _rows_with(table: SampleTable, item: int, arm: Arm, column: int) -> ArmTable:
    rows = table.of(arm)
    if column >= rows.depth or np.isnan(rows.score[item, column]):
        raise UnsupportedError(f"draw {column} of {arm.label} is missing for item {item}")
    return rows


def _draw(rows: ArmTable, at: tuple[int, int], call: object, timeout_s: float | None) -> Drawn:
    bill = DrawBill(call, float(rows.prompt_usd[at]), float(rows.completion_usd[at]), rows.takes_n)
    latency_s = float(rows.latency_s[at])
    if timeout_s is not None and latency_s > timeout_s:
        # It was sent and is billed, but came too late.
        return Drawn(Draw(None, failed=True), bill, timeout_s)
    code = int(rows.answers[at])
    answer = None if code == ABSTAINED else str(code)
    scores = {name: float(values[at]) for name, values in rows.scores.items()}
    fresh = None if rows.fresh is None or rows.fresh[at] < 0 else int(rows.fresh[at])
    match = 0.0 if rows.match is None else float(rows.match[at])
    return Drawn(Draw(answer, scores, fresh=fresh, match=match), bill, latency_s)
