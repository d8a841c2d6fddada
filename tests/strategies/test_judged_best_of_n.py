"""A judge scores each distinct answer once, and the highest score wins."""

from __future__ import annotations

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, JudgedBestOfN, Return, Sample, Seen
from tierwise.testing import StrategyConformance


class TestJudgedBestOfN(StrategyConformance):
    specs = (
        StrategySpec.of("judged_best_of_n", samples=2),
        StrategySpec.of("judged_best_of_n", samples=5),
    )
    out_of_range = (
        StrategySpec.of("judged_best_of_n", samples=1),
        StrategySpec.of("judged_best_of_n", samples=2.5),
    )

    def test_each_distinct_answer_is_judged_once(self):
        samples = [Sample(a) for a in ("x", "y", "x", None)]
        assert JudgedBestOfN(4).step(Seen(tuple(samples))) == Ask.below((0, 1), "judge")

    def test_an_answer_that_stands_alone_needs_no_judge(self):
        samples = [Sample(a) for a in ("x", "x", None)]
        assert JudgedBestOfN(3).step(Seen(tuple(samples))) == Return(0)

    def test_the_highest_score_wins_and_on_a_tie_what_was_said_more_often(self):
        strategy = JudgedBestOfN(3)
        roots = [Sample(a) for a in ("x", "y", "y")]
        assert strategy.step(Seen((*roots, judged(0, 0.5), judged(1, 0.75)))) == Return(1)
        assert strategy.step(Seen((*roots, judged(0, 0.5), judged(1, 0.5)))) == Return(1)
        assert strategy.step(Seen((*roots, judged(0, 0.8), judged(1, 0.5)))) == Return(0)

    def test_an_answer_without_a_readable_judgement_wins_only_where_none_has_one(self):
        strategy = JudgedBestOfN(2)
        roots = (Sample("x"), Sample("y"))
        lost = Sample(None, turn="judge", parent=0, failed=True)
        assert strategy.step(Seen((*roots, lost, judged(1, 0.0)))) == Return(1)
        unread = Sample(None, {"judge": float("nan")}, turn="judge", parent=1)
        assert strategy.step(Seen((*roots, lost, unread))) == Return(0)


def judged(parent, score):
    return Sample(None, {"judge": score}, turn="judge", parent=parent)
