"""Rank correlation and AUROC against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tierwise.stats import auroc, pool_adjacent_violators, rankdata, spearman


def test_ranks_share_ties():
    assert rankdata([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]


def test_spearman_by_hand():
    # 1 - 6 * sum d^2 / (n (n^2 - 1)), with d = 0, 1, -1, 0, 0
    assert spearman([1, 2, 3, 4, 5], [10, 30, 20, 40, 50]) == pytest.approx(0.9)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_spearman_with_ties_is_pearson_of_ranks():
    x, y = [1, 1, 2, 3, 3, 3], [2, 1, 2, 5, 4, 2]
    assert spearman(x, y) == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def test_spearman_of_a_constant_is_unknown():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1], [1]))
    with pytest.raises(ValueError, match="one shape"):
        spearman([1, 2], [1])


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_auroc_is_the_share_of_pairs_won(rows):
    up = [s for s, positive in rows if positive]
    down = [s for s, positive in rows if not positive]
    got = auroc([s for s, _ in rows], [positive for _, positive in rows])
    if not up or not down:
        assert math.isnan(got)
    else:
        wins = [1.0 if u > d else 0.5 if u == d else 0.0 for u in up for d in down]
        assert got == pytest.approx(np.mean(wins))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=15))
def test_spearman_sees_only_order(x):
    y = [math.atan(5 * v) for v in x]
    assume(len(set(x)) > 1)
    assume(len(set(y)) == len(set(x)))
    assert spearman(x, y) == pytest.approx(1)


def test_by_hand():
    assert pool_adjacent_violators([1, 3, 2, 4]) == pytest.approx([1, 2.5, 2.5, 4])
    assert pool_adjacent_violators([4, 1], [1, 3]) == pytest.approx([1.75, 1.75])
    assert len(pool_adjacent_violators([])) == 0


def max_min(y, w):
    """Max over starts of min over ends of the weighted mean: the closed form of the optimum."""
    n = len(y)
    return [
        max(
            min(np.average(y[i : j + 1], weights=w[i : j + 1]) for j in range(k, n))
            for i in range(k + 1)
        )
        for k in range(n)
    ]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=8))
def test_equals_the_max_min_formula(rows):
    y, w = [float(r[0]) for r in rows], [float(r[1]) for r in rows]
    got = pool_adjacent_violators(y, w)
    assert got == pytest.approx(max_min(y, w))
    assert (np.diff(got) >= 0).all()
    assert np.average(got, weights=w) == pytest.approx(np.average(y, weights=w))


def test_weights_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        pool_adjacent_violators([1, 2], [1, 0])
