"""Holm's procedure by hand, and as the closed test that it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import holm


def test_by_hand():
    out = holm([0.01, 0.04, 0.03, 0.005])
    assert out.adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert out.rejected.tolist() == [True, False, False, True]


def test_a_test_that_could_not_be_made_still_counts():
    out = holm([0.03, math.nan])
    assert out.adjusted == pytest.approx([0.06, 1.0])
    assert not out.rejected.any()


def test_nothing_to_test():
    assert len(holm([]).rejected) == 0


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6), alpha=st.floats(0.001, 0.5))
def test_rejects_what_stepping_down_rejects(p, alpha):
    expected = [False] * len(p)
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] * (len(p) - step) > alpha:
            break
        expected[i] = True
    assert holm(p, alpha).rejected.tolist() == expected


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_between_raw_and_bonferroni(p):
    adjusted = holm(p).adjusted
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()
