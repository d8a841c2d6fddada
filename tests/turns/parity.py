"""What the plain evaluation says of an item, the runtime does: draw by draw, to the last cent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tierwise.evaluation import Evaluator, Orders, SampleTable, replay
from tierwise.recipe import Policy
from tierwise.serving import PolicyRuntime
from tierwise.task import Item


async def assert_served_as_replayed(
    runtime: PolicyRuntime, policy: Policy, table: SampleTable, items: Sequence[Item]
) -> None:
    """Of each of ``items``, which are the table's: answer, draws, parents, seconds and dollars."""
    codes: dict[tuple[int, str], str] = {}
    for i, item in enumerate(items):
        said, got = replay(policy, table, i), await runtime.answer(dict(item.inputs))
        assert (said.usd, said.index, said.ended) == (got.usd, got.chosen, got.ended)
        assert list(said.parents) == [d.parent for d in got.trace]
        assert [a.label for a in said.arms] == [d.arm for d in got.trace]
        assert [d.latency_s for d in said.draws] == [d.latency_s for d in got.trace]
        for drawn, traced in zip(said.draws, got.trace, strict=True):
            code = drawn.draw.answer
            assert (code is None) == (traced.answer is None)
            if code is not None:
                assert codes.setdefault((i, code), traced.answer) == traced.answer


def assert_evaluated_as_replayed(policy: Policy, table: SampleTable) -> None:
    """Dollars and draws of each item, over three orders."""
    orders = Orders(3, 1)
    got = Evaluator(table, orders).evaluate(policy)
    for i in range(table.n_items):
        said = [replay(policy, table, i, orders, o) for o in range(orders.n)]
        assert got.usd[i] == pytest.approx(np.mean([s.usd for s in said]))
        assert got.draws[i] == pytest.approx(np.mean([len(s.draws) for s in said]))
