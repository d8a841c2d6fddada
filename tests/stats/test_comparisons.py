"""Paired comparisons: agreement with exact tests, conservatism, and coverage (slow)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.estimators import mcnemar_exact
from tierwise.stats import (
    PairedBootstrap,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    holm,
    paired_difference,
    paired_differences,
    unpaired_difference,
)


def sample(n, better, worse):
    """0/1 scores of two policies with so many discordant items."""
    a, b = np.ones(n), np.ones(n)
    b[:better] = 0
    a[better : better + worse] = 0
    return a, b


def test_two_policies_that_never_differ_are_equal_within_the_rule_of_three_only():
    mean, low, high = paired_difference(*sample(100, 0, 0))
    assert mean == 0
    assert low == pytest.approx(-0.03, abs=0.006)
    assert high == pytest.approx(0.03, abs=0.006)
    assert paired_difference(*sample(400, 0, 0)).low > -0.01


@pytest.mark.parametrize("n", [2, 5, 20])
def test_a_few_items_that_all_agree_prove_nothing(n):
    assert paired_difference(*sample(n, 0, 0)).low < -0.1


@pytest.mark.parametrize("better", [1, 2, 3, 4])
def test_a_handful_of_wins_is_no_proof(better):
    assert paired_difference(*sample(100, better, 0)).low < 0
    assert mcnemar_exact(better, 0) > 0.05


def test_many_wins_are():
    assert paired_difference(*sample(100, 20, 4)).low > 0
    assert mcnemar_exact(20, 4) < 0.05


def test_equal_differences_do_not_collapse():
    mean, low, high = paired_difference(np.full(30, 0.6), np.full(30, 0.5))
    assert low < mean <= high
    assert mean == pytest.approx(0.1)
    assert low > 0


def test_swapping_the_policies_mirrors_the_interval():
    rng = np.random.default_rng(0)
    a, b = rng.random(60), rng.random(60)
    mean, low, high = paired_difference(a, b, resamples=20_000)
    back = paired_difference(b, a, resamples=20_000)
    assert (-back.high, -back.low) == pytest.approx((low, high), abs=0.01)
    assert mean == pytest.approx((a - b).mean())


def test_pairing_is_what_makes_it_narrow():
    rng = np.random.default_rng(0)
    hard = rng.random(80)
    _, low, high = paired_difference(hard + 0.02 * rng.random(80), hard)
    assert 0 < low < high < 0.03


def test_p_value_inverts_the_interval():
    rng = np.random.default_rng(1)
    bootstrap = PairedBootstrap(80, resamples=20_000)
    a, b = rng.random(80) + 0.1, rng.random(80)
    for level in (0.8, 0.9, 0.95):
        low = bootstrap.difference(a, b, level).low
        assert bootstrap.p_value(a, b, margin=-low) == pytest.approx((1 - level) / 2, rel=0.15)


def test_p_value_falls_with_the_margin_and_is_large_for_the_worse():
    a, b = sample(100, 12, 6)
    bootstrap = PairedBootstrap(100)
    p = [bootstrap.p_value(a, b, margin) for margin in (0.0, 0.02, 0.05, 0.2)]
    assert p == sorted(p, reverse=True)
    assert p[-1] < 0.01
    assert bootstrap.p_value(b, a) >= 0.5


def test_p_value_never_is_nothing():
    p = PairedBootstrap(50).p_value(np.ones(50), np.zeros(50))
    assert 0 < p < 0.001


def test_nan_in_nan_out_and_shapes_are_checked():
    bootstrap = PairedBootstrap(3)
    assert math.isnan(bootstrap.difference([1, 0, math.nan], [1, 0, 0]).low)
    assert math.isnan(bootstrap.p_value([1, 0, math.nan], [1, 0, 0]))
    with pytest.raises(ValueError, match="3 items"):
        bootstrap.difference([1, 0], [1, 0])


def test_comparisons_share_resamples_and_repeat():
    rng = np.random.default_rng(2)
    a, b = rng.random(40), rng.random(40)
    shared = PairedBootstrap(40, seed=5)
    assert shared.difference(a, b) == PairedBootstrap(40, seed=5).difference(a, b)
    assert shared.difference(a, b) == paired_difference(a, b, seed=5)
    assert shared.ratio(a, b) == bootstrap_ratio(a, b, seed=5, resamples=10_000)


@pytest.mark.slow
@pytest.mark.parametrize("n", [15, 50, 150])
@pytest.mark.parametrize(("up", "down"), [(0.0, 0.02), (0.02, 0.02), (0.05, 0.1), (0.3, 0.1)])
def test_coverage_of_differences(n, up, down):
    rng = np.random.default_rng(9)
    held = proofs = 0
    for i in range(500):
        u = rng.random(n)
        d = np.where(u < up, 1.0, np.where(u < up + down, -1.0, 0.0))
        _, low, high = paired_difference(d, np.zeros(n), seed=i, resamples=1000)
        held += low <= up - down <= high
        proofs += low > up - down
    assert held / 500 > 0.93
    assert proofs / 500 < 0.045


@pytest.mark.slow
def test_coverage_of_smooth_differences():
    rng = np.random.default_rng(10)
    held = 0
    for i in range(800):
        d = rng.beta(2, 5, size=20) - 2 / 7
        _, low, high = paired_difference(d, np.zeros(20), seed=i, resamples=1000)
        held += low <= 0 <= high
    assert held / 800 > 0.93


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


def test_by_hand():
    out = holm([0.01, 0.04, 0.03, 0.005])
    assert out.adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert out.rejected.tolist() == [True, False, False, True]


def test_a_test_that_could_not_be_made_still_counts():
    out = holm([0.03, math.nan])
    assert out.adjusted == pytest.approx([0.06, 1.0])
    assert not out.rejected.any()


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6), alpha=st.floats(0.001, 0.5))
def test_rejects_what_stepping_down_rejects(p, alpha):
    expected = [False] * len(p)
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] * (len(p) - step) > alpha:
            break
        expected[i] = True
    assert holm(p, alpha).rejected.tolist() == expected


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_between_raw_and_bonferroni(p):
    adjusted = holm(p).adjusted
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()


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
