"""Counts fit the budget, and a table is as deep as its policies may ask."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.worlds import VARIANTS, random_policy, random_table
from tests.search.worlds import SPACE
from tierwise.errors import BudgetError
from tierwise.evaluation import Permutations, replay_item
from tierwise.schema import Policy, Recipe, StrategySpec, Usage, UsageLimits, uniform
from tierwise.search.budget import Deepening, HalvingPlan, checked, stage_table
from tierwise.search.problem import SampleCost, SearchSize
from tierwise.search.samples import SampleCounts, most_samples, samples_needed

COST = SampleCost(usd=0.001, tokens=100.0)
COUNTS = SampleCounts(10, 9)
SIZE = SearchSize(fit_items=0)


def plan(cap: UsageLimits, counts: SampleCounts = COUNTS, cost: SampleCost = COST) -> HalvingPlan:
    return HalvingPlan(SIZE, counts, cost, cap)


@pytest.mark.parametrize("samples", [150, 300, 1_000, 4_000, 20_000])
@pytest.mark.parametrize("variants", [2, 10, 24])
@pytest.mark.parametrize("of", ["usd", "calls", "tokens"])
def test_what_is_planned_fits_the_cap_and_uses_most_of_it(
    samples: int, variants: int, of: str
) -> None:
    cap = {
        "usd": UsageLimits(usd=samples * 0.001),
        "calls": UsageLimits(calls=samples),
        "tokens": UsageLimits(tokens=samples * 100),
    }[of]
    counts = SampleCounts(variants, 9)
    planned = plan(cap, counts)
    rows = [row for row in stage_table(planned) if row.stage != "test"]
    test = planned.test_row(planned.test_items)
    used = sum((row.usage(COST) for row in (*rows, test)), Usage())
    assert cap.fits(used)
    whole = sum(row.samples for row in stage_table(plan(UsageLimits(), counts)))
    assert used.samples > 0.6 * min(samples, whole)


def test_iterations_have_fewer_variants_and_more_samples_of_each() -> None:
    iterations = plan(UsageLimits(calls=8_000), SampleCounts(30, 9)).schedule()
    assert [iteration.variants for iteration in iterations[:-1]] == [30, 15, 8]
    assert iterations[0].samples == 1
    assert iterations[0].items >= 24, "one sample on many items"
    each = [iteration.items * iteration.samples for iteration in iterations]
    assert each == sorted(each)


def test_how_many_samples_an_item_is_first_asked_for_goes_by_the_price_of_a_call() -> None:
    def first(cost: SampleCost, cap: UsageLimits) -> int:
        return plan(cap, COUNTS, cost).first_samples

    usd = UsageLimits(usd=1.0)
    assert first(SampleCost(0.001, 100.0), usd) == 1, "each sample is a call"
    shared = SampleCost(0.001, 100.0, takes_n=True)
    assert first(replace(shared, prompt_usd=0.0001), usd) == 1, "the prompt is cheap"
    assert first(replace(shared, prompt_usd=0.009), usd) == 3
    assert first(replace(shared, prompt_usd=1.0), usd) == SIZE.screen_samples
    assert first(shared, UsageLimits(calls=500)) == SIZE.screen_samples, "samples are free"


def test_a_small_budget_leaves_variants_out_rather_than_being_refused() -> None:
    (first, *_, last) = plan(UsageLimits(calls=150), SampleCounts(24, 9)).schedule()
    assert 2 <= first.variants < 24
    assert first.items >= 4
    assert last.items >= first.items


def test_a_budget_below_the_smallest_search_says_what_would_do() -> None:
    with pytest.raises(
        BudgetError, match=r"tier 't'.*needs about ([\d,]+) of its 20 calls"
    ) as caught:
        checked(plan(UsageLimits(calls=20)), "t")
    needed = int(re.search(r"about ([\d,]+) of", str(caught.value))[1].replace(",", ""))
    assert checked(plan(UsageLimits(calls=needed)), "t")
    with pytest.raises(BudgetError):
        checked(plan(UsageLimits(calls=needed - 1)), "t")


def test_a_stage_buys_what_the_iteration_before_it_has_not() -> None:
    screen, race, study, _ = stage_table(
        plan(UsageLimits(), SampleCounts(6, 9, nodes=4, screened=1))
    )
    assert (screen.samples, screen.nodes) == (6 * 240, 6 * 240)
    assert race.samples + screen.samples == 6 * race.items * 2
    assert race.nodes + screen.nodes == 6 * race.items * 4
    assert study.samples == 5 * (560 * 9 - race.items * 2)


def test_rounds_of_proposals_stand_between_study_and_test_and_share_the_money() -> None:
    size = SearchSize(rounds=2, proposed=3)
    rows = stage_table(HalvingPlan(size, COUNTS, COST, UsageLimits()))
    names = [row.stage for row in rows]
    assert names == ["screen", "fit", "race", "study", "rounds", "test"]
    tried, raced = 3 * size.screen_items, 3 * size.race_items
    studied = 3 * size.study_items + size.reflect_items + 2 * size.accept_items
    rounds = rows[names.index("rounds")]
    assert rounds.samples == 2 * 9 * (tried + raced + studied)
    cap = UsageLimits(calls=9_000)
    alone, shared = (HalvingPlan(s, COUNTS, COST, cap).for_search for s in (SIZE, size))
    assert shared.calls == pytest.approx(alone.calls / 3, abs=2)


@pytest.mark.parametrize("calls", [50, 200, 1_000, 10_000])
@pytest.mark.parametrize("variants_first", [True, False])
def test_more_samples_are_bought_as_far_as_the_money_lasts(
    calls: int, variants_first: bool
) -> None:
    wanted = dict(zip(VARIANTS[:3], (1, 9, 9), strict=True))
    have = dict.fromkeys(wanted, 1)
    more = Deepening(wanted, have, 40, 20, 300, 60, UsageLimits(calls=calls), COST)
    items, depth = more.affordable(fewest=2, variants_first=variants_first)
    paid = sum(items * n - min(items, 40) for n in depth.values())
    assert paid <= calls
    assert list(depth)[:2] == list(wanted)[:2], "the first stay"
    assert all(n <= wanted[v] for v, n in depth.items())
    if calls == 10_000:
        assert (items, depth) == (300, wanted)


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
