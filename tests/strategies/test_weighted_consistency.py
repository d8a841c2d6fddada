"""Votes weighed by a verifier's score."""

from __future__ import annotations

import math

from tierwise.recipe import StrategySpec
from tierwise.strategies import Draw, WeightedConsistency
from tierwise.testing import StrategyConformance, walk


def draw(answer, score=None):
    return Draw(answer, {} if score is None else {"mean_logprob": score})


class TestWeightedConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("weighted_consistency", draws=1),
        StrategySpec.of("weighted_consistency", draws=6),
        StrategySpec.of("weighted_consistency", draws=5, verifier="judge"),
    )
    out_of_range = (
        StrategySpec.of("weighted_consistency", draws=0),
        StrategySpec.of("weighted_consistency", draws="five"),
        StrategySpec.of("weighted_consistency", draws=3, verifier=""),
        StrategySpec.of("weighted_consistency", draws=3, verifier=7),
    )

    def test_two_weak_votes_lose_to_a_strong_one_and_beat_it_when_strong_enough(self):
        weak = [draw("a", math.log(0.2)), draw("a", math.log(0.2)), draw("b", math.log(0.5))]
        strong = [draw("a", math.log(0.3)), draw("a", math.log(0.3)), draw("b", math.log(0.5))]
        assert walk(WeightedConsistency(3), weak).chosen == 2
        assert walk(WeightedConsistency(3), strong).chosen == 0

    def test_a_tie_goes_to_the_answer_seen_first(self):
        assert walk(WeightedConsistency(2), [draw("b", -1.0), draw("a", -1.0)]).chosen == 0

    def test_no_score_has_no_weight_and_no_weights_are_a_tie(self):
        assert walk(WeightedConsistency(3), [draw("a"), draw("a"), draw("b", -9.0)]).chosen == 2
        assert walk(WeightedConsistency(3), [draw("b"), draw("a"), draw("a")]).chosen == 0

    def test_a_score_above_zero_counts_as_zero(self):
        assert walk(WeightedConsistency(2), [draw("a", 0.0), draw("b", 5.0)]).chosen == 0
