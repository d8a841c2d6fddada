"""Cascades are listed from the samples: where two models fail on different items they are found."""

from __future__ import annotations

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable, VariantTable
from tierwise.schema import Variant, uniform
from tierwise.schema.space import Range, SearchSpace
from tierwise.search.allocation import KEPT, cascades
from tierwise.search.selection import Candidate, select_points
from tierwise.search.space import SINGLE, Dimensions

SPACE = SearchSpace(
    "cascades", strategies={"single": {}, "cascade": {"stages": (2, 3), "samples": Range(1, 3)}}
)
A, B, STRONG = (Variant(n, "direct", 0.0) for n in ("a", "b", "strong"))


def table(n: int = 600, seed: int = 0) -> SampleTable:
    """Two cheap models right on .8 of the items each, at random; a strong one on .95 at 20
    times."""
    rng = np.random.default_rng(seed)

    def rows(accuracy: float, usd: float) -> VariantTable:
        right = rng.random((n, 3)) < accuracy
        wrong = rng.integers(1, 50, right.shape)
        cost = np.full(right.shape, usd)
        answers = np.where(right, 0, wrong).astype(np.int16)
        return VariantTable(answers, right.astype(float), cost / 2, cost / 2, cost)

    variants = {A: rows(0.8, 1.0), B: rows(0.8, 1.0), STRONG: rows(0.95, 20.0)}
    return SampleTable(tuple(f"i{i:04}" for i in range(n)), ({"q": ""},) * n, variants)


def found(space: SearchSpace = SPACE) -> tuple[Evaluator, list]:
    evaluator = Evaluator(table(), Permutations(4))
    return evaluator, cascades(
        evaluator, Dimensions(space, dict.fromkeys((A, B, STRONG), 3), False)
    )


def test_two_that_agree_else_the_strong_one_is_level_at_a_fraction_of_the_dollars() -> None:
    evaluator, policies = found()
    singles = [uniform(variant, SINGLE) for variant in (STRONG, A, B)]
    candidates = [Candidate(p, -1, evaluator.evaluate(p)) for p in (*singles, *policies)]
    level = select_points(candidates, "economy", margin=0.02)["economy"].candidate
    assert level.policy.buckets[0].strategy.kind == "cascade"
    strong = candidates[0].evaluation
    assert level.evaluation.mean_usd < 0.6 * strong.mean_usd
    assert level.evaluation.mean_score > strong.mean_score - 0.005


def test_they_are_few_and_the_same_each_time() -> None:
    first, second = found()[1], found()[1]
    assert first == second
    assert 0 < len(first) <= KEPT


def test_there_are_none_where_the_space_does_not_name_them() -> None:
    assert found(SearchSpace("votes", strategies={"single": {}}))[1] == []
