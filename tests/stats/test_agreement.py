"""Weighted kappa and reliability against their definitions, and how often their intervals err."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tierwise.stats.rank import intraclass_correlation, quadratic_kappa


def table_kappa(labels, scores, categories):
    """Cohen's weighted kappa from the table of counts, as the textbook has it."""
    table = np.zeros((categories, categories))
    for a, b in zip(labels, scores, strict=True):
        table[a, b] += 1
    table /= table.sum()
    chance = np.outer(table.sum(axis=1), table.sum(axis=0))
    weights = np.array(
        [[(i - j) ** 2 for j in range(categories)] for i in range(categories)], dtype=float
    )
    return 1 - (weights * table).sum() / (weights * chance).sum()


def test_kappa_is_that_of_the_table_of_categories():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 60)
    scores = np.clip(labels + rng.integers(-1, 2, 60), 0, 4)
    found = quadratic_kappa(labels, scores)
    assert found.mean == pytest.approx(table_kappa(labels, scores, 5))
    assert found.low < found.mean < found.high < 1
    assert quadratic_kappa(labels / 4, scores / 4).mean == pytest.approx(found.mean)


def test_kappa_of_a_rater_who_guesses_in_a_share_of_answers_is_the_rest():
    """Who gives the label with probability p, else one of the same distribution, has kappa p."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 5, 40_000)
    guessed = rng.integers(0, 5, 40_000)
    scores = np.where(rng.random(40_000) < 0.7, labels, guessed)
    assert quadratic_kappa(labels, scores, resamples=10).mean == pytest.approx(0.7, abs=0.02)
    assert quadratic_kappa(labels, labels, resamples=10) == (1, 1, 1)


def test_reliability_is_the_one_way_analysis_of_variance():
    rng = np.random.default_rng(3)
    readings = rng.normal(size=(30, 1)) + 0.5 * rng.normal(size=(30, 4))
    mean, k = readings.mean(axis=1), 4
    within = readings.var(axis=1, ddof=1).mean()
    between = k * mean.var(ddof=1)
    found = intraclass_correlation(readings)
    assert found.mean == pytest.approx((between - within) / (between + (k - 1) * within))
    assert found.low < 0.8 < found.high  # 1 / (1 + .25)


@pytest.mark.parametrize("n", [20, 40])
def test_a_rater_who_guesses_is_above_chance_in_a_few_percent_of_samples(n):
    """One-sided, at a nominal 2.5%."""
    rng = np.random.default_rng(n)
    wrongly = sum(
        quadratic_kappa(rng.integers(1, 6, n), rng.integers(1, 6, n), resamples=400).low > 0
        for _ in range(300)
    )
    assert wrongly <= 0.05 * 300


def test_what_the_ratings_do_not_support_is_not_a_number():
    few, same = [1, 2, 3], [1.0] * 20
    for x, y in itertools.product((few, same), repeat=2):
        if len(x) == len(y):
            assert np.isnan(quadratic_kappa(x, y)).all()
    assert np.isnan(intraclass_correlation(np.ones((20, 3)))).all()
    assert np.isnan(intraclass_correlation(np.arange(20.0)[:, None])).all()
