"""Expected votes against enumeration, and the two-query example of IAPO (arXiv 2508.10030)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.estimators import expected_samples_esc, majority_at_n, multinomial_majority


def utility(votes, scores):
    """Mean score of the answers that are tied at the top; 0 where nobody voted."""
    counts = {a: votes.count(a) for a in set(votes) if not math.isnan(scores[a])}
    if not counts:
        return 0.0
    top = [a for a, c in counts.items() if c == max(counts.values())]
    return sum(scores[a] for a in top) / len(top)


SCORES = st.lists(st.sampled_from([0.0, 1.0, 0.5, math.nan]), min_size=1, max_size=4)


@given(scores=SCORES, data=st.data(), n=st.integers(1, 7))
def test_majority_at_n_is_the_mean_over_all_subsets(scores, data, n):
    size = len(scores)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    samples = [a for a, c in enumerate(counts) for _ in range(c)]
    got = majority_at_n([counts], [scores], n)[0]
    if n > len(samples):
        assert math.isnan(got)
    else:
        every = [utility(s, scores) for s in itertools.combinations(samples, n)]
        assert got == pytest.approx(np.mean(every), abs=1e-12)


@given(scores=SCORES, data=st.data(), n=st.integers(1, 5))
def test_multinomial_majority_is_the_sum_over_all_outcomes(scores, data, n):
    size = len(scores)
    raw = data.draw(st.lists(st.integers(1, 5), min_size=size, max_size=size))
    p = [r / sum(raw) for r in raw]
    expected = sum(
        math.prod(p[a] for a in votes) * utility(votes, scores)
        for votes in itertools.product(range(size), repeat=n)
    )
    assert multinomial_majority([p], [scores], n)[0] == pytest.approx(expected, abs=1e-12)


def test_the_best_prompt_at_one_sample_is_not_the_best_voting_prompt():
    right = np.array([[1.0, 0.0]])
    a = [multinomial_majority([[p, 1 - p]], right, 10)[0] for p in (0.4, 0.9)]
    b = multinomial_majority([[0.62, 0.38]], right, 10)[0]
    one_a = [multinomial_majority([[p, 1 - p]], right, 1)[0] for p in (0.4, 0.9)]
    assert np.mean(one_a) == pytest.approx(0.65)
    assert np.mean(one_a) > 0.62
    assert np.mean(a) == pytest.approx(0.63, abs=0.005)
    assert b == pytest.approx(0.77, abs=0.01)


def test_a_binary_vote_is_a_binomial_tail_with_half_of_the_tie():
    p, n = 0.4, 10
    pmf = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    expected = sum(pmf[6:]) + pmf[5] / 2
    assert multinomial_majority([[p, 1 - p]], [[1, 0]], n)[0] == pytest.approx(expected)


def test_ties_among_t_answers_count_one_t_th():
    assert majority_at_n([[1, 1, 1, 1, 1]], [[1, 0, 0, 0, 0]], 5)[0] == pytest.approx(1 / 5)
    assert majority_at_n([[2, 2, 2]], [[1, 0, 0]], 6)[0] == pytest.approx(1 / 3)


def test_one_sample_scores_the_mean_and_all_samples_score_the_winner():
    counts, scores = [[5, 3, 2]], [[0.0, 1.0, math.nan]]
    assert majority_at_n(counts, scores, 1)[0] == pytest.approx(0.3)
    assert majority_at_n(counts, scores, 10)[0] == 0


def test_rows_are_items_and_unsupported_ones_are_nan():
    out = majority_at_n([[3, 0], [1, 1], [0, 9]], [[1, 0], [1, 0], [1, 0]], 3)
    assert out[0] == pytest.approx(1)
    assert np.isnan(out[1])
    assert out[2] == pytest.approx(0)
    assert np.isnan(majority_at_n([[3, 0]], [[1, 0]], 0)).all()


def test_no_overflow_with_many_samples():
    out = majority_at_n([[700, 600, 748]], [[1, 0, 0]], 15)[0]
    assert out == pytest.approx(
        multinomial_majority([[700 / 2048, 600 / 2048, 748 / 2048]], [[1, 0, 0]], 15)[0], abs=0.01
    )


def test_probabilities_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        multinomial_majority([[0.5, 0.4]], [[1, 0]], 3)
    assert np.isnan(multinomial_majority([[0.5, 0.5]], [[1, 0]], 0)).all()


def test_without_replacement_agrees_with_resampling():
    rng = np.random.default_rng(3)
    counts, scores = [6, 5, 3, 2], [0.0, 1.0, 0.5, math.nan]
    samples = [a for a, c in enumerate(counts) for _ in range(c)]
    sampled = [list(rng.permutation(samples)[:7]) for _ in range(4000)]
    sampled = np.array([utility(votes, scores) for votes in sampled])
    error = sampled.std() / math.sqrt(len(sampled))
    assert majority_at_n([counts], [scores], 7)[0] == pytest.approx(sampled.mean(), abs=4 * error)


def published(p, window, cap):
    q, rounds = np.sum(np.asarray(p) ** window), cap // window
    stops = sum(q * (1 - q) ** i * (i + 1) for i in range(rounds - 1))
    return window * (stops + (1 - q) ** (rounds - 1) * rounds)


@pytest.mark.parametrize(("window", "cap"), [(1, 1), (2, 8), (5, 40), (4, 4)])
@pytest.mark.parametrize("p", [[1.0], [0.5, 0.5], [0.7, 0.2, 0.1], [0.6, 0.2]])
def test_equals_the_published_sum(p, window, cap):
    assert expected_samples_esc(p, window, cap) == pytest.approx(published(p, window, cap))


def test_by_hand():
    # q = .5, one look after 2 of 4: 2 + .5 * 2
    assert expected_samples_esc([0.5, 0.5], 2, 4) == pytest.approx(3)


def test_rows_and_a_last_window_that_is_cut():
    out = expected_samples_esc([[0.5, 0.5], [1.0, 0.0]], 2, 5)
    assert out == pytest.approx([2 + 0.5 * 2 + 0.25 * 1, 2])


def test_by_simulation():
    rng = np.random.default_rng(1)
    p, window, cap = [0.6, 0.3, 0.1], 3, 11
    used = []
    for _ in range(4000):
        samples = rng.choice(3, size=cap, p=p)
        ends = [e for e in (3, 6, 9) if len(set(samples[e - 3 : e])) == 1]
        used.append(ends[0] if ends else cap)
    error = np.std(used) / np.sqrt(len(used))
    assert expected_samples_esc(p, window, cap) == pytest.approx(np.mean(used), abs=4 * error)


@pytest.mark.parametrize(("window", "cap"), [(0, 4), (5, 4)])
def test_windows_out_of_range_are_refused(window, cap):
    with pytest.raises(ValueError, match="window"):
        expected_samples_esc([1.0], window, cap)
