"""Counts fit the budget, and a table is as deep as its policies may ask."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from tests.evaluation.worlds import VARIANTS, random_policy, random_table
from tests.search.worlds import SPACE
from tierwise.errors import BudgetError
from tierwise.evaluation import ABSTAINED, Permutations, SampleTable, VariantTable, replay_item
from tierwise.schema import Policy, Recipe, StrategySpec, Usage, UsageLimits, Variant, uniform
from tierwise.schema.space import Range
from tierwise.search.budget import HalvingPlan, Iteration, checked, stage_table
from tierwise.search.problem import SearchSize
from tierwise.search.samples import SampleCost, SampleCounts, new_answers, samples_needed
from tierwise.search.space import most_samples
from tierwise.strategies import STRATEGIES, Vote, register_strategy

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


@pytest.mark.parametrize(("variants", "calls"), [(30, 4_000), (12, 1_000), (4, 4_000), (3, 1_000)])
def test_rounds_cost_the_same_and_end_with_deep_votes_on_the_items_of_all(
    variants: int, calls: int
) -> None:
    planned = plan(UsageLimits(calls=calls), SampleCounts(variants, 9))
    rounds = planned.schedule(variants)
    counts = [one.variants for one in rounds]
    assert counts[0] == variants
    assert counts == sorted(counts, reverse=True)
    assert 2 <= counts[-1] <= SIZE.study_variants
    assert rounds[-1].samples == 9, "as deep as the space asks"
    assert all(one.items <= rounds[-1].items for one in rounds), "what is bought is used in the end"
    used = [row.samples for row in planned.rows(rounds)]
    assert max(used) <= 3 * min(used)
    if counts[-1] > 2:
        assert rounds[-1].items >= SIZE.study_items


def test_a_round_goes_on_from_what_there_is() -> None:
    planned = plan(UsageLimits(calls=4_000), SampleCounts(12, 9))
    screen, *_, study = planned.schedule(12)
    left = planned.for_search - planned.rows([screen])[0].usage(COST)
    rest = planned.schedule(12, screen, left)
    assert rest[-1].items == pytest.approx(study.items, rel=0.1), "planned anew, the same comes out"
    shallow = planned.schedule(12, screen, left, depth=2, deepest=9)
    assert shallow[-1].samples == 2
    assert shallow[-1].items > rest[-1].items, "where depth is of no use more items are looked at"
    raced = planned.schedule(3, Iteration(3, 50, 4), UsageLimits(calls=100_000), raced=True)
    assert raced == [Iteration(3, SIZE.study_items, 9)]


def test_money_for_more_than_all_items_buys_depth_beyond_what_curves_want() -> None:
    cap = UsageLimits(calls=200_000)
    (study,) = plan(cap).schedule(2, Iteration(2, 100, 2), depth=2, deepest=9, raced=True)
    assert study == Iteration(2, SIZE.study_items, 9)
    unlimited = plan(UsageLimits())
    (study,) = unlimited.schedule(2, Iteration(2, 100, 2), depth=2, deepest=9, raced=True)
    assert study == Iteration(2, SIZE.study_items, 2)


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
    (first, *_, last) = plan(UsageLimits(calls=150), SampleCounts(24, 9)).schedule(24)
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


def test_a_stage_buys_what_the_round_before_it_has_not() -> None:
    counts = SampleCounts(6, 9, nodes=4, screened=1)
    screen, race, study, _ = stage_table(plan(UsageLimits(), counts))
    assert (screen.samples, screen.nodes) == (6 * 240, 6 * 240)
    assert race.samples == 6 * (240 * 4 - 240)
    assert race.nodes + screen.nodes == 6 * race.items * 4
    assert study.samples == 5 * (560 * 9 - 240 * 4)


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


def test_the_most_samples_of_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_samples(SPACE) == 9
    monkeypatch.setattr(STRATEGIES, "classes", dict(STRATEGIES.classes))

    @register_strategy
    @dataclass(frozen=True, slots=True)
    class TwiceVotes(Vote):
        """One whose parameters do not say how many samples they are."""

        votes: int
        kind: ClassVar[str] = "twice_votes"

        @property
        def max_samples(self) -> int:
            return 2 * self.votes - 1

        def more(self, lead: int, runner_up: int, seen: int) -> int:
            return max(0, min(self.votes - lead, self.max_samples - seen))

    for votes in (Range(2, 6), (2, 6)):
        assert most_samples(replace(SPACE, strategies={"twice_votes": {"votes": votes}})) == 11


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


def test_an_answer_is_judged_once_however_many_samples_gave_it() -> None:
    def rows(answers: list[list[int]]) -> VariantTable:
        codes = np.array(answers, dtype=np.int16)
        nothing = np.zeros(codes.shape)
        return VariantTable(codes, nothing, nothing, nothing, nothing)

    one, other = Variant("one", "direct", 0.7), Variant("other", "direct", 0.7)
    table = SampleTable(
        ("a", "b"),
        ({"q": ""}, {"q": ""}),
        {one: rows([[0, 0, 1], [0, ABSTAINED, 0]]), other: rows([[1, 2, 0], [1, 1, 0]])},
    )
    assert new_answers(table, {}) == 5
    assert new_answers(table, {one: {"a": 3, "b": 3}}) == 2
    assert new_answers(table, {one: {"a": 1}, other: {"a": 2}}) == 2
