"""The plain evaluation: an episode over stored draws, one item and one order at a time.

This is the contract that the vectorised path (``evaluator``) must equal to the last choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.episode import Drawn, Outcome, Round, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.orders import STORED, Orders
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Arm, DrawBill, Policy
from tierwise.strategies import Draw, Strategy


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
    rounds = episode(policy, strategies or strategies_of(policy), table.inputs[item])
    taken: dict[Arm, int] = {}
    try:
        round_ = next(rounds)
        while True:
            drawn = []
            for arm in round_.arms:
                position = taken.get(arm, 0)
                taken[arm] = position + 1
                column = column_of(table, item, orders, order, arm, position)
                drawn.append(_draw(table, item, column, arm, round_))
            round_ = rounds.send(drawn)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def column_of(
    table: SampleTable, item: int, orders: Orders, order: int, arm: Arm, position: int
) -> int:
    """Column of the draw that is an arm's ``position``-th under this order."""
    rows = table.of(arm)
    depth = rows.depth
    if position >= depth:
        raise UnsupportedError(f"{arm.label} has {depth} draws an item, {position + 1} were asked")
    column = int(orders.columns(table.n_items, depth)[item, order, position])
    if np.isnan(rows.score[item, column]):
        raise UnsupportedError(f"draw {column} of {arm.label} is missing for item {item}")
    return column


def _draw(table: SampleTable, item: int, column: int, arm: Arm, round_: Round) -> Drawn:
    rows = table.of(arm)
    at = item, column
    bill = DrawBill(arm, float(rows.prompt_usd[at]), float(rows.completion_usd[at]), rows.takes_n)
    latency_s = float(rows.latency_s[at])
    if round_.timeout_s is not None and latency_s > round_.timeout_s:
        # It was sent and is billed, but came too late.
        return Drawn(Draw(None, failed=True), bill, round_.timeout_s)
    code = int(rows.answers[at])
    answer = None if code == ABSTAINED else str(code)
    scores = {name: float(values[at]) for name, values in rows.scores.items()}
    return Drawn(Draw(answer, scores), bill, latency_s)
