"""Intervals: hand values, symmetries, what must never collapse, and coverage (slow)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import bootstrap_mean, bootstrap_ratio, student_cdf, student_quantile, wilson


def test_wilson_by_hand():
    # Wilson 1927 at z = 1.96: 8 of 10 is (.490, .943)
    mean, low, high = wilson(8, 10)
    assert (mean, low, high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_wilson_ends_at_n_over_n_plus_z2():
    z2 = 1.959963984540054**2
    assert wilson(20, 20).low == pytest.approx(20 / (20 + z2))
    assert wilson(20, 20).high == 1
    assert wilson(0, 20).low == 0


@given(n=st.integers(1, 500), data=st.data())
def test_wilson_holds_the_share_and_mirrors(n, data):
    k = data.draw(st.integers(0, n))
    mean, low, high = wilson(k, n)
    assert 0 <= low <= mean <= high <= 1
    assert low < high
    mirror = wilson(n - k, n)
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((low, high))


def test_wilson_of_nothing_and_of_nonsense():
    assert all(math.isnan(v) for v in wilson(0, 0))
    with pytest.raises(ValueError, match="successes"):
        wilson(5, 4)


def test_bootstrap_of_a_normal_sample_is_the_t_interval():
    x = np.random.default_rng(0).normal(3, 2, size=40)
    mean, low, high = bootstrap_mean(x, resamples=20_000)
    half = 2.0227 * x.std(ddof=1) / math.sqrt(40)
    assert mean == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.05 * half)


def test_same_seed_same_interval_and_another_seed_another():
    x = np.random.default_rng(0).random(30)
    assert bootstrap_mean(x, seed=1) == bootstrap_mean(x, seed=1)
    assert bootstrap_mean(x, seed=1) != bootstrap_mean(x, seed=2)


def test_a_higher_level_is_wider():
    x = np.random.default_rng(0).random(30)
    narrow, wide = bootstrap_mean(x, level=0.8), bootstrap_mean(x, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_all_right_is_no_certainty_where_scores_are_bounded():
    mean, low, high = bootstrap_mean(np.ones(50), bounds=(0, 1))
    assert (mean, high) == (1, 1)
    assert 0.85 < low < 0.97
    assert bootstrap_mean(np.full(50, 0.3)) == pytest.approx((0.3, 0.3, 0.3))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan, 2.0]])
def test_what_the_data_do_not_support_is_nan(values):
    assert all(math.isnan(v) for v in bootstrap_mean(values))
    assert all(math.isnan(v) for v in bootstrap_ratio(values, values))


def test_ratio_of_proportional_costs_is_a_point():
    cost = np.random.default_rng(0).random(30) + 0.1
    assert bootstrap_ratio(2 * cost, cost) == pytest.approx((2, 2, 2))


def test_ratio_is_of_means_and_inverts():
    rng = np.random.default_rng(0)
    a, b = rng.random(50) + 0.5, rng.random(50) + 0.1
    mean, low, high = bootstrap_ratio(a, b, seed=3)
    assert mean == pytest.approx(a.mean() / b.mean())
    assert low < mean < high
    inverse = bootstrap_ratio(b, a, seed=3)
    assert (1 / inverse.high, 1 / inverse.low) == pytest.approx((low, high), rel=2e-3)


def test_ratio_needs_a_positive_denominator_and_one_shape():
    assert all(math.isnan(v) for v in bootstrap_ratio([1.0, 1.0], [0.0, 0.0]))
    with pytest.raises(ValueError, match="same items"):
        bootstrap_ratio([1.0, 2.0], [1.0])


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_coverage_of_scores(n, p):
    rng = np.random.default_rng(7)
    held = 0
    for i in range(600):
        _, low, high = bootstrap_mean(
            (rng.random(n) < p).astype(float), bounds=(0, 1), seed=i, resamples=1000
        )
        held += low <= p <= high
    assert held / 600 > 0.92


@pytest.mark.slow
def test_coverage_of_a_cost_ratio():
    rng = np.random.default_rng(8)
    held = 0
    for i in range(600):
        b = rng.gamma(3.0, 1.0, size=40)
        a = b * rng.gamma(4.0, 0.2, size=40)
        _, low, high = bootstrap_ratio(a, b, seed=i, resamples=1000)
        held += low <= 0.8 <= high
    assert held / 600 > 0.92


@pytest.mark.parametrize(
    ("df", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_quantiles_of_the_table(df, t):
    assert student_quantile(0.975, df) == pytest.approx(t, abs=6e-4)
    assert student_quantile(0.025, df) == -student_quantile(0.975, df)


def test_one_degree_is_cauchy_and_many_are_normal():
    assert student_cdf(1.7, 1) == pytest.approx(0.5 + math.atan(1.7) / math.pi)
    assert student_cdf(1.7, 100_000) == pytest.approx(
        0.5 * math.erfc(-1.7 / math.sqrt(2)), abs=1e-5
    )


@pytest.mark.parametrize("df", [1, 2, 3, 7, 8])
def test_symmetric_and_inverse(df):
    assert student_cdf(0.0, df) == pytest.approx(0.5)
    assert student_cdf(-1.3, df) == pytest.approx(1 - student_cdf(1.3, df))
    assert student_cdf(student_quantile(0.9, df), df) == pytest.approx(0.9)
