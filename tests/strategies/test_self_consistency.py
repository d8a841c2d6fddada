"""A vote over a fixed number of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, Sample, Seen, SelfConsistency
from tierwise.testing import StrategyConformance, walk_strategy

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=17, max_size=17)


def samples(answers):
    return [Sample(a) for a in answers]


class TestSelfConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("self_consistency", samples=1),
        StrategySpec.of("self_consistency", samples=4),
        StrategySpec.of("self_consistency", samples=7, window=1),
        StrategySpec.of("self_consistency", samples=9, window=4),
    )
    out_of_range = (
        StrategySpec.of("self_consistency", samples=0),
        StrategySpec.of("self_consistency", samples=2.5),
        StrategySpec.of("self_consistency", samples=True),
        StrategySpec.of("self_consistency", samples=3, window=-1),
        StrategySpec.of("self_consistency"),
    )

    def test_asks_for_all_in_one_round(self):
        assert SelfConsistency(5).step(Seen()) == Ask(5)

    def test_a_tie_goes_to_the_answer_seen_first(self):
        assert walk_strategy(SelfConsistency(4), samples("baab")).chosen == 0
        assert walk_strategy(SelfConsistency(5), samples("cbaab")).answer == "b"

    def test_the_first_sample_of_the_winner_is_returned(self):
        assert walk_strategy(SelfConsistency(5), samples("cabba")).chosen == 1

    def test_abstentions_are_paid_for_and_have_no_vote(self):
        end = walk_strategy(SelfConsistency(5), samples([None, None, None, "a", "b"]))
        assert (end.rounds, end.answer) == ((5,), "a")

    @given(answers=ANSWERS, n=st.integers(1, 17), window=st.integers(1, 17))
    def test_a_window_never_changes_the_winner(self, answers, n, window):
        at_once = walk_strategy(SelfConsistency(n), samples(answers))
        windowed = walk_strategy(SelfConsistency(n, window), samples(answers))
        assert windowed.chosen == at_once.chosen
        assert len(windowed.samples) <= n

    @given(answers=ANSWERS, n=st.integers(1, 17))
    def test_a_window_of_one_stops_at_the_first_sample_that_settles_it(self, answers, n):
        end = walk_strategy(SelfConsistency(n, 1), samples(answers))

        def settled(k):
            counts = sorted((answers[:k].count(a) for a in "abc"), reverse=True)
            return counts[0] - counts[1] > n - k

        assert len(end.samples) == next((k for k in range(1, n) if settled(k)), n)

    def test_the_first_round_is_of_a_majority(self):
        assert SelfConsistency(9, window=1).step(Seen()) == Ask(5)
        assert walk_strategy(SelfConsistency(9, window=1), samples("aaaaa")).rounds == (5,)
