"""Held-out samples: what the chosen policy and the baseline ask for, as serving would, and no
more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests.search.worlds import table
from tierwise.evaluation import SampleTable, replay_item, replay_table
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, Variant, uniform
from tierwise.search.samples import play
from tierwise.tasks import Item

WORLD = table(n_items=40, n_samples=10)
A, B = list(WORLD.variants)[:2]
ADAPTIVE = StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=9)
POLICIES = [
    uniform(A, StrategySpec.of("single")),
    Policy(
        (Recipe((A,), StrategySpec.of("single")), Recipe((A, B), ADAPTIVE)),
        Difficulty("probe_agreement", (0.9,), Probe((B,), 2)),
    ),
]
ITEMS = [Item(name, inputs, "") for name, inputs in zip(WORLD.item_ids, WORLD.inputs, strict=True)]


class Limited:
    """Samples of ``WORLD``, so many of them at most; counts what it was asked for."""

    free = False

    def __init__(self, most: int) -> None:
        self.left = most
        self.bought: dict[tuple[str, Variant], int] = {}

    def most(self, variant: Variant) -> int:
        return 10

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        raise AssertionError("nothing is bought to its whole depth")

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        short = ""
        for item, wanted in zip(items, n_samples, strict=True):
            for variant, n in wanted.items():
                new = n - self.bought.get((item.id, variant), 0)
                if new > self.left:
                    short = "calls"
                elif new > 0 and not short:
                    self.left -= new
                    self.bought[item.id, variant] = n
        counts = {
            v: np.array([self.bought.get((item.id, v), 0) for item in items])
            for v in WORLD.everything
        }
        at = np.array([WORLD.item_ids.index(item.id) for item in items])
        return WORLD.rows(at).first(counts), short


def test_each_item_gets_what_its_policies_ask_for_and_the_scores_are_those_of_serving() -> None:
    samples = Limited(10**6)
    found, short = play(samples, POLICIES, ITEMS, "test")
    assert not short
    assert found.item_ids == WORLD.item_ids
    for i, item in enumerate(ITEMS):
        served = [replay_item(policy, WORLD, i) for policy in POLICIES]
        for variant in WORLD.variants:
            asked = max(outcome.variants.count(variant) for outcome in served)
            assert samples.bought.get((item.id, variant), 0) == asked
    for policy in POLICIES:
        got, whole = replay_table(policy, found), replay_table(policy, WORLD)
        for name in ("score", "usd", "samples", "rounds"):
            np.testing.assert_array_equal(getattr(got, name), getattr(whole, name))
        assert got.shares == whole.shares


def test_where_the_budget_ends_the_items_before_it_stay_and_no_easy_ones_are_picked_out() -> None:
    whole = Limited(10**6)
    play(whole, POLICIES, ITEMS, "test")
    needed = sum(whole.bought.values())
    found, short = play(Limited(needed - 15), POLICIES, ITEMS, "test")
    assert short
    assert 0 < found.n_items < len(ITEMS)
    assert found.item_ids == WORLD.item_ids[: found.n_items]
    assert not np.isnan(replay_table(POLICIES[1], found).score).any()
