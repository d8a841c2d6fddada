"""Fronts against the quadratic definition, sums of fronts against the full product."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.stats import minkowski_front, pareto_front

GRID = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def dominates(p, q):
    return p[0] >= q[0] and p[1] <= q[1] and p != q


@given(GRID)
def test_front_is_what_nobody_dominates(points):
    scores, costs = [p[0] for p in points], [p[1] for p in points]
    undominated = {p for p in points if not any(dominates(q, p) for q in points)}
    got = pareto_front(scores, costs).tolist()
    assert [points[i] for i in got] == sorted(undominated, key=lambda p: p[1])
    assert all(points.index(points[i]) == i for i in got), "of equal points the first is kept"


def test_nan_is_never_on_the_front():
    assert pareto_front([math.nan, 0.5, 0.9], [0.0, 1.0, math.nan]).tolist() == [1]
    assert pareto_front([], []).tolist() == []


COMPONENTS = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def split(component):
    return [p[0] for p in component], [p[1] for p in component]


@given(COMPONENTS, st.data())
def test_minkowski_front_is_the_front_of_all_combinations(components, data):
    k = len(components)
    weights = data.draw(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=k, max_size=k))
    got = minkowski_front([split(c) for c in components], weights)
    every = {
        (
            sum(w * p[0] for w, p in zip(weights, combo, strict=True)),
            sum(w * p[1] for w, p in zip(weights, combo, strict=True)),
        )
        for combo in itertools.product(*components)
    }
    best = sorted((p for p in every if not any(dominates(q, p) for q in every)), key=lambda p: p[1])
    assert list(zip(got.scores, got.costs, strict=True)) == best
    assert got.epsilon == 0


@given(COMPONENTS)
def test_choices_rebuild_the_sums(components):
    weights = [0.5 ** (i + 1) for i in range(len(components))]
    got = minkowski_front([split(c) for c in components], weights)
    for score, cost, choice in zip(got.scores, got.costs, got.choices, strict=True):
        picked = [c[i] for c, i in zip(components, choice, strict=True)]
        assert score == sum(w * p[0] for w, p in zip(weights, picked, strict=True))
        assert cost == sum(w * p[1] for w, p in zip(weights, picked, strict=True))


def test_a_component_without_points_leaves_nothing():
    assert len(minkowski_front([([1.0], [1.0]), ([], [])], [0.5, 0.5]).scores) == 0


@pytest.mark.parametrize("cap", [2, 5, 20])
def test_a_capped_sum_is_within_its_epsilon(cap):
    rng = np.random.default_rng(0)
    components = []
    for _ in range(4):
        costs = np.sort(rng.random(12))
        components.append((np.sort(rng.random(12)), costs))
    weights = [0.4, 0.3, 0.2, 0.1]
    exact = minkowski_front(components, weights)
    capped = minkowski_front(components, weights, max_points=cap)
    assert len(exact.scores) > 20
    assert len(capped.scores) <= cap
    for score, cost in zip(exact.scores, exact.costs, strict=True):
        at_most = capped.costs <= cost + 1e-12
        assert capped.scores[at_most].max() >= score - capped.epsilon - 1e-12


def test_points_off_the_convex_hull_are_kept():
    got = minkowski_front([([0.0, 0.1, 1.0], [0.0, 0.9, 1.0])], [1.0])
    assert got.scores.tolist() == [0.0, 0.1, 1.0]


def test_weights_are_checked():
    with pytest.raises(ValueError, match="as many weights"):
        minkowski_front([([1.0], [1.0])], [0.5, 0.5])
    with pytest.raises(ValueError, match="negative"):
        minkowski_front([([1.0], [1.0])], [-0.5])
