"""Answer, criticise, answer again; the answer is chosen over the whole chain."""

from __future__ import annotations

from tierwise.schema import StrategySpec, Turn
from tierwise.strategies import Ask, Return, Sample, Seen, SelfRefine, paths_of
from tierwise.testing import StrategyConformance, walk_strategy


class TestSelfRefine(StrategyConformance):
    specs = (
        StrategySpec.of("self_refine", rounds=1),
        StrategySpec.of("self_refine", rounds=3),
        StrategySpec.of("self_refine", rounds=3, until_stable=False),
        StrategySpec.of("self_refine", rounds=2, verifier="mean_logprob"),
    )
    out_of_range = (
        StrategySpec.of("self_refine", rounds=0),
        StrategySpec.of("self_refine", rounds=1.5),
        StrategySpec.of("self_refine", rounds=1, verifier=""),
        StrategySpec.of("self_refine", rounds=1, until_stable=1),
    )

    def test_a_critique_follows_the_answer_and_a_new_answer_the_critique(self):
        strategy = SelfRefine(2)
        samples = [Sample("a")]
        assert strategy.step(Seen(tuple(samples))) == Ask.below((0,), "critique")
        samples.append(Sample(None, turn="critique", parent=0))
        assert strategy.step(Seen(tuple(samples))) == Ask.below((1,), "refine")
        samples.append(Sample("b", turn="refine", parent=1))
        assert strategy.step(Seen(tuple(samples))) == Ask.below((2,), "critique")

    def test_a_right_answer_that_is_revised_and_revised_back_wins(self):
        end = walk_strategy(SelfRefine(2, until_stable=False), chain("right", "wrong", "right"))
        assert end.answer == "right"
        assert end.rounds == (1, 1, 1, 1, 1)

    def test_the_first_answer_wins_a_tie_and_not_the_last(self):
        assert (
            walk_strategy(SelfRefine(1, until_stable=False), chain("right", "wrong")).answer
            == "right"
        )

    def test_an_answer_that_stays_the_same_ends_the_chain(self):
        assert walk_strategy(SelfRefine(5), chain("a", "a")).rounds == (1, 1, 1)

    def test_two_abstentions_are_no_agreement(self):
        assert len(walk_strategy(SelfRefine(2), chain(None, None, "a")).samples) == 5

    def test_a_verifier_picks_over_the_whole_chain(self):
        scored = [
            Sample("a", {"v": -1.0}),
            Sample(None),
            Sample("b", {"v": -0.1}),
            Sample(None),
            Sample("a"),
        ]
        assert walk_strategy(SelfRefine(2, "v", until_stable=False), scored).answer == "b"

    def test_a_critique_is_never_the_answer(self):
        samples = (Sample(None), Sample("said in passing", turn="critique", parent=0))
        assert SelfRefine(3).choose(Seen(samples)) == 0

    def test_nothing_follows_a_failure(self):
        assert SelfRefine(3).step(Seen((Sample(None, failed=True),))) == Return(0)
        broken = (Sample("a"), Sample(None, turn="critique", parent=0, failed=True))
        assert SelfRefine(3).step(Seen(broken)) == Return(0)

    def test_a_probe_s_samples_vote_and_the_first_that_arrived_is_refined(self):
        seen = Seen((Sample(None, failed=True), Sample("a"), Sample("b")))
        assert SelfRefine(1).step(seen) == Ask.below((1,), "critique")

    def test_its_paths_go_down_one_chain(self):
        critique, refine = Turn("critique"), Turn("refine")
        root = Turn("answer")
        assert paths_of(SelfRefine(1)) == ((), (root, critique), (root, critique, refine))


def chain(*answers):
    """Outputs of a chain: a critique between each two answers."""
    return [Sample(a) for answer in answers for a in (answer, None)]
