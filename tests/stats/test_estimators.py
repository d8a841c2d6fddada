"""Estimators against enumeration of all subsets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.estimators import pass_at_k
from tierwise.stats import best_of_n_score, pick_weights
from tierwise.stats.estimators import fit_logistic, log_loss, sigmoid
from tierwise.stats.rank import expected_calibration_error, reliability


@pytest.mark.parametrize(
    ("n", "c", "k"), [(5, 2, 3), (10, 1, 1), (7, 0, 7), (7, 7, 2), (200, 3, 100)]
)
def test_pass_at_k_is_its_definition(n, c, k):
    expected = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-14)


def test_pass_at_k_by_enumeration():
    samples = [1, 0, 0, 1, 0]
    subsets = list(itertools.combinations(samples, 3))
    assert pass_at_k(5, 2, 3) == pytest.approx(np.mean([any(s) for s in subsets]))


def test_pass_at_k_of_one_sample_is_the_success_rate():
    c = np.arange(9)
    assert pass_at_k(8, c, 1) == pytest.approx(c / 8)


def test_pass_at_k_broadcasts_and_is_nan_where_the_samples_do_not_support_k():
    out = pass_at_k(4, np.array([[1], [2]]), np.array([0, 1, 4, 5]))
    assert out.shape == (2, 4)
    assert np.isnan(out[:, [0, 3]]).all()
    assert (out[:, 2] == 1).all()


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


def test_best_of_n_handles_items_separately():
    score = np.array([[1.0, 0, 0], [0, 0, 1.0], [np.nan, 1, 1]])
    verifier = np.array([[3.0, 2, 1], [3.0, 2, 1], [3.0, 2, 1]])
    out = best_of_n_score(score, verifier, 2)
    assert out[:2] == pytest.approx([2 / 3, 0])
    assert np.isnan(out[2])


def test_best_of_n_with_a_perfect_verifier_is_pass_at_k():
    rng = np.random.default_rng(0)
    score = (rng.random((20, 9)) < 0.3).astype(float)
    for n in (1, 4, 9):
        assert best_of_n_score(score, score, n) == pytest.approx(pass_at_k(9, score.sum(1), n))


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


def test_it_finds_the_coefficients_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 3))
    true = np.array([0.7, -1.2, 0.0])
    y = rng.random(20_000) < sigmoid(0.4 + x @ true)
    beta = fit_logistic(x, y, ridge=1.0)
    np.testing.assert_allclose(beta, [0.4, *true], atol=0.08)


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


def test_log_loss_by_hand() -> None:
    assert log_loss([0.5, 0.5], [0, 1]) == pytest.approx(math.log(2))
    assert log_loss([1.0, 0.0], [1, 0]) == pytest.approx(0, abs=1e-9)


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
