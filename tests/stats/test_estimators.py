"""Estimators against enumeration of all subsets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import best_of_n_score, pick_weights
from tierwise.stats.estimators import fit_logistic, sigmoid
from tierwise.stats.rank import expected_calibration_error, reliability


def test_pick_weights_sum_to_one_and_are_nan_beyond_the_samples():
    for n in range(1, 9):
        assert pick_weights(8, n).sum() == pytest.approx(1)
    assert pick_weights(8, 3)[2] == pytest.approx(math.comb(5, 2) / math.comb(8, 3))
    assert np.isnan(pick_weights(3, 4)).all()
    assert np.isnan(pick_weights(3, 0)).all()


def enumerated_best_of_n(score, verifier, abstained, n):
    """All ordered subsets; ties go to the one seen first."""
    total = []
    for order in itertools.permutations(range(len(score)), n):
        key = [
            (abstained[i], math.inf if math.isnan(verifier[i]) else -verifier[i], seen)
            for seen, i in enumerate(order)
        ]
        total.append(score[order[key.index(min(key))]])
    return np.mean(total)


row = st.tuples(
    st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([-2.0, -1.0, 0.5, math.nan]), st.booleans()
)


@given(rows=st.lists(row, min_size=1, max_size=5), n=st.integers(1, 5))
def test_best_of_n_is_the_mean_over_all_orders(rows, n):
    score, verifier, abstained = (list(column) for column in zip(*rows, strict=True))
    got = best_of_n_score([score], [verifier], n, [abstained])[0]
    if n > len(rows):
        assert math.isnan(got)
    else:
        assert got == pytest.approx(enumerated_best_of_n(score, verifier, abstained, n))


def test_best_of_n_with_a_perfect_verifier_is_pass_at_k():
    """1 - C(N - right, n) / C(N, n), item by item (Chen et al., arXiv 2107.03374)."""
    score = (np.random.default_rng(0).random((20, 9)) < 0.3).astype(float)
    for n in (1, 4, 9):
        right = score.sum(axis=1).astype(int).tolist()
        expected = [1 - math.comb(9 - k, n) / math.comb(9, n) for k in right]
        assert best_of_n_score(score, score, n) == pytest.approx(expected)
    score[2, 0] = np.nan
    assert np.isnan(best_of_n_score(score, score, 2)).tolist() == [i == 2 for i in range(20)]


def test_one_binary_feature_gives_the_log_odds_of_the_two_groups() -> None:
    x = np.repeat([0.0, 1.0], [40, 60])[:, None]
    y = np.concatenate([np.repeat([1, 0], [10, 30]), np.repeat([1, 0], [45, 15])])
    intercept, slope = fit_logistic(x, y, ridge=1e-9)
    assert intercept == pytest.approx(math.log(10 / 30), abs=1e-4)
    assert intercept + slope == pytest.approx(math.log(45 / 15), abs=1e-4)


def test_the_gradient_of_the_penalised_loss_is_zero_at_the_fit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    y = rng.random(80) < sigmoid(x @ [1.0, -2.0, 0.5, 0, 0, 0])
    for ridge in (0.1, 1.0, 30.0):
        beta = fit_logistic(x, y, ridge)
        error = sigmoid(beta[0] + x @ beta[1:]) - y
        assert np.abs(x.T @ error + ridge * beta[1:]).max() < 1e-3
        assert abs(error.sum()) < 1e-3


def test_separable_and_one_sided_outcomes_have_an_end() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    assert np.isfinite(fit_logistic(x, x[:, 0] > 0, ridge=1.0)).all()
    alike = fit_logistic(x, np.ones(20), ridge=1.0)
    assert sigmoid(alike[0]) > 0.99
    assert np.isfinite(alike).all()


def test_more_penalty_means_smaller_coefficients() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 4))
    y = rng.random(50) < sigmoid(2 * x[:, 0])
    sizes = [np.abs(fit_logistic(x, y, ridge)[1:]).sum() for ridge in (0.1, 1, 10, 100)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_calibrated_guess_has_a_small_error_and_a_wrong_one_its_distance() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(50_000)
    y = rng.random(50_000) < p
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error(np.full(1000, 0.9), np.repeat([1, 0], 500)) == pytest.approx(
        0.4
    )
    assert math.isnan(expected_calibration_error([], []))


def test_the_reliability_curve_has_every_prediction_once() -> None:
    p = np.repeat([0.1, 0.1, 0.5, 0.9], 5)
    bins = reliability(p, p > 0.4, bins=4)
    assert sum(b.items for b in bins) == 20
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
    assert bins[0] == (pytest.approx(0.1), 0.0, 10)
