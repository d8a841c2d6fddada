"""Counts fit the budget, and a table is as deep as its policies may ask."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.worlds import VARIANTS, random_policy, random_table
from tests.search.worlds import SPACE
from tierwise.errors import BudgetError
from tierwise.evaluation import Permutations, replay_item
from tierwise.schema import Policy, Recipe, StrategySpec, UsageLimits, uniform
from tierwise.search.budget import affordable, stage_table
from tierwise.search.problem import FEWEST, SampleCost, SearchSize
from tierwise.search.samples import SampleCounts, most_samples, samples_needed

COST = SampleCost(usd=0.001, tokens=100.0)
COUNTS = SampleCounts(10, 9)


def total(search_size: SearchSize) -> int:
    return sum(row.samples for row in stage_table(search_size, COUNTS))


@pytest.mark.parametrize("share", [0.95, 0.6, 0.3, 0.2])
@pytest.mark.parametrize("of", ["usd", "calls", "tokens"])
def test_what_is_planned_fits_the_cap(share: float, of: str) -> None:
    samples = int(total(SearchSize()) * share)
    cap = {
        "usd": UsageLimits(usd=samples * 0.001),
        "calls": UsageLimits(calls=samples),
        "tokens": UsageLimits(tokens=samples * 100),
    }
    planned = affordable(SearchSize(), COUNTS, COST, cap[of], tier="t")
    assert total(planned) <= samples
    assert total(planned) > samples * 0.5, "and uses most of it"
    assert planned.screen_samples == SearchSize().screen_samples, "fewer items, not fewer samples"


def test_what_an_earlier_stage_bought_is_not_counted_again() -> None:
    none_fitted = SearchSize(fit_items=0)
    screen, race, study, *_ = stage_table(none_fitted, SampleCounts(10, 9, nodes=4, screened=1))
    assert (screen.samples, screen.nodes) == (10 * 48 * 5, 10 * 48)
    assert race.samples == 8 * (48 * (9 - 5) + (120 - 48) * 9)
    assert race.nodes == 8 * (48 * (4 - 1) + (120 - 48) * 4)
    assert study.samples == 5 * (560 - 120) * 9
    assert study.calls(takes_n=True) == 5 * (560 - 120) * (1 + 4)
    assert study.calls(takes_n=False) == 5 * (560 - 120) * (9 + 4)
    deep = stage_table(none_fitted, SampleCounts(10, 17))[2]
    assert deep.samples == 5 * (120 * (17 - 9) + (560 - 120) * 17)
    assert deep.requests == 5 * 560, "a call for what is missing of each item"


def test_rounds_of_proposals_stand_between_study_and_test() -> None:
    size = SearchSize(rounds=2, proposed=3)
    rows = stage_table(size, COUNTS)
    names = [row.stage for row in rows]
    assert names == ["screen", "fit", "race", "study", "rounds", "test"]
    tried, raced = 3 * size.screen_items, 3 * size.race_items
    studied = 3 * size.study_items + size.reflect_items + 2 * size.accept_items
    assert rows[4].samples == 2 * 9 * (tried + raced + studied)
    assert rows[4].requests == 2 * (tried + raced + studied)


def test_without_a_cap_nothing_is_scaled() -> None:
    assert affordable(SearchSize(), COUNTS, COST, UsageLimits(), tier="t") == SearchSize()


def test_stages_that_are_done_leave_the_rest_their_part() -> None:
    cap = UsageLimits(calls=int(total(SearchSize()) * 0.9))
    before = affordable(SearchSize(), COUNTS, COST, cap, tier="t")
    after = affordable(SearchSize(), COUNTS, COST, cap, tier="t", done=("screen", "race"))
    assert total(after) >= total(before)


def test_a_budget_below_the_smallest_search_says_what_it_needs() -> None:
    with pytest.raises(
        BudgetError, match=r"tier 't'.*10 variants needs about \$[\d.]+ of its \$0.01"
    ):
        affordable(SearchSize(), COUNTS, COST, UsageLimits(usd=0.01), tier="t")


def test_scaling_keeps_enough_to_decide_by() -> None:
    least = SearchSize().scaled(1e-6)
    assert {name: getattr(least, name) for name in FEWEST} == FEWEST


def test_the_most_samples_of_a_space() -> None:
    assert most_samples(SPACE) == 9


@pytest.mark.parametrize("seed", range(25))
def test_no_request_asks_for_more_than_the_depth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(seed, n_items=6)
    policy = random_policy(rng)
    n_samples = samples_needed([policy])
    for item in range(table.n_items):
        for order in range(3):
            variants = replay_item(policy, table, item, Permutations(3), order).variants
            assert all(variants.count(variant) <= n_samples[variant] for variant in set(variants))


def test_the_depth_is_reached_by_strategies_that_never_stop() -> None:
    best = StrategySpec.of("best_of_n", samples=5)
    policy = Policy((Recipe(VARIANTS[:2], best),))
    assert samples_needed([policy]) == {VARIANTS[0]: 3, VARIANTS[1]: 2}
    assert samples_needed([policy, uniform(VARIANTS[1], best)], 1) == {
        VARIANTS[0]: 3,
        VARIANTS[1]: 5,
    }
    assert samples_needed([uniform(VARIANTS[2], StrategySpec.of("single"))], 4) == {VARIANTS[2]: 4}
