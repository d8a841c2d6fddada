"""What policies say beyond their scores: steps between points, votes, calibration of a signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report import hand_made
from tierwise.analysis.policies import (
    point_steps,
    points_by_cost,
    signal_bins,
    signal_calibration,
    vote_curves,
)
from tierwise.errors import UnsupportedError


@pytest.fixture
def tier():
    return hand_made.tier_files("small", 0, passed=True)


def test_a_step_is_against_the_cheaper_point_before_it_and_its_price_needs_a_proven_gain(tier):
    (step,) = point_steps(tier)  # economy is the baseline itself
    assert [name for name, _ in points_by_cost(tier)] == ["economy", "balanced"]
    assert (step.before, step.after, step.verdict) == ("baseline prompt", "balanced", "gain")
    assert step.usd_per_right_answer == pytest.approx(7e-6 / step.gain)
    (untested,) = point_steps(replace(tier, validated=None))
    assert (untested.verdict, untested.interval) == ("unknown", None)
    assert untested.usd_per_right_answer is None


def test_a_vote_of_one_is_the_mean_score_of_the_buckets_own_items(tier):
    easy, hard = vote_curves(tier, seed=0)
    assert [count for count, _ in easy.votes] == [1, 2, 3, 4]
    table = tier.study.variants[hand_made.PLAIN].score
    short = [len(inputs["question"].split()) <= 3 for inputs in tier.study.inputs]
    assert easy.votes[0][1].mean == pytest.approx(table[short].mean())
    assert hard.votes[0][1].mean < 1


def test_a_policy_that_the_study_has_no_samples_of_has_no_curves(tier):
    study = replace(tier.study, variants={hand_made.PLAIN: tier.study.variants[hand_made.PLAIN]})
    assert vote_curves(replace(tier, study=study), seed=0) == ()


def test_equal_signals_share_a_bin_and_bins_cover_all_items():
    values = np.repeat([1.0, 2.0, 3.0], [50, 30, 20])
    bins = signal_bins(values, (values > 1).astype(float))
    assert sum(b.items for b in bins) == 100
    assert all(b.low <= b.high for b in bins)
    assert bins[0].score.mean == 0
    assert bins[-1].score.mean == 1
    assert signal_bins(np.array([]), np.array([])) == ()


def test_a_signal_is_calibrated_on_the_studys_items_of_a_policy_with_buckets(tier):
    found = signal_calibration(tier, seed=0)
    assert found.variant == hand_made.STEPS.label
    assert sum(b.items for b in found.bins) == hand_made.N_ITEMS
    assert signal_calibration(hand_made.tier_files("large", 1, passed=False), seed=0) is None
    with pytest.raises(UnsupportedError, match=r"tables\.small\.npz"):
        signal_calibration(replace(tier, study=None), seed=0)
