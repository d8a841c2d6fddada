"""The vectorised evaluation equals the plain replay of ``step``, to the last choice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.evaluation.worlds import ARMS, CUTS, random_policy, random_table
from tierwise.difficulty import SIGNALS
from tierwise.episode import strategies_of
from tierwise.evaluation import STORED, Evaluator, Orders, replay
from tierwise.evaluation.limits import may_bind
from tierwise.recipe import Limits, Policy, Recipe, StrategySpec, uniform


def replayed(policy: Policy, table, orders: Orders) -> np.ndarray:
    measures = []
    for item in range(table.n_items):
        for order in range(orders.n):
            out = replay(policy, table, item, orders, order)
            arm = out.arms[out.index]
            position = out.arms[: out.index].count(arm)
            column = orders.columns(table.n_items, table.arms[arm].depth)[item, order, position]
            score = table.arms[arm].score[item, column]
            measures.append((score, out.usd, len(out.draws), len(out.rounds)))
    return np.array(measures).T


@pytest.mark.parametrize("seed", range(120))
def test_rows_equal_the_replay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, orders = random_table(seed), Orders(n=3, seed=seed)
    policy = random_policy(rng, sorted(CUTS)[seed % len(CUTS)])
    rows = Evaluator(table, orders).rows(policy)
    np.testing.assert_allclose(np.array(rows), replayed(policy, table, orders), rtol=1e-6)


def test_the_policies_tell_by_every_signal() -> None:
    assert set(CUTS) == set(SIGNALS)


@pytest.mark.parametrize("seed", range(20))
def test_limits_bind_as_in_the_runtime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, orders = random_table(seed, n_items=5), Orders(n=2, seed=seed)
    limits = Limits(
        max_usd_per_request=float(rng.uniform(0.5, 4)) if seed % 2 else None,
        max_draws=int(rng.integers(1, 8)) if seed % 3 else None,
        timeout_s=float(rng.uniform(1.0, 3)) if seed % 4 else None,
    )
    policy = dataclasses.replace(random_policy(rng), limits=limits)
    rows = Evaluator(table, orders).rows(policy)
    for i in range(table.n_items * orders.n):
        out = replay(policy, table, i // orders.n, orders, i % orders.n)
        assert rows.usd[i] == pytest.approx(out.usd, rel=1e-6)
        assert rows.draws[i] == len(out.draws)
        if limits.max_draws is not None:
            assert len(out.draws) <= limits.max_draws


def test_means_of_free_buckets_equal_means_over_rows() -> None:
    table, orders = random_table(5), Orders(n=4, seed=1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        policy = random_policy(rng)
        if any(b.strategy.kind in ("single", "best_of_n") for b in policy.buckets):
            continue
        evaluator = Evaluator(table, orders)
        means = np.array(evaluator.rows(policy)).reshape(4, -1, orders.n).mean(axis=2)
        got = evaluator.evaluate(policy)
        expected = np.array([got.score, got.usd, got.draws, got.rounds])
        np.testing.assert_allclose(expected, means, rtol=1e-6)
        assert sum(got.shares) == pytest.approx(1)


@pytest.mark.parametrize("spec", ["single", "best_of_n"])
def test_closed_forms_are_what_many_orders_converge_to(spec: str) -> None:
    table = random_table(3, n_items=6, depth=8)
    strategy = StrategySpec.of(spec) if spec == "single" else StrategySpec.of(spec, draws=3)
    policy = uniform(ARMS[0], strategy)
    exact = Evaluator(table, Orders(n=1)).evaluate(policy)
    many = np.array(Evaluator(table, Orders(n=6000, seed=9)).rows(policy).score).reshape(6, -1)
    np.testing.assert_allclose(exact.score, many.mean(axis=1), atol=0.03)
    np.testing.assert_allclose(exact.draws, 1 if spec == "single" else 3)


def test_what_the_draws_do_not_support_is_nan() -> None:
    table = random_table(0, depth=5)
    for kind in ("self_consistency", "best_of_n", "weighted_consistency"):
        six = Evaluator(table).evaluate(uniform(ARMS[0], StrategySpec.of(kind, draws=6)))
        assert np.isnan(six.score).all(), kind
        assert np.isnan(six.usd).all(), kind


def test_an_item_with_a_missing_draw_is_nan_and_the_others_are_not() -> None:
    table = random_table(0, missing=True)
    got = Evaluator(table).evaluate(uniform(ARMS[0], StrategySpec.of("self_consistency", draws=3)))
    assert np.isnan(got.score[0])
    assert not np.isnan(got.score[1:]).any()


def test_a_portfolio_deals_to_the_arm_with_fewest_draws() -> None:
    table = random_table(1)
    recipe = Recipe(ARMS[:2], StrategySpec.of("self_consistency", draws=5))
    out = replay(Policy((recipe,)), table, 0, STORED)
    assert [ARMS.index(a) for a in out.arms] == [0, 1, 0, 1, 0]


def test_places_of_many_rows_do_not_overflow() -> None:
    """Positions are kept in bytes; a row's place among 40,000 rows does not fit one."""
    table = random_table(2, n_items=40)
    many, few = Orders(n=1000, seed=3), Orders(n=14, seed=3)
    strategy = StrategySpec.of("adaptive_consistency", threshold=0.8, max_draws=9)
    policy = Policy((Recipe(ARMS[:2], strategy),))
    rows = np.array(Evaluator(table, many).rows(policy)).reshape(4, 40, 1000)
    # The first ``depth`` orders are the same however many follow.
    np.testing.assert_array_equal(
        rows[:, :, :14].reshape(4, -1), np.array(Evaluator(table, few).rows(policy))
    )


def test_a_slow_provider_does_not_bind_a_policy_that_a_search_proposes() -> None:
    """Draws of half a minute: seventeen of them pass any fixed time-out, and change nothing."""
    table = random_table(3)
    slow = dataclasses.replace(table, arms={
        arm: dataclasses.replace(rows, latency_s=rows.latency_s * 0 + 30.0)
        for arm, rows in table.arms.items()
    })  # fmt: skip
    arm = next(iter(table.arms))
    policy = uniform(arm, StrategySpec.of("self_consistency", draws=5))
    assert not may_bind(policy, strategies_of(policy), slow)
    fast_found, slow_found = (Evaluator(t, Orders(4)).evaluate(policy) for t in (table, slow))
    assert np.array_equal(fast_found.score, slow_found.score, equal_nan=True)
    assert np.array_equal(fast_found.draws, slow_found.draws, equal_nan=True)
