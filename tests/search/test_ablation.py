"""Each step of the ablation is the best that it allows, at no more dollars than the full policy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import VARIANTS, coins
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema import Difficulty, Policy, Recipe, StrategySpec, uniform
from tierwise.search.held_out import SLACK, ablation_steps, oracle_bound

A, B, C = VARIANTS
SINGLE = StrategySpec.of("single")
N = 40
WAYS = [
    SINGLE,
    *(StrategySpec.of("self_consistency", samples=n) for n in (3, 5)),
    StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=5, window=1),
]
RECIPES = [Recipe((variant,), way) for variant in VARIANTS for way in WAYS]


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    p = {A: np.full(N, 0.45), B: np.full(N, 0.7), C: np.full(N, 0.6)}
    return Evaluator(coins(p, {A: 1.0, B: 3.0, C: 2.0}, 10), Permutations(4))


def buckets(evaluator: Evaluator) -> Policy:
    cut = float(np.median(evaluator.signal(Difficulty("length")))) + 0.5
    return Policy((Recipe((B,), WAYS[1]), Recipe((B,), WAYS[2])), Difficulty("length", (cut,)))


def test_ablation_steps_are_the_best_of_what_they_allow(evaluator: Evaluator) -> None:
    full = buckets(evaluator)
    found = ablation_steps(A, full, evaluator, RECIPES, [])
    assert tuple(found) == (
        "baseline_prompt_one_sample",
        "best_prompt_one_sample",
        "baseline_prompt_best_strategy",
        "disjoint",
        "joint_fixed_n",
        "joint_adaptive_stop",
        "full_policy",
    )
    cap = evaluator.evaluate(full).mean_usd * SLACK
    allowed = {
        "baseline_prompt_best_strategy": lambda r: r.variants == (A,),
        "disjoint": lambda r: r.variants == (B,),
        "joint_fixed_n": lambda r: r.strategy.kind != "adaptive_consistency",
        "joint_adaptive_stop": lambda r: True,
    }
    for ablation_step, rule in allowed.items():
        judged = [evaluator.evaluate(Policy((r,))) for r in RECIPES if rule(r)]
        best = max(e.mean_score for e in judged if e.mean_usd <= cap)
        got = evaluator.evaluate(found[ablation_step])
        assert got.mean_score == best, ablation_step
        assert got.mean_usd <= cap
        assert rule(found[ablation_step].buckets[0])
    assert found["baseline_prompt_one_sample"] == uniform(A, SINGLE)
    assert found["best_prompt_one_sample"] == uniform(B, SINGLE)
    assert found["full_policy"] == full


def test_where_nothing_is_cheap_enough_a_ablation_step_is_the_cheapest(
    evaluator: Evaluator,
) -> None:
    found = ablation_steps(A, uniform(A, SINGLE), evaluator, RECIPES, [])
    assert found["disjoint"] == uniform(B, SINGLE)


def test_the_oracle_of_sure_variants_knows_which() -> None:
    half = np.arange(N) < N // 2
    p = {A: half.astype(float), B: (~half).astype(float)}
    table = coins(p, dict.fromkeys(VARIANTS, 1.0), 10)
    recipes = [Recipe((variant,), SINGLE) for variant in (A, B)]
    assert oracle_bound(table, recipes, Permutations(2)).tolist() == [1.0] * N


def test_the_oracle_does_not_feed_on_noise() -> None:
    """Of many equal variants the luckiest on its own samples would score far above .5."""
    variants = [A._replace(prompt=f"p{i}") for i in range(20)]
    n = 400
    table = coins(
        {variant: np.full(n, 0.5) for variant in variants}, dict.fromkeys(variants, 1.0), 8
    )
    bound = oracle_bound(
        table, [Recipe((variant,), SINGLE) for variant in variants], Permutations(2)
    )
    assert bound.mean() == pytest.approx(0.5, abs=0.05)


def test_the_oracle_is_no_worse_than_the_best_recipe_for_all() -> None:
    """Few samples say little of an item: believed as they are, they would choose worse."""
    table = coins({A: np.full(400, 0.6), B: np.full(400, 0.9)}, dict.fromkeys(VARIANTS, 1.0), 4)
    bound = oracle_bound(table, [Recipe((variant,), SINGLE) for variant in (A, B)], Permutations(2))
    assert bound.mean() >= table.variants[B].score.mean() - 0.01


def test_the_oracle_can_do_what_the_full_policy_does() -> None:
    table = coins({A: np.full(N, 0.5)}, {A: 1.0}, 6)
    alone = oracle_bound(table, [Recipe((A,), SINGLE)], Permutations(2))
    better, worse = np.full(N, alone.mean() + 0.1), np.full(N, alone.mean() - 0.1)
    assert oracle_bound(table, [Recipe((A,), SINGLE)], Permutations(2), better) is better
    assert (
        oracle_bound(table, [Recipe((A,), SINGLE)], Permutations(2), worse).tolist()
        == alone.tolist()
    )


def test_recipes_that_need_more_than_half_of_the_samples_take_no_part() -> None:
    table = coins({A: np.full(N, 0.5)}, {A: 1.0}, 6)
    five = Recipe((A,), StrategySpec.of("self_consistency", samples=5))
    only = oracle_bound(table, [Recipe((A,), SINGLE)], Permutations(2))
    both = oracle_bound(table, [five, Recipe((A,), SINGLE)], Permutations(2))
    assert both.tolist() == only.tolist()
