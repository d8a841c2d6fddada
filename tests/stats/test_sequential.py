"""The confidence sequence: shape, coverage at all times, and power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import confidence_sequence


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 1.0]), min_size=1, max_size=40))
def test_never_widens_and_stays_in_bounds(values):
    low, high = confidence_sequence(values, candidates=201)
    assert len(low) == len(high) == len(values)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert (low <= high).all()
    assert low[0] >= -1
    assert high[0] <= 1


def test_the_past_does_not_depend_on_the_future():
    values = np.random.default_rng(0).choice([-1.0, 0, 1], size=50)
    whole, part = confidence_sequence(values), confidence_sequence(values[:30])
    assert whole.low[:30] == pytest.approx(part.low)
    assert whole.high[:30] == pytest.approx(part.high)


def test_mirrors():
    values = np.random.default_rng(0).choice([-1.0, 0, 1], p=[0.1, 0.5, 0.4], size=60)
    low, high = confidence_sequence(values)
    mirrored = confidence_sequence(-values)
    assert -mirrored.high == pytest.approx(low, abs=1e-9)
    assert -mirrored.low == pytest.approx(high, abs=1e-9)


def test_two_that_never_differ_sample_together_and_a_winner_shows():
    low, high = confidence_sequence(np.zeros(200))
    assert -0.1 < low[-1] < 0 < high[-1] < 0.1
    d = np.random.default_rng(1).choice([-1.0, 0, 1], p=[0.1, 0.4, 0.5], size=200)
    assert confidence_sequence(d).low[-1] > 0


@pytest.mark.parametrize("values", [[0.0, 2.0], [0.0, math.nan]])
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValueError, match="within"):
        confidence_sequence(values)


@pytest.mark.slow
@pytest.mark.parametrize(
    "p", [(0.0, 1.0, 0.0), (0.1, 0.8, 0.1), (0.05, 0.55, 0.4), (0.5, 0.0, 0.5)]
)
def test_holds_at_all_times_at_once(p):
    rng = np.random.default_rng(4)
    truth, missed = p[2] - p[0], 0
    for _ in range(400):
        low, high = confidence_sequence(rng.choice([-1.0, 0, 1], p=p, size=150), candidates=401)
        missed += bool((low > truth).any() or (high < truth).any())
    assert missed / 400 <= 0.06
