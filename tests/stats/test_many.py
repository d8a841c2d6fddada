"""Many intervals at once are those that one by one would give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tierwise.stats import bootstrap_mean, bootstrap_means, paired_difference, paired_differences

ROWS = np.random.default_rng(3).random((5, 40))


def test_means_are_those_of_one_row_at_a_time():
    for row, found in zip(ROWS, bootstrap_means(ROWS, seed=2), strict=True):
        assert found == pytest.approx(bootstrap_mean(row, bounds=(0.0, 1.0), seed=2))


def test_differences_are_those_of_one_pair_at_a_time():
    rows = np.round(ROWS)
    rows[1] = rows[0]  # few items differ: the reach is the bound
    for row, found in zip(rows, paired_differences(rows[0], rows, seed=2), strict=True):
        alone = paired_difference(rows[0], row, seed=2, resamples=2000)
        assert found == pytest.approx(alone)


def test_items_that_a_row_does_not_have_take_no_part():
    rows = ROWS.copy()
    rows[0, ::2] = math.nan
    found = bootstrap_means(rows)[0]
    assert found.mean == pytest.approx(np.nanmean(rows[0]))
    alone = bootstrap_mean(rows[0, 1::2], bounds=(0.0, 1.0))
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.03)


def test_a_row_without_items_is_unknown_and_no_rows_are_none():
    rows = ROWS.copy()
    rows[2] = math.nan
    assert math.isnan(bootstrap_means(rows)[2].mean)
    assert bootstrap_means(np.empty((0, 3))) == []
