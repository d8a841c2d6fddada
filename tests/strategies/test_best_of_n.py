"""A verifier picks."""

from __future__ import annotations

import itertools
import math

import pytest

from tierwise.schema import StrategySpec
from tierwise.stats import best_of_n_score
from tierwise.strategies import Ask, BestOfN, Sample, Seen
from tierwise.testing import StrategyConformance, walk_strategy


def sample(answer, score=None, **more):
    return Sample(answer, {} if score is None else {"mean_logprob": score}, **more)


class TestBestOfN(StrategyConformance):
    specs = (
        StrategySpec.of("best_of_n", samples=1),
        StrategySpec.of("best_of_n", samples=5),
        StrategySpec.of("best_of_n", samples=6, verifier="judge"),
        StrategySpec.of("best_of_n", samples=6, verifier="judge", stop_at=-0.5),
    )
    out_of_range = (
        StrategySpec.of("best_of_n", samples=0),
        StrategySpec.of("best_of_n", samples=1.0),
        StrategySpec.of("best_of_n", samples=3, verifier=""),
        StrategySpec.of("best_of_n", samples=3, verifier=7),
        StrategySpec.of("best_of_n", samples=3, stop_at="high"),
        StrategySpec.of("best_of_n", samples=3, stop_at=math.nan),
    )

    def test_all_are_sampled_in_one_round(self):
        assert BestOfN(5).step(Seen()) == Ask(5)

    def test_one_by_one_up_to_a_score_that_is_enough(self):
        adaptive = BestOfN(4, stop_at=-0.2)
        samples = [sample("a", -0.5), sample(None, 0.0), sample("b", -0.1), sample("c", 0.0)]
        end = walk_strategy(adaptive, samples)
        assert (end.chosen, end.rounds) == (2, (1, 1, 1))
        assert (
            walk_strategy(adaptive, [sample("a"), sample("b", -9), sample("c"), sample("d")]).chosen
            == 1
        )

    def test_the_highest_score_wins_and_not_the_most_votes(self):
        end = walk_strategy(BestOfN(3), [sample("a", -0.5), sample("a", -0.4), sample("b", -0.1)])
        assert end.chosen == 2

    def test_a_tie_goes_to_the_sample_seen_first(self):
        end = walk_strategy(BestOfN(3), [sample("a", -0.5), sample("b", -0.1), sample("c", -0.1)])
        assert end.chosen == 1

    @pytest.mark.parametrize("missing", [None, math.nan])
    def test_no_score_loses_to_any_score(self, missing):
        assert walk_strategy(BestOfN(2), [sample("a", missing), sample("b", -9.0)]).chosen == 1
        assert walk_strategy(BestOfN(2), [sample("a", missing), sample("b", missing)]).chosen == 0

    def test_an_abstention_loses_whatever_it_scores(self):
        assert walk_strategy(BestOfN(2), [sample(None, 0.0), sample("b")]).chosen == 1
        assert walk_strategy(BestOfN(2), [sample(None, -1.0), sample(None, -0.5)]).chosen == 1
        assert walk_strategy(BestOfN(2), [sample(None, failed=True), sample(None)]).chosen == 1

    def test_the_named_verifier_is_the_one_that_counts(self):
        two = [Sample("a", {"mean_logprob": -1, "judge": 3}), Sample("b", {"mean_logprob": 0})]
        assert walk_strategy(BestOfN(2, "judge"), two).chosen == 0
        assert walk_strategy(BestOfN(2), two).chosen == 1

    def test_the_mean_over_orders_is_the_estimator(self):
        answers, scores = ["a", "b", None, "a"], [-0.3, -0.1, 0.0, -0.1]
        right = [1.0, 0.0, 0.0, 1.0]
        picked = [
            right[
                order[
                    walk_strategy(BestOfN(3), [sample(answers[i], scores[i]) for i in order]).chosen
                ]
            ]
            for order in itertools.permutations(range(4), 3)
        ]
        silent = [[a is None for a in answers]]
        assert best_of_n_score([right], [scores], 3, silent)[0] == pytest.approx(
            sum(picked) / len(picked)
        )
