"""Which arms go on to the next stage."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.evaluation import SampleTable
from tierwise.recipe import Arm, StrategySpec
from tierwise.search.asking import watched
from tierwise.search.grid import strategies
from tierwise.search.question import Question
from tierwise.search.racing import envelope, most_useful, survivors


def keep(q: Question, table: SampleTable, arms: Sequence[Arm], n: int) -> tuple[Arm, ...]:
    """The ``n`` most useful of the arms whose envelopes over strategies are not dominated."""
    depth = min(rows.depth for rows in table.arms.values())
    dims = q.dimensions(tuple(arms), depth)
    ways = [StrategySpec.of("single"), *strategies(dims, depth, steps=3)]
    points = envelope(q.evaluator(table), arms, list(dict.fromkeys(ways)))
    return most_useful(points, survivors(points), n, always=(q.arms.baseline, *watched(q.told)))
