"""Adaptive-Consistency (arXiv 2305.11860)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.schema import StrategySpec
from tierwise.strategies import (
    AdaptiveConsistency,
    Ask,
    Sample,
    Seen,
    SelfConsistency,
    leader_confidence,
)
from tierwise.testing import StrategyConformance, walk_strategy


def samples(answers):
    return [Sample(a) for a in answers]


def beta_above_half(v1, v2, steps=20_000):
    """Mass of Beta(v1 + 1, v2 + 1) above 1/2 by the midpoint rule."""
    x = [(i + 0.5) / steps for i in range(steps)]
    density = [p**v1 * (1 - p) ** v2 for p in x]
    return math.fsum(density[steps // 2 :]) / math.fsum(density)


class TestAdaptiveConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("adaptive_consistency", threshold=0.95, max_samples=11),
        StrategySpec.of("adaptive_consistency", threshold=0.5, max_samples=1),
        StrategySpec.of("adaptive_consistency", threshold=0.8, max_samples=6, window=3),
        StrategySpec.of("adaptive_consistency", threshold=0.999999, max_samples=8, window=20),
    )
    out_of_range = (
        StrategySpec.of("adaptive_consistency", threshold=0.49, max_samples=5),
        StrategySpec.of("adaptive_consistency", threshold=1.0, max_samples=5),
        StrategySpec.of("adaptive_consistency", threshold=math.nan, max_samples=5),
        StrategySpec.of("adaptive_consistency", threshold="high", max_samples=5),
        StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=0),
        StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=5, window=0),
        StrategySpec.of("adaptive_consistency", threshold=0.9),
    )

    def test_three_unanimous_samples_give_9375_and_four_96875(self):
        assert leader_confidence(3, 0) == 0.9375
        assert leader_confidence(4, 0) == 0.96875
        assert leader_confidence(0, 0) == 0.5

    @pytest.mark.parametrize(("v1", "v2"), [(1, 0), (2, 2), (5, 1), (7, 3)])
    def test_confidence_is_a_tail_of_the_beta_distribution(self, v1, v2):
        assert leader_confidence(v1, v2) == pytest.approx(beta_above_half(v1, v2), abs=1e-6)

    def test_95_stops_at_four_unanimous_samples_in_one_round(self):
        strategy = AdaptiveConsistency(0.95, 17)
        assert strategy.step(Seen()) == Ask(4)
        assert walk_strategy(strategy, samples("aaaa")).rounds == (4,)

    def test_a_dissenter_costs_more_samples(self):
        end = walk_strategy(AdaptiveConsistency(0.95, 17), samples("abaaaaaaaaaaaaaaa"))
        assert end.answer == "a"
        assert leader_confidence(len(end.samples) - 1, 1) >= 0.95
        assert leader_confidence(len(end.samples) - 2, 1) < 0.95

    def test_samples_to_the_cap_where_nobody_agrees(self):
        end = walk_strategy(AdaptiveConsistency(0.95, 6), samples("abcdef"))
        assert len(end.samples) == 6
        assert end.chosen == 0

    def test_abstentions_count_towards_the_cap_only(self):
        end = walk_strategy(AdaptiveConsistency(0.95, 6), samples([None] * 4 + ["a", "b"]))
        assert (len(end.samples), end.answer) == (6, "a")

    @given(
        answers=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=13, max_size=13),
        threshold=st.floats(0.5, 0.99),
        cap=st.integers(1, 13),
    )
    def test_a_window_of_one_stops_where_sample_by_sample_would(self, answers, threshold, cap):
        """Asking for what could end it at the soonest costs no sample."""
        end = walk_strategy(AdaptiveConsistency(threshold, cap), samples(answers))

        def enough(k):
            top = sorted((answers[:k].count(a) for a in "abc"), reverse=True)
            sure = leader_confidence(top[0], top[1]) >= threshold
            return sure or top[0] - top[1] > cap - k

        assert len(end.samples) == next((k for k in range(1, cap) if enough(k)), cap)

    @given(
        answers=st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
        cap=st.integers(1, 12),
        window=st.integers(1, 5),
    )
    def test_a_threshold_out_of_reach_is_the_full_vote(self, answers, cap, window):
        sure = AdaptiveConsistency(1 - 1e-12, cap, window)
        full = walk_strategy(SelfConsistency(cap), samples(answers))
        assert walk_strategy(sure, samples(answers)).chosen == full.chosen

    @given(t1=st.floats(0.5, 0.99), t2=st.floats(0.5, 0.99), cap=st.integers(1, 9), data=st.data())
    def test_equal_behaviour_is_the_same_walk(self, t1, t2, cap, data):
        one, other = AdaptiveConsistency(t1, cap), AdaptiveConsistency(t2, cap)
        answers = data.draw(st.lists(st.sampled_from("abc"), min_size=cap, max_size=cap))
        if one.behaviour() == other.behaviour():
            assert walk_strategy(one, samples(answers)) == walk_strategy(other, samples(answers))

    @given(t1=st.floats(0.6, 0.95), t2=st.floats(0.6, 0.95), cap=st.integers(1, 7))
    def test_equal_behaviour_asks_for_the_same_at_every_count(self, t1, t2, cap):
        one, other = AdaptiveConsistency(t1, cap), AdaptiveConsistency(t2, cap)
        if one.behaviour() == other.behaviour():
            for seen in range(cap + 1):
                for lead in range(seen + 1):
                    for runner_up in range(min(lead, seen - lead) + 1):
                        count = lead, runner_up, seen
                        assert one.more(*count) == other.more(*count), count

    def test_beyond_half_of_all_samples_no_threshold_matters(self):
        sure, surer = AdaptiveConsistency(0.97, 6), AdaptiveConsistency(0.999, 6)
        assert sure.behaviour() == surer.behaviour()
        assert sure.behaviour() != AdaptiveConsistency(0.9, 6).behaviour()
