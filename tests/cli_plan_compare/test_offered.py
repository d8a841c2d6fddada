"""A space loses what a tier and its task cannot score, and nothing else."""

from __future__ import annotations

import pytest

from tierwise.runs import check, load_space
from tierwise.runs.recordings import scores_of
from tierwise.schema import Price, Tier
from tierwise.search.space import offered
from tierwise.tasks import Item, Task

ITEM = Item("i", {"question": "1 2 3 4"}, "24")


@pytest.mark.parametrize(
    ("logprobs", "verifiers", "scores"),
    [
        (False, (), set()),
        (True, (), {"mean_logprob", "min_logprob"}),
        (False, ("game24",), {"game24"}),
    ],
)
def test_scores_come_from_the_tier_and_the_task(logprobs, verifiers, scores):
    task = Task("t", 1, ("question",), (ITEM,), verifiers=verifiers)
    tier = Tier("t", "test/t", Price(1, 1), logprobs=logprobs)
    assert scores_of(task, tier) == scores


def test_only_what_can_be_ranked_by_stays():
    space = load_space("default")
    without = offered(space, set())
    assert set(space.strategies) - set(without.strategies) == {"best_of_n", "weighted_consistency"}
    kept = offered(space, {"mean_logprob"})
    assert kept.strategies == {kind: dict(d) for kind, d in space.strategies.items()}


def test_an_unknown_score_in_a_space_names_the_near_ones(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "temperature: [0.7]\nmodes: [direct]\n"
        "strategies:\n  best_of_n: {samples: 3, verifier: [gaem24]}\n"
    )
    (fault,) = check(path)
    assert "did you mean 'game24'" in str(fault)
    assert fault.line == 4
