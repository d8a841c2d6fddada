"""Logistic regression and calibration, against closed forms and known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tierwise.stats.calibration import expected_calibration_error, reliability
from tierwise.stats.logistic import fit_logistic, log_loss, sigmoid


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
