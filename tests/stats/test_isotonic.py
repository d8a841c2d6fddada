"""Pooling adjacent violators: hand values and the conditions of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import pool_adjacent_violators


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
