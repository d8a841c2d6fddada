"""Counts fit the budget, and a table is as deep as its policies may ask."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.worlds import ARMS, random_policy, random_table
from tests.search.worlds import SPACE
from tierwise.errors import BudgetError
from tierwise.evaluation import Orders, replay
from tierwise.pool import Cap
from tierwise.recipe import Policy, Recipe, StrategySpec, uniform
from tierwise.search.depths import depth_needed, most_draws
from tierwise.search.effort import FEWEST, DrawCost, Effort, affordable

COST = DrawCost(usd=0.001, tokens=100.0)


def total(effort: Effort) -> int:
    return sum(stage.draws for stage in effort.stages(10, 9))


@pytest.mark.parametrize("share", [0.95, 0.6, 0.3, 0.2])
@pytest.mark.parametrize("of", ["usd", "calls", "tokens"])
def test_what_is_planned_fits_the_cap(share: float, of: str) -> None:
    draws = int(total(Effort()) * share)
    cap = {
        "usd": Cap(usd=draws * 0.001),
        "calls": Cap(calls=draws),
        "tokens": Cap(tokens=draws * 100),
    }
    planned = affordable(Effort(), 10, 9, COST, cap[of], tier="t")
    assert total(planned) <= draws
    assert total(planned) > draws * 0.5, "and uses most of it"
    assert planned.screen_draws == Effort().screen_draws, "fewer items, not fewer draws"


def test_what_an_earlier_stage_bought_is_not_counted_again() -> None:
    screen, _, race, study, *_ = Effort(fit_items=0).stages(10, 9, nodes=4, screened=1)
    assert screen.draws == 10 * 48 * (5 + 1)
    assert race.draws == 8 * (48 * (9 - 5 + 4 - 1) + (120 - 48) * (9 + 4))
    assert study.draws == 5 * (240 - 120) * (9 + 4)
    assert study.requests == 5 * (240 - 120) * (1 + 4)
    deep = Effort(fit_items=0).stages(10, 17)[3]
    assert deep.draws == 5 * (120 * (17 - 9) + (240 - 120) * 17)
    assert deep.requests == 5 * 240, "a call for what is missing of each item"


def test_without_a_cap_nothing_is_scaled() -> None:
    assert affordable(Effort(), 10, 9, COST, Cap(), tier="t") == Effort()


def test_stages_that_are_done_leave_the_rest_their_part() -> None:
    cap = Cap(calls=int(total(Effort()) * 0.9))
    before = affordable(Effort(), 10, 9, COST, cap, tier="t")
    after = affordable(Effort(), 10, 9, COST, cap, tier="t", done=("screen", "race"))
    assert total(after) >= total(before)


def test_a_budget_below_the_smallest_search_says_what_it_needs() -> None:
    with pytest.raises(BudgetError, match=r"tier 't'.*10 arms needs about \$[\d.]+ of its \$0.01"):
        affordable(Effort(), 10, 9, COST, Cap(usd=0.01), tier="t")


def test_scaling_keeps_enough_to_decide_by() -> None:
    least = Effort().scaled(1e-6)
    assert {name: getattr(least, name) for name in FEWEST} == FEWEST


def test_the_most_draws_of_a_space() -> None:
    assert most_draws(SPACE) == 9


@pytest.mark.parametrize("seed", range(25))
def test_no_request_asks_for_more_than_the_depth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(seed, n_items=6)
    policy = random_policy(rng)
    depth = depth_needed([policy])
    for item in range(table.n_items):
        for order in range(3):
            arms = replay(policy, table, item, Orders(3), order).arms
            assert all(arms.count(arm) <= depth[arm] for arm in set(arms))


def test_the_depth_is_reached_by_strategies_that_never_stop() -> None:
    best = StrategySpec.of("best_of_n", draws=5)
    policy = Policy((Recipe(ARMS[:2], best),))
    assert depth_needed([policy]) == {ARMS[0]: 3, ARMS[1]: 2}
    assert depth_needed([policy, uniform(ARMS[1], best)], 1) == {ARMS[0]: 3, ARMS[1]: 5}
    assert depth_needed([uniform(ARMS[2], StrategySpec.of("single"))], 4) == {ARMS[2]: 4}
