"""The canonical form of a policy is exactly as good, and costs as much, on every permutation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.search.worlds import DIMS, VARIANTS, coins
from tierwise.evaluation import ABSTAINED, Evaluator, Permutations, SampleTable, replay_item
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec
from tierwise.schema.result import Proposal
from tierwise.search.space import merge_buckets, replace_single_votes
from tierwise.search.study import StudyRound

ONE = Recipe(VARIANTS[:1], StrategySpec.of("single"))
FOUR = Recipe(VARIANTS[:1], StrategySpec.of("adaptive_consistency", threshold=0.95, max_samples=4))
DEGENERATE = [
    StrategySpec.of("adaptive_consistency", threshold=0.7, max_samples=3),
    StrategySpec.of("adaptive_consistency", threshold=0.75, max_samples=9),
    StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=1),
    StrategySpec.of("self_consistency", samples=1),
]
"""Votes that one answer ends."""
OTHERS = [
    StrategySpec.of("adaptive_consistency", threshold=0.76, max_samples=3),
    StrategySpec.of("adaptive_consistency", threshold=0.7, max_samples=3, window=2),
    StrategySpec.of("self_consistency", samples=2),
    StrategySpec.of("best_of_n", samples=1),
]


def answered() -> SampleTable:
    """Samples that all have an answer."""
    rng = np.random.default_rng(0)
    return coins({variant: rng.random(24) for variant in VARIANTS}, dict.fromkeys(VARIANTS, 1.0), 9)


@pytest.mark.parametrize("spec", DEGENERATE, ids=str)
@pytest.mark.parametrize("variants", [VARIANTS[:1], VARIANTS[:2]], ids=["one variant", "two"])
def test_a_vote_that_its_first_answer_ends_is_one_sample(spec, variants) -> None:
    whole, permutations = answered(), Permutations(4)
    vote = Policy((Recipe(variants, spec),))
    restated = replace_single_votes(vote, Evaluator(whole, permutations))
    assert restated == Policy((ONE,))
    for item in range(whole.n_items):
        for order in range(permutations.n):
            before, after = (
                replay_item(p, whole, item, permutations, order) for p in (vote, restated)
            )
            assert before == after  # answer, samples, rounds, latency and dollars


@pytest.mark.parametrize("spec", OTHERS, ids=str)
def test_what_may_take_a_second_sample_stays(spec) -> None:
    policy = Policy((Recipe(VARIANTS[:1], spec),))
    assert replace_single_votes(policy, Evaluator(answered(), Permutations(4))) == policy


def test_where_a_sample_has_no_answer_the_vote_asks_again_and_stays() -> None:
    whole = answered()
    whole.variants[VARIANTS[0]].answers[3, 2] = ABSTAINED
    policy = Policy((Recipe(VARIANTS[:1], DEGENERATE[0]),))
    assert replace_single_votes(policy, Evaluator(whole, Permutations(4))) == policy
    of_other = Policy((Recipe(VARIANTS[1:2], DEGENERATE[0]),))
    assert replace_single_votes(of_other, Evaluator(whole, Permutations(4))) != of_other


def test_after_a_probe_of_its_own_variant_the_vote_stays() -> None:
    own, other = (
        Difficulty("probe_agreement", (0.9,), Probe((variant,), 2))
        for variant in (VARIANTS[0], VARIANTS[1])
    )
    buckets = (Recipe(VARIANTS[:1], DEGENERATE[0]), FOUR)
    on = Evaluator(answered(), Permutations(4))
    assert replace_single_votes(Policy(buckets, own), on) == Policy(buckets, own)
    assert replace_single_votes(Policy(buckets, other), on) == Policy((ONE, FOUR), other)


def test_a_study_has_the_one_sample_and_not_the_vote_that_is_one() -> None:
    study_round = StudyRound("restated", Evaluator(answered(), Permutations(4)), DIMS, 0, 1)
    spec = StrategySpec.of("adaptive_consistency", threshold=0.7, max_samples=3, window=1)
    vote = Proposal(Difficulty(), (), (Recipe(VARIANTS[:1], spec),))
    probed = Difficulty("probe_agreement", (), Probe(VARIANTS[:1], 2))
    study_round.judge_again([vote, Proposal(probed, (0.5,), vote.buckets * 2)])
    assert list(study_round.judged) == [Policy((ONE,))]


def test_buckets_that_do_the_same_are_one() -> None:
    one, vote = (
        Recipe(VARIANTS[:1], StrategySpec.of("single")),
        Recipe(VARIANTS[:1], StrategySpec.of("self_consistency", samples=3)),
    )
    probe = Difficulty("probe_agreement", (0.9, 0.5), Probe(VARIANTS[:1], 2))
    assert merge_buckets(Policy((one, vote, vote), probe)) == Policy(
        (one, vote), replace(probe, thresholds=(0.9,))
    )
    assert merge_buckets(Policy((one, one, vote), probe)).difficulty.thresholds == (0.5,)
    assert merge_buckets(Policy((one, vote, one), probe)).difficulty == probe
    assert merge_buckets(Policy((vote, vote, vote), probe)) == Policy((vote,))
