"""A vote over a fixed number of draws."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.recipe import StrategySpec
from tierwise.strategies import Ask, Draw, Seen, SelfConsistency
from tierwise.testing import StrategyConformance, walk

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=17, max_size=17)


def draws(answers):
    return [Draw(a) for a in answers]


class TestSelfConsistency(StrategyConformance):
    specs = (
        StrategySpec.of("self_consistency", draws=1),
        StrategySpec.of("self_consistency", draws=4),
        StrategySpec.of("self_consistency", draws=7, window=1),
        StrategySpec.of("self_consistency", draws=9, window=4),
    )
    out_of_range = (
        StrategySpec.of("self_consistency", draws=0),
        StrategySpec.of("self_consistency", draws=2.5),
        StrategySpec.of("self_consistency", draws=True),
        StrategySpec.of("self_consistency", draws=3, window=-1),
        StrategySpec.of("self_consistency"),
    )

    def test_asks_for_all_in_one_round(self):
        assert SelfConsistency(5).step(Seen()) == Ask(5)

    def test_a_tie_goes_to_the_answer_seen_first(self):
        assert walk(SelfConsistency(4), draws("baab")).chosen == 0
        assert walk(SelfConsistency(5), draws("cbaab")).answer == "b"

    def test_the_first_draw_of_the_winner_is_returned(self):
        assert walk(SelfConsistency(5), draws("cabba")).chosen == 1

    def test_abstentions_are_paid_for_and_have_no_vote(self):
        end = walk(SelfConsistency(5), draws([None, None, None, "a", "b"]))
        assert (end.rounds, end.answer) == ((5,), "a")

    @settings(deadline=None)
    @given(answers=ANSWERS, n=st.integers(1, 17), window=st.integers(1, 17))
    def test_a_window_never_changes_the_winner(self, answers, n, window):
        at_once = walk(SelfConsistency(n), draws(answers))
        windowed = walk(SelfConsistency(n, window), draws(answers))
        assert windowed.chosen == at_once.chosen
        assert len(windowed.draws) <= n

    @settings(deadline=None)
    @given(answers=ANSWERS, n=st.integers(1, 17))
    def test_a_window_of_one_stops_at_the_first_draw_that_settles_it(self, answers, n):
        end = walk(SelfConsistency(n, 1), draws(answers))

        def settled(k):
            counts = sorted((answers[:k].count(a) for a in "abc"), reverse=True)
            return counts[0] - counts[1] > n - k

        assert len(end.draws) == next((k for k in range(1, n) if settled(k)), n)

    def test_the_first_round_is_of_a_majority(self):
        assert SelfConsistency(9, window=1).step(Seen()) == Ask(5)
        assert walk(SelfConsistency(9, window=1), draws("aaaaa")).rounds == (5,)
