"""Which mode answers in which bucket, and a thinking switch that has stuck."""

from __future__ import annotations

from tests.evaluation.worlds import VARIANTS, random_table
from tierwise.analysis.tier_rows import mode_shares, stuck_in
from tierwise.schema import Difficulty, Policy, Recipe, StrategySpec, Weight, uniform

SINGLE, TWO = StrategySpec.of("single"), StrategySpec.of("self_consistency", samples=2)
DIRECT, STEPS, TOTALS = VARIANTS
ROUTER = Difficulty("router", (0.5,), weights=(Weight("words", 1.0, 4.5, 1.0),))


def test_shares_are_of_the_samples_of_each_bucket() -> None:
    table = random_table(0)
    policy = Policy((Recipe((DIRECT,), SINGLE), Recipe((DIRECT, STEPS), TWO)), ROUTER)
    assert mode_shares(policy, table) == [{"direct": 1.0}, {"direct": 0.5, "think": 0.5}]
    assert stuck_in(policy, mode_shares(policy, table)) is None


def test_a_router_whose_buckets_all_think_is_stuck() -> None:
    table = random_table(0)
    policy = Policy((Recipe((STEPS,), SINGLE), Recipe((TOTALS,), SINGLE)), ROUTER)
    assert stuck_in(policy, mode_shares(policy, table)) == "think"


def test_only_a_switch_can_stick() -> None:
    table = random_table(0)
    by_length = Difficulty("length", (-4.5,))
    policy = Policy((Recipe((STEPS,), SINGLE), Recipe((TOTALS,), SINGLE)), by_length)
    assert stuck_in(policy, mode_shares(policy, table)) is None
    assert stuck_in(uniform(STEPS, SINGLE), [{"think": 1.0}]) is None
