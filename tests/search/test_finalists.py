"""Which policies of a front are judged on the select split."""

from __future__ import annotations

import numpy as np

from tests.search.worlds import VARIANTS
from tierwise.schema import StrategySpec, uniform
from tierwise.search.parameters import Proposal
from tierwise.search.stages.select import along
from tierwise.search.study import EvaluatedTrial

POLICY = uniform(VARIANTS[0], StrategySpec.of("single"))
PROPOSAL = Proposal(POLICY.difficulty, (), POLICY.buckets)


def judged(score: float, usd: float) -> EvaluatedTrial:
    return EvaluatedTrial(PROPOSAL, POLICY, score, usd, 1.0, 1.0, 0)


def test_a_short_front_is_taken_whole() -> None:
    front = [judged(0.1 * i, i) for i in range(1, 6)]
    assert along(front, 5) == front


def test_the_ends_are_taken_and_the_dear_end_as_densely_as_it_is_dear() -> None:
    """From .90 to .96 the score hardly moves while dollars double four times: half of the way."""
    steep = [judged(s, 1.0 + s) for s in np.linspace(0.3, 0.9, 40)]
    flat = [judged(0.905 + 0.0014 * i, 2 * 1.0725**i) for i in range(40)]
    chosen = along([*steep, *flat], 10)
    assert chosen[0] == steep[0]
    assert chosen[-1] == flat[-1]
    assert 3 <= sum(j.score > 0.9 for j in chosen) <= 7


def test_a_front_of_one_score_or_of_no_cost_is_no_trouble() -> None:
    assert len(along([judged(0.5, 0.0)] * 9, 4)) >= 1
