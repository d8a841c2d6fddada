"""The vectorised evaluation equals the plain replay of ``step``, to the last choice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.estimators import majority_at_n
from tests.evaluation.worlds import CUTS, VARIANTS, random_policy, random_table
from tierwise.difficulty import SIGNALS
from tierwise.episode import strategies_of
from tierwise.evaluation import (
    STORED,
    Evaluator,
    Permutations,
    SampleTable,
    VariantTable,
    replay_item,
)
from tierwise.evaluation.evaluator import may_bind
from tierwise.schema import Limits, Policy, Recipe, StrategySpec, uniform
from tierwise.strategies import Stage


def replayed(policy: Policy, table, permutations: Permutations) -> np.ndarray:
    measures = []
    for item in range(table.n_items):
        for order in range(permutations.n):
            out = replay_item(policy, table, item, permutations, order)
            variant = out.variants[out.index]
            position = out.variants[: out.index].count(variant)
            column = permutations.columns(table.n_items, table.variants[variant].n_samples)[
                item, order, position
            ]
            score = table.variants[variant].score[item, column]
            measures.append((score, out.usd, len(out.samples), len(out.rounds)))
    return np.array(measures).T


@pytest.mark.parametrize("seed", range(120))
def test_rows_equal_the_replay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, permutations = random_table(seed), Permutations(n=3, seed=seed)
    policy = random_policy(rng, sorted(CUTS)[seed % len(CUTS)])
    rows = Evaluator(table, permutations).rows(policy)
    np.testing.assert_allclose(np.array(rows), replayed(policy, table, permutations), rtol=1e-6)


def test_the_policies_tell_by_every_signal() -> None:
    assert set(CUTS) == set(SIGNALS)


@pytest.mark.parametrize("seed", range(20))
def test_limits_bind_as_in_the_runtime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, permutations = random_table(seed, n_items=5), Permutations(n=2, seed=seed)
    limits = Limits(
        max_usd_per_request=float(rng.uniform(0.5, 4)) if seed % 2 else None,
        max_samples=int(rng.integers(1, 8)) if seed % 3 else None,
        timeout_s=float(rng.uniform(1.0, 3)) if seed % 4 else None,
    )
    policy = dataclasses.replace(random_policy(rng), limits=limits)
    rows = Evaluator(table, permutations).rows(policy)
    for i in range(table.n_items * permutations.n):
        out = replay_item(policy, table, i // permutations.n, permutations, i % permutations.n)
        assert rows.usd[i] == pytest.approx(out.usd, rel=1e-6)
        assert rows.samples[i] == len(out.samples)
        if limits.max_samples is not None:
            assert len(out.samples) <= limits.max_samples


def test_means_of_free_buckets_equal_means_over_rows() -> None:
    table, permutations = random_table(5), Permutations(n=4, seed=1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        policy = random_policy(rng)
        if any(b.strategy.kind in ("single", "best_of_n") for b in policy.buckets):
            continue
        evaluator = Evaluator(table, permutations)
        means = np.array(evaluator.rows(policy)).reshape(4, -1, permutations.n).mean(axis=2)
        got = evaluator.evaluate(policy)
        expected = np.array([got.score, got.usd, got.samples, got.rounds])
        np.testing.assert_allclose(expected, means, rtol=1e-6)
        assert sum(got.shares) == pytest.approx(1)


@pytest.mark.parametrize("spec", ["single", "best_of_n"])
def test_closed_forms_are_what_many_orders_converge_to(spec: str) -> None:
    table = random_table(3, n_items=6, n_samples=8)
    strategy = StrategySpec.of(spec) if spec == "single" else StrategySpec.of(spec, samples=3)
    policy = uniform(VARIANTS[0], strategy)
    exact = Evaluator(table, Permutations(n=1)).evaluate(policy)
    many = np.array(Evaluator(table, Permutations(n=6000, seed=9)).rows(policy).score).reshape(
        6, -1
    )
    np.testing.assert_allclose(exact.score, many.mean(axis=1), atol=0.03)
    np.testing.assert_allclose(exact.samples, 1 if spec == "single" else 3)


def test_votes_over_many_permutations_converge_to_the_exact_plurality() -> None:
    rng = np.random.default_rng(4)
    answers = rng.integers(-1, 3, (8, 9)).astype(np.int16)
    zero = np.zeros(answers.shape)
    rows = VariantTable(answers, (answers == 0).astype(float), zero, zero, zero)
    table = SampleTable(tuple("abcdefgh"), ({},) * 8, {VARIANTS[0]: rows})
    said = [[None if code < 0 else code for code in row] for row in answers.tolist()]
    for n in (1, 2, 5):
        vote = uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=n))
        got = Evaluator(table, Permutations(n=4500)).evaluate(vote)
        exact = [majority_at_n(of, right, n) for of, right in zip(said, rows.score, strict=True)]
        np.testing.assert_allclose(got.score, exact, atol=0.03)


def test_what_the_samples_do_not_support_is_nan() -> None:
    table = random_table(0, n_samples=5)
    for kind in ("self_consistency", "best_of_n", "weighted_consistency"):
        six = Evaluator(table).evaluate(uniform(VARIANTS[0], StrategySpec.of(kind, samples=6)))
        assert np.isnan(six.score).all(), kind
        assert np.isnan(six.usd).all(), kind


def test_an_item_with_a_missing_sample_is_nan_and_the_others_are_not() -> None:
    table = random_table(0, missing=True)
    got = Evaluator(table).evaluate(
        uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=3))
    )
    assert np.isnan(got.score[0])
    assert not np.isnan(got.score[1:]).any()


def test_a_portfolio_interleaves_to_the_variant_with_fewest_samples() -> None:
    table = random_table(1)
    recipe = Recipe(VARIANTS[:2], StrategySpec.of("self_consistency", samples=5))
    out = replay_item(Policy((recipe,)), table, 0, STORED)
    assert [VARIANTS.index(a) for a in out.variants] == [0, 1, 0, 1, 0]


def test_places_of_many_rows_do_not_overflow() -> None:
    """Positions are kept in bytes; a row's place among 40,000 rows does not fit one."""
    table = random_table(2, n_items=40)
    many, few = Permutations(n=1000, seed=3), Permutations(n=14, seed=3)
    strategy = StrategySpec.of("adaptive_consistency", threshold=0.8, max_samples=9)
    policy = Policy((Recipe(VARIANTS[:2], strategy),))
    rows = np.array(Evaluator(table, many).rows(policy)).reshape(4, 40, 1000)
    # The first ``depth`` orders are the same however many follow.
    np.testing.assert_array_equal(
        rows[:, :, :14].reshape(4, -1), np.array(Evaluator(table, few).rows(policy))
    )


def test_a_slow_provider_does_not_bind_a_policy_that_a_search_proposes() -> None:
    """Samples of half a minute: seventeen of them pass any fixed time-out, and change nothing."""
    table = random_table(3)
    slow = dataclasses.replace(
        table,
        variants={
            variant: dataclasses.replace(rows, latency_s=rows.latency_s * 0 + 30.0)
            for variant, rows in table.variants.items()
        },
    )
    variant = next(iter(table.variants))
    policy = uniform(variant, StrategySpec.of("self_consistency", samples=5))
    assert not may_bind(policy, strategies_of(policy), slow)
    fast_found, slow_found = (Evaluator(t, Permutations(4)).evaluate(policy) for t in (table, slow))
    assert np.array_equal(fast_found.score, slow_found.score, equal_nan=True)
    assert np.array_equal(fast_found.samples, slow_found.samples, equal_nan=True)


def test_a_cascade_over_too_few_variants_is_unsupported() -> None:
    stages = (Stage((0,), 1), Stage((1,), 1))
    policy = uniform(VARIANTS[0], StrategySpec.of("cascade", stages=stages))
    assert np.isnan(Evaluator(random_table(0)).evaluate(policy).score).all()
