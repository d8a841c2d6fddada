"""Differences of unrelated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tierwise.stats import paired_difference, unpaired_difference


def test_it_is_wider_than_paired_where_items_are_alike():
    rng = np.random.default_rng(0)
    hard = (rng.random(200) < 0.7).astype(float)
    better = np.maximum(hard, rng.random(200) < 0.1)
    paired, apart = paired_difference(better, hard), unpaired_difference(better, hard)
    assert apart.mean == pytest.approx(paired.mean)
    assert apart.high - apart.low > 1.5 * (paired.high - paired.low)


def test_all_right_on_both_sides_is_no_certainty():
    _, low, high = unpaired_difference(np.ones(30), np.ones(40))
    assert low < -0.03
    assert high > 0.02


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_what_the_data_do_not_support_is_nan(values):
    assert math.isnan(unpaired_difference(values, [0.0, 1.0]).low)


def test_it_holds_the_truth():
    rng = np.random.default_rng(1)
    held = 0
    for i in range(150):
        a, b = (rng.random(60) < 0.8).astype(float), (rng.random(90) < 0.7).astype(float)
        _, low, high = unpaired_difference(a, b, seed=i, resamples=400)
        held += low <= 0.1 <= high
    assert held >= 134  # 95% of 150 is 142; fewer than 134 has a probability of .004
