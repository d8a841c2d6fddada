"""The exact allocation against every combination of a small grid, at every budget."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from tests.search.worlds import DIMS, EVERY, VARIANTS, table
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec
from tierwise.schema.result import Proposal
from tierwise.schema.space import DifficultyChoice, Range, SearchSpace
from tierwise.search.allocation import allocate
from tierwise.search.space import Dimensions, policy_of, recipe_grid

PROBES = {
    "none": [None],
    "length": [None],
    "probe_agreement": [Probe((a,), k) for a in VARIANTS[:2] for k in (2, 3)],
}


def dims(signal: str, buckets: int, strategies: dict) -> Dimensions:
    space = SearchSpace(
        "tiny",
        strategies=strategies,
        difficulty=DifficultyChoice(("none", signal), (1, buckets), probe_samples=Range(2, 3)),
    )
    return Dimensions(space, dict.fromkeys(VARIANTS[:2], 6), logprobs=True)


def every_allocation(evaluator: Evaluator, space: Dimensions, cuts) -> list[tuple[float, float]]:
    """(score, dollars) of each recipe of the grid, and of each tuple of them at each cut."""
    grid = recipe_grid(space, steps=3)
    found = [evaluator.evaluate(Policy((recipe,))) for recipe in grid]
    signal = space.space.signals[1]
    for probe, shares in itertools.product(PROBES[signal], cuts):
        for chosen in itertools.product(grid, repeat=len(shares) + 1):
            policy = policy_of(Proposal(Difficulty(signal, (), probe), shares, chosen), evaluator)
            if policy is not None:
                found.append(evaluator.evaluate(policy))
    return [(e.mean_score, e.mean_usd) for e in found]


FIVE = {"single": {}, "self_consistency": {"samples": (3, 6)}}
THREE = {"single": {}, "self_consistency": {"samples": (5,)}}


@pytest.mark.parametrize("signal", ["length", "probe_agreement"])
@pytest.mark.parametrize(
    ("buckets", "strategies", "cuts"),
    [(2, FIVE, [(0.35,), (0.5,), (0.65,)]), (3, THREE, [(0.35, 0.7), (0.5, 0.8)])],
)
def test_it_is_the_best_of_all_combinations_at_every_budget(
    signal: str, buckets: int, strategies: dict, cuts: list
) -> None:
    evaluator = Evaluator(table(7, n_items=30, n_samples=8), Permutations(3))
    space = dims(signal, buckets, strategies)
    exact = allocate(evaluator, space, max_points=100_000)
    points = np.array(every_allocation(evaluator, space, cuts))
    assert len(points) > 100
    for budget in np.unique(points[:, 1]):
        within = points[:, 1] <= budget
        ours = exact.score[exact.usd <= budget + 1e-6]
        assert ours.max() == pytest.approx(points[within, 0].max(), abs=1e-6)


@pytest.mark.parametrize("dims", [DIMS, EVERY], ids=["some signals", "every signal"])
def test_its_proposals_score_and_cost_what_it_says(dims: Dimensions) -> None:
    evaluator = Evaluator(table(2), Permutations(4))
    exact = allocate(evaluator, dims)
    assert len({len(p.buckets) for p in exact.proposals}) > 1
    for proposal, score, usd in zip(exact.proposals, exact.score, exact.usd, strict=True):
        got = evaluator.evaluate(policy_of(proposal, evaluator))
        assert (got.mean_score, got.mean_usd) == pytest.approx((score, usd), rel=1e-5)


def test_its_front_rises() -> None:
    exact = allocate(Evaluator(table(2), Permutations(4)), DIMS)
    assert (np.diff(exact.score) > 0).all()
    assert (np.diff(exact.usd) > 0).all()
    assert exact.utility(0.0) == exact.score[-1]
    assert exact.utility(1e9) == pytest.approx(exact.score[0] - 1e9 * exact.usd[0])


def test_a_spread_has_both_ends() -> None:
    exact = allocate(Evaluator(table(2), Permutations(4)), DIMS)
    some = exact.spread(5)
    assert 2 <= len(some) <= 5
    assert (some[0], some[-1]) == (exact.proposals[0], exact.proposals[-1])
    assert exact.spread(10_000) == list(exact.proposals)


def test_one_bucket_needs_no_signal() -> None:
    space = DIMS.space.with_difficulty(buckets=(1,))
    exact = allocate(Evaluator(table(2), Permutations(4)), dataclasses.replace(DIMS, space=space))
    assert {p.difficulty.signal for p in exact.proposals} == {"none"}


def test_the_grid_has_portfolios_with_a_sample_for_each_variant() -> None:
    grid = recipe_grid(DIMS)
    single = StrategySpec.of("single")
    assert Recipe((VARIANTS[0],), single) in grid
    assert not any(len(r.variants) == 2 and r.strategy == single for r in grid)
    assert {len(r.variants) for r in grid} == {1, 2}
    assert len(set(grid)) == len(grid)
