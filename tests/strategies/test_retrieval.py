"""Ask, read what was found, ask again, answer; chains vote."""

from __future__ import annotations

from tierwise.schema import StrategySpec, Turn
from tierwise.strategies import (
    PLAIN_PATHS,
    Ask,
    Retrieval,
    Return,
    Sample,
    Seen,
    SelfConsistency,
    paths_of,
)
from tierwise.testing import StrategyConformance, walk_strategy


def query(parent=None, fresh=1, match=1.0, **more):
    return Sample(None, turn="query", parent=parent, fresh=fresh, match=match, **more)


class TestRetrieval(StrategyConformance):
    specs = (
        StrategySpec.of("retrieval", rounds=0, samples=3),
        StrategySpec.of("retrieval", rounds=1),
        StrategySpec.of("retrieval", rounds=3, passages=1, samples=2),
        StrategySpec.of("retrieval", rounds=2, samples=5, threshold=0.8),
        StrategySpec.of("retrieval", rounds=4, samples=3, stop_when_stale=False),
        StrategySpec.of("retrieval", rounds=4, samples=3, least_match=0.5),
    )
    out_of_range = (
        StrategySpec.of("retrieval", rounds=-1),
        StrategySpec.of("retrieval", rounds=1, passages=0),
        StrategySpec.of("retrieval", rounds=1, samples=0),
        StrategySpec.of("retrieval", rounds=1, threshold=0.3),
        StrategySpec.of("retrieval", rounds=1, threshold="high"),
        StrategySpec.of("retrieval", rounds=1, stop_when_stale=1),
        StrategySpec.of("retrieval", rounds=1, least_match=1.5),
        StrategySpec.of("retrieval", rounds=1, least_match="all"),
    )

    def test_all_chains_begin_at_once_and_go_on_together(self):
        strategy = Retrieval(3, passages=2, samples=2)
        assert strategy.step(Seen()) == Ask(2, turn="query", passages=2)
        assert strategy.step(Seen((query(), query()))) == Ask.below((0, 1), "query", 2)

    def test_a_chain_that_answers_is_not_asked_again(self):
        seen = Seen((query(), Sample("a", turn="query")))
        assert Retrieval(2, samples=2).step(seen) == Ask.below((0,), "query", 2)

    def test_at_its_rounds_a_chain_is_made_to_answer(self):
        seen = Seen((query(), query(0)))
        assert Retrieval(2).step(seen) == Ask.below((1,), "answer")

    def test_a_round_that_brings_nothing_new_ends_the_search(self):
        stale = Seen((query(fresh=0),))
        assert Retrieval(3).step(stale) == Ask.below((0,), "answer")
        assert Retrieval(3, stop_when_stale=False).step(stale) == Ask.below((0,), "query", 2)

    def test_passages_that_lack_the_query_s_words_are_nothing_new(self):
        other = Seen((query(match=2 / 3),))
        assert Retrieval(3, least_match=1.0).step(other) == Ask.below((0,), "answer")
        assert Retrieval(3, least_match=2 / 3).step(other) == Ask.below((0,), "query", 2)
        assert Retrieval(3).step(other) == Ask.below((0,), "query", 2)

    def test_who_asks_nothing_and_answers_nothing_is_made_to_answer(self):
        assert Retrieval(3).step(Seen((query(fresh=None),))) == Ask.below((0,), "answer")

    def test_a_query_that_loops_ends_at_the_rounds_at_the_latest(self):
        loops = [query() for _ in range(4)] + [Sample("a")]
        end = walk_strategy(Retrieval(4, stop_when_stale=False), loops)
        assert end.rounds == (1, 1, 1, 1, 1)

    def test_where_a_later_look_up_fails_it_answers_with_what_was_found(self):
        seen = Seen((query(), query(0, failed=True, fresh=None)))
        assert Retrieval(3).step(seen) == Ask.below((0,), "answer")

    def test_where_the_first_look_up_fails_it_answers_without(self):
        seen = Seen((query(failed=True, fresh=None), query(failed=True, fresh=None)))
        assert Retrieval(3, samples=2).step(seen) == Ask(2)
        answered = Seen((*seen.samples, Sample("a"), Sample("a")))
        assert Retrieval(3, samples=2).step(answered) == Return(2)

    def test_chains_vote_and_a_probe_s_plain_answers_do_not(self):
        probe = (Sample("p"), Sample("p"), Sample("p"))
        ends = (Sample("b", turn="query"), Sample("a", turn="query"), Sample("a", turn="query"))
        assert Retrieval(1, samples=3).step(Seen(probe + ends)) == Return(4)

    def test_a_probe_s_answer_is_better_than_none(self):
        silent = (query(), Sample(None, parent=1, turn="answer"))
        assert Retrieval(1).choose(Seen((Sample("p"), *silent))) == 0

    def test_agreement_ends_the_vote_early(self):
        agreed = tuple(Sample("a", turn="query") for _ in range(3))
        strategy = Retrieval(2, samples=5, threshold=0.9)
        assert strategy.step(Seen(agreed[:2])) == Ask(1, turn="query", passages=2)
        assert strategy.step(Seen(agreed)) == Return(0)

    def test_no_rounds_are_a_vote_of_plain_answers(self):
        assert Retrieval(0, samples=4).step(Seen()) == SelfConsistency(4).step(Seen())
        assert paths_of(Retrieval(0, samples=4)) == PLAIN_PATHS

    def test_its_paths_are_nested(self):
        asked, answer = Turn("query", 2), Turn("answer")
        assert paths_of(Retrieval(2)) == (
            (),
            (asked,),
            (asked, answer),
            (asked, asked),
            (asked, asked, answer),
        )
