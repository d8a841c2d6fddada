"""Which variants go on to the next stage."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.evaluation import SampleTable
from tierwise.schema import StrategySpec, Variant
from tierwise.search.asking import watched
from tierwise.search.grid import strategies
from tierwise.search.problem import TierProblem
from tierwise.search.racing import envelope, most_useful, survivors


def keep(
    q: TierProblem, table: SampleTable, variants: Sequence[Variant], n: int
) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants whose envelopes over strategies are not dominated."""
    n_samples = min(rows.n_samples for rows in table.variants.values())
    dims = q.dimensions(tuple(variants), n_samples)
    ways = [StrategySpec.of("single"), *strategies(dims, n_samples, steps=3)]
    points = envelope(q.evaluator(table), variants, list(dict.fromkeys(ways)))
    return most_useful(points, survivors(points), n, always=(q.variants.baseline, *watched(q.told)))
