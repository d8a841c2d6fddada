"""Student's t against printed tables."""

from __future__ import annotations

import math

import pytest

from tierwise.stats import student_cdf, student_quantile


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
