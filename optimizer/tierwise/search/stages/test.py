"""Test: the chosen policies and the ladder's, once, with fresh draws on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tierwise.evaluation import Evaluation, SampleTable
from tierwise.recipe import Policy, Recipe, StrategySpec
from tierwise.search import ladder
from tierwise.search.above import keeps_to_itself
from tierwise.search.depths import depth_needed
from tierwise.search.gate import Comparison, compare
from tierwise.search.grid import recipes
from tierwise.search.stages.select import LEAST_DEPTH, Selected
from tierwise.search.stages.spend import Allowed
from tierwise.search.study import Generation


@dataclass(frozen=True)
class OnTest:
    """Everything that the test split said.

    Attributes:
        rungs: the ladder's policies by name.
        evaluations: policy -> its evaluation.
        comparisons: operating point -> its comparison with the baseline.
        oracle: (n_items,) score of the oracle bound.
        beside: with tiers above, what an escalating policy is compared with, by name.
    """

    rungs: Mapping[str, Policy]
    evaluations: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    oracle: np.ndarray
    table: SampleTable
    beside: Mapping[str, Policy]


def test(allowed: Allowed, generation: Generation, selected: Selected) -> OnTest:
    """Judge what was selected, and the rungs of the ladder, which the study's own draws choose."""
    q, baseline, points = allowed.question, selected.baseline, selected.points
    rungs = ladder.rungs(
        q.arms.baseline, points[selected.chosen].policy, generation.evaluator,
        [r for r in recipes(generation.dimensions, steps=3) if keeps_to_itself(Policy((r,)))],
        [j for j in generation.judged.values() if keeps_to_itself(j.policy)],
    )  # fmt: skip
    beside = _beside(allowed, selected)
    chosen = (p.policy for p in points.values())
    finals = list(dict.fromkeys([baseline, *rungs.values(), *chosen, *beside.values()]))
    generation.evaluator.forget()
    items = q.items("test")[: q.effort.test_items]
    table = allowed.draws.table(items, depth_needed(finals, LEAST_DEPTH), "test")
    judge = q.evaluator(table, exact=False, robust=False)
    judged = {policy: judge.evaluate(policy) for policy in finals}
    comparisons = {
        point: compare(judged[c.policy], judged[baseline], margin=q.margin, seed=q.seed)
        for point, c in points.items()
    }
    full = judged[rungs["full_policy"]].score
    oracle = ladder.oracle_bound(table, _tellable(generation, table), q.orders, full)
    return OnTest(rungs, judged, comparisons, oracle, table, beside)


def _beside(allowed: Allowed, selected: Selected) -> dict[str, Policy]:
    """Never handing on, always handing on (at one draw, and as the stronger tier was tuned)."""
    q = allowed.question
    beside = {} if selected.alone is None else {f"always {q.tier.name}": selected.alone}
    for above in q.above:
        beside[f"always {above.tier.name}"] = above.one_draw
        beside[f"always {above.tier.name}, tuned"] = above.tuned
    return beside


def _tellable(generation: Generation, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single draws, as far as the table has their arms."""
    found = [Recipe((arm,), StrategySpec.of("single")) for arm in table.arms]
    found += [recipe for judged in generation.front() for recipe in judged.policy.buckets]
    return [r for r in dict.fromkeys(found) if all(arm in table.arms for arm in r.arms)]
