"""Votes weighed by a verifier's score."""

from __future__ import annotations

import math

from tierwise.schema import StrategySpec
from tierwise.strategies import Sample, WeightedConsistency
from tierwise.testing import StrategyConformance, walk_strategy


def sample(answer, score=None):
    return Sample(answer, {} if score is None else {"mean_logprob": score})


class TestWeightedConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("weighted_consistency", samples=1),
        StrategySpec.of("weighted_consistency", samples=6),
        StrategySpec.of("weighted_consistency", samples=5, verifier="judge"),
    )
    out_of_range = (
        StrategySpec.of("weighted_consistency", samples=0),
        StrategySpec.of("weighted_consistency", samples="five"),
        StrategySpec.of("weighted_consistency", samples=3, verifier=""),
        StrategySpec.of("weighted_consistency", samples=3, verifier=7),
    )

    def test_two_weak_votes_lose_to_a_strong_one_and_beat_it_when_strong_enough(self):
        weak = [sample("a", math.log(0.2)), sample("a", math.log(0.2)), sample("b", math.log(0.5))]
        strong = [
            sample("a", math.log(0.3)),
            sample("a", math.log(0.3)),
            sample("b", math.log(0.5)),
        ]
        assert walk_strategy(WeightedConsistency(3), weak).chosen == 2
        assert walk_strategy(WeightedConsistency(3), strong).chosen == 0

    def test_a_tie_goes_to_the_answer_seen_first(self):
        assert (
            walk_strategy(WeightedConsistency(2), [sample("b", -1.0), sample("a", -1.0)]).chosen
            == 0
        )

    def test_no_score_has_no_weight_and_no_weights_are_a_tie(self):
        assert (
            walk_strategy(
                WeightedConsistency(3), [sample("a"), sample("a"), sample("b", -9.0)]
            ).chosen
            == 2
        )
        assert (
            walk_strategy(WeightedConsistency(3), [sample("b"), sample("a"), sample("a")]).chosen
            == 0
        )

    def test_a_score_above_zero_counts_as_zero(self):
        assert (
            walk_strategy(WeightedConsistency(2), [sample("a", 0.0), sample("b", 5.0)]).chosen == 0
        )
