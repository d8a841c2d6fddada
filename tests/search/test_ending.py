"""How far prompts differ, what a choice may still gain, and what more samples would bring."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import SPACE, coins, judged
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import StrategySpec, UsageLimits, Variant, uniform
from tierwise.search.selection import Utility
from tierwise.search.stages import EXPECTED_GAIN, expected_gain, search_end
from tierwise.search.survivors import SampleCurve, headroom, prospect

PROMPTS = [Variant(f"p{i}", "direct", 0.8) for i in range(12)]


def screening(seed: int, spread: float, n_items: int = 60, n_samples: int = 1) -> SampleTable:
    """Twelve prompts whose chances differ by ``spread`` (standard deviation) on every item."""
    rng = np.random.default_rng(seed)
    items = rng.uniform(0.25, 0.75, n_items)
    shift = rng.normal(0, 1, len(PROMPTS))
    shift = (shift - shift.mean()) / shift.std(ddof=1) * spread
    p = {v: np.clip(items + shift[i], 0, 1) for i, v in enumerate(PROMPTS)}
    return coins(p, dict.fromkeys(PROMPTS, 1.0), n_samples, seed=seed)


@pytest.mark.parametrize("spread", [0.03, 0.08])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_headroom_is_the_spread_of_the_prompts_within_its_error(
    spread: float, n_samples: int
) -> None:
    found = [headroom(screening(seed, spread, 120, n_samples)) for seed in range(20)]
    estimates = np.array([one.between_prompts for one in found])
    assert estimates.mean() == pytest.approx(spread, abs=0.02)
    errors = np.array([one.between_prompts_error for one in found])
    assert np.mean(np.abs(estimates - spread) < 2.5 * errors) >= 0.85
    assert all((one.within is None) == (n_samples == 1) for one in found)


def test_prompts_that_do_not_differ_need_no_more_budget() -> None:
    """The same answers under every prompt: nothing to choose, and said so."""
    table = screening(1, 0.0, 400, 5)
    same = SampleTable(
        table.item_ids, table.inputs, dict.fromkeys(PROMPTS, table.variants[PROMPTS[0]])
    )
    found = headroom(same)
    assert found.between_prompts == pytest.approx(0.0, abs=1e-9)
    assert found.more_budget_helps is False
    assert "would not help" in found.said
    far = headroom(screening(1, 0.15, 60))
    assert far.more_budget_helps
    assert "further samples would help" in far.said


def test_one_prompt_has_no_headroom_to_tell() -> None:
    table = screening(0, 0.1)
    one = SampleTable(table.item_ids, table.inputs, {PROMPTS[0]: table.variants[PROMPTS[0]]})
    assert headroom(one).between_prompts is None


def test_what_a_choice_may_gain_falls_with_the_items_and_is_nothing_among_equals() -> None:
    rng = np.random.default_rng(0)
    aim = Utility(0.01)

    def gain(n_items: int, lead: float) -> float:
        scores = rng.random((8, n_items)) < 0.5 + lead * (np.arange(8) == 0)[:, None]
        return expected_gain([judged(score, 1.0) for score in scores], aim)

    assert gain(50, 0.0) > gain(5_000, 0.0) > 0
    assert gain(2_000, 0.3) < EXPECTED_GAIN, "the best is known"
    same = rng.random(100) < 0.5
    assert expected_gain([judged(same, 1.0)] * 5, aim) == pytest.approx(0.0, abs=1e-6)
    assert expected_gain([judged(same, 1.0)], aim) == 0.0


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"gain": 0.0005, "complete": False, "recorded": False, "short": ""}, "no_expected_gain"),
        ({"gain": 0.02, "complete": True, "recorded": True, "short": ""}, "recording_exhausted"),
        ({"gain": 0.02, "complete": True, "recorded": False, "short": ""}, "search_complete"),
        ({"gain": 0.02, "complete": False, "recorded": False, "short": ""}, "no_affordable_call"),
        ({"gain": 0.02, "complete": False, "recorded": False, "short": "seconds"}, "deadline"),
    ],
)
def test_a_search_ends_with_its_reason(state: dict[str, object], reason: str) -> None:
    end = search_end(**state, left=UsageLimits(calls=3))
    assert end.reason == reason
    assert end.said


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.45])
def test_a_curve_foresees_votes_from_two_samples(spread: float) -> None:
    """Chances around .6 that differ by item: no vote gains on an item that is always wrong."""
    rng = np.random.default_rng(7)
    p = np.clip(0.6 + spread * rng.choice([-1.0, 1.0], 600), 0.02, 0.98)
    variant = PROMPTS[0]
    deep = coins({variant: p}, {variant: 1.0}, 12, seed=3)
    curve = SampleCurve.fit(deep.variants[variant].columns(np.arange(2)), ["mean_logprob"])
    judge = Evaluator(deep, Permutations(8))
    for n in (3, 9):
        seen = judge.evaluate(uniform(variant, StrategySpec.of("self_consistency", samples=n)))
        assert curve.vote(n) == pytest.approx(seen.mean_score, abs=0.06)
    ranked = StrategySpec.of("best_of_n", samples=5, verifier="mean_logprob")
    assert curve.best_of(5) == pytest.approx(
        judge.evaluate(uniform(variant, ranked)).mean_score, abs=0.1
    )


def test_depth_is_wanted_where_samples_disagree_and_not_where_they_agree() -> None:
    aim = Utility(0.01)
    sure, unsure = PROMPTS[:2]
    p = {sure: np.repeat([0.99, 0.01], 100), unsure: np.full(200, 0.6)}
    table = coins(p, dict.fromkeys(p, 1.0), 3)
    found = {v: prospect(table.variants[v], SPACE, aim, 9, ()) for v in p}
    assert found[unsure].depth >= 7
    more = {v: one.upper - one.now for v, one in found.items()}
    assert more[sure] < 0.1 < more[unsure]
