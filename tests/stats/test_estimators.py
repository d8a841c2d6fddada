"""Estimators against enumeration of all subsets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import best_of_n_score, pass_at_k, pick_weights


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
