"""Policies are said as what they are: exactly as good, and as dear, on every order of the draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.search.worlds import ARMS, DIMS, coins
from tierwise.evaluation import ABSTAINED, Evaluator, Orders, SampleTable, replay
from tierwise.recipe import Difficulty, Policy, Probe, Recipe, StrategySpec
from tierwise.search.parameters import Proposal
from tierwise.search.restated import as_single, merged
from tierwise.search.study import Generation
from tierwise.search.wordings import RobustEvaluator

ONE = Recipe(ARMS[:1], StrategySpec.of("single"))
FOUR = Recipe(ARMS[:1], StrategySpec.of("adaptive_consistency", threshold=0.95, max_draws=4))
DEGENERATE = [
    StrategySpec.of("adaptive_consistency", threshold=0.7, max_draws=3),
    StrategySpec.of("adaptive_consistency", threshold=0.75, max_draws=9),
    StrategySpec.of("adaptive_consistency", threshold=0.9, max_draws=1),
    StrategySpec.of("self_consistency", draws=1),
]
"""Votes that one answer ends."""
OTHERS = [
    StrategySpec.of("adaptive_consistency", threshold=0.76, max_draws=3),
    StrategySpec.of("adaptive_consistency", threshold=0.7, max_draws=3, window=2),
    StrategySpec.of("self_consistency", draws=2),
    StrategySpec.of("best_of_n", draws=1),
]


def answered() -> SampleTable:
    """Draws that all have an answer."""
    rng = np.random.default_rng(0)
    return coins({arm: rng.random(24) for arm in ARMS}, dict.fromkeys(ARMS, 1.0), 9)


@pytest.mark.parametrize("spec", DEGENERATE, ids=str)
@pytest.mark.parametrize("arms", [ARMS[:1], ARMS[:2]], ids=["one arm", "two"])
def test_a_vote_that_its_first_answer_ends_is_one_draw(spec, arms) -> None:
    whole, orders = answered(), Orders(4)
    vote = Policy((Recipe(arms, spec),))
    restated = as_single(vote, Evaluator(whole, orders))
    assert restated == Policy((ONE,))
    for item in range(whole.n_items):
        for order in range(orders.n):
            before, after = (replay(p, whole, item, orders, order) for p in (vote, restated))
            assert before == after  # answer, draws, rounds, latency and dollars


@pytest.mark.parametrize("spec", OTHERS, ids=str)
def test_what_may_take_a_second_draw_stays(spec) -> None:
    policy = Policy((Recipe(ARMS[:1], spec),))
    assert as_single(policy, Evaluator(answered(), Orders(4))) == policy


def test_where_a_draw_has_no_answer_the_vote_asks_again_and_stays() -> None:
    whole = answered()
    whole.arms[ARMS[0]].answers[3, 2] = ABSTAINED
    policy = Policy((Recipe(ARMS[:1], DEGENERATE[0]),))
    assert as_single(policy, Evaluator(whole, Orders(4))) == policy
    of_other = Policy((Recipe(ARMS[1:2], DEGENERATE[0]),))
    assert as_single(of_other, Evaluator(whole, Orders(4))) != of_other


def test_after_a_probe_of_its_own_arm_the_vote_stays() -> None:
    own, other = (
        Difficulty("probe_agreement", (0.9,), Probe((arm,), 2)) for arm in (ARMS[0], ARMS[1])
    )
    buckets = (Recipe(ARMS[:1], DEGENERATE[0]), FOUR)
    on = Evaluator(answered(), Orders(4))
    assert as_single(Policy(buckets, own), on) == Policy(buckets, own)
    assert as_single(Policy(buckets, other), on) == Policy((ONE, FOUR), other)


def test_a_wording_that_is_silent_keeps_the_vote_of_a_robust_search() -> None:
    whole, other = answered(), ARMS[0]._replace(prompt="reworded")
    silent = replace(whole.arms[ARMS[0]], answers=np.full((24, 9), ABSTAINED, dtype=np.int16))
    on = RobustEvaluator(
        replace(whole, arms={**whole.arms, other: silent}), Orders(4),
        {ARMS[0].prompt: ("reworded",)}, exact=True, cache_bytes=1_000_000,
    )  # fmt: skip
    policy = Policy((Recipe(ARMS[:1], DEGENERATE[0]),))
    assert as_single(policy, on) == policy


def test_a_study_has_the_one_draw_and_not_the_vote_that_is_one() -> None:
    generation = Generation("restated", Evaluator(answered(), Orders(4)), DIMS, 0, 1)
    spec = StrategySpec.of("adaptive_consistency", threshold=0.7, max_draws=3, window=1)
    vote = Proposal(Difficulty(), (), (Recipe(ARMS[:1], spec),))
    probed = Difficulty("probe_agreement", (), Probe(ARMS[:1], 2))
    generation.restate([vote, Proposal(probed, (0.5,), vote.buckets * 2)])
    assert list(generation.judged) == [Policy((ONE,))]


def test_buckets_that_do_the_same_are_one() -> None:
    one, vote = (Recipe(ARMS[:1], StrategySpec.of("single")),
                 Recipe(ARMS[:1], StrategySpec.of("self_consistency", draws=3)))  # fmt: skip
    probe = Difficulty("probe_agreement", (0.9, 0.5), Probe(ARMS[:1], 2))
    assert merged(Policy((one, vote, vote), probe)) == Policy(
        (one, vote), replace(probe, thresholds=(0.9,))
    )
    assert merged(Policy((one, one, vote), probe)).difficulty.thresholds == (0.5,)
    assert merged(Policy((one, vote, one), probe)).difficulty == probe
    assert merged(Policy((vote, vote, vote), probe)) == Policy((vote,))
