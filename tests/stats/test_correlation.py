"""Rank correlation and AUROC against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tierwise.stats import auroc, ranks, spearman


def test_ranks_share_ties():
    assert ranks([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]


def test_spearman_by_hand():
    # 1 - 6 * sum d^2 / (n (n^2 - 1)), with d = 0, 1, -1, 0, 0
    assert spearman([1, 2, 3, 4, 5], [10, 30, 20, 40, 50]) == pytest.approx(0.9)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_spearman_with_ties_is_pearson_of_ranks():
    x, y = [1, 1, 2, 3, 3, 3], [2, 1, 2, 5, 4, 2]
    assert spearman(x, y) == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])


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
