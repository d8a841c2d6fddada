"""What is known of interleaved samples grows with use, is counted, and is freed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from tests.evaluation.test_evaluator import replayed
from tests.evaluation.worlds import VARIANTS, random_table
from tierwise.evaluation import Evaluator, Permutations
from tierwise.evaluation.evaluator import LRUCache
from tierwise.evaluation.interleaved import (
    FIRST_ROOM,
    USUAL_SAMPLES,
    Interleaved,
    ScoreBlock,
    VariantRows,
)
from tierwise.evaluation.standings import Standings
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec

PERMUTATIONS = Permutations(n=3, seed=1)


def standings(n_samples: int = 14) -> Standings:
    table = random_table(0, n_samples=n_samples)
    scores = ScoreBlock(table.n_items * PERMUTATIONS.n)
    return Standings(
        Interleaved(
            [VariantRows(table.variants[variant], PERMUTATIONS, scores) for variant in VARIANTS]
        )
    )


def test_nothing_waits_for_the_garbage_collector() -> None:
    known = standings()
    known.votes(5), known.agreeing(5), known.best("mean_logprob", 5)
    known.heaviest("mean_logprob", 5)
    gone = (
        weakref.ref(known),
        weakref.ref(known.interleaved),
        weakref.ref(known.interleaved.variants[0]),
    )
    gc.disable()
    try:
        del known
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()


def test_a_cache_counts_what_has_grown() -> None:
    cache, known = LRUCache[Standings](5_000), standings()
    cache.get("first", standings)
    cache.get("second", lambda: known)
    known.votes(12)
    known.heaviest("mean_logprob", 12)
    assert cache.get("second", standings) is known
    assert cache.bytes == known.nbytes > 5_000
    assert cache.get("first", lambda: known) is known  # was thrown out


def test_a_shelf_keeps_what_was_put_down_as_it_grows() -> None:
    shelf = ScoreBlock(2)
    places = [shelf.put(np.full(2, i, dtype=np.float32)) for i in range(FIRST_ROOM + 5)]
    assert [shelf.values[place, 1] for place in places] == list(range(FIRST_ROOM + 5))


def test_samples_are_laid_out_as_far_as_anybody_asks() -> None:
    variant = standings().interleaved.variants[0]
    variant.answers.upto(3)
    assert variant.answers.nbytes == 3 * variant.n_rows


@pytest.mark.parametrize("variants", [VARIANTS[:1], VARIANTS[:2], VARIANTS])
@pytest.mark.parametrize(
    "kind", ["self_consistency", "best_of_n", "weighted_consistency", "early_stopping"]
)
def test_what_was_asked_before_does_not_matter(kind: str, variants: tuple) -> None:
    """Few samples, then more than there was room for, then few again: all equal the replay."""
    table, permutations = random_table(4, n_items=4, n_samples=40), Permutations(n=2, seed=2)
    evaluator = Evaluator(table, permutations)
    for n in (4, USUAL_SAMPLES, 35, 6):
        given = {"samples": n} if kind != "early_stopping" else {"window": 4, "max_samples": n}
        policy = Policy((Recipe(variants, StrategySpec.of(kind, **given)),))
        rows = np.array(evaluator.rows(policy))
        np.testing.assert_allclose(rows, replayed(policy, table, permutations), rtol=1e-6)


def test_a_probe_that_the_samples_do_not_support_is_nan() -> None:
    table = random_table(0, n_samples=3)
    probe = Probe(VARIANTS[:1], 4)
    recipes = tuple(Recipe((variant,), StrategySpec.of("single")) for variant in VARIANTS[:2])
    for buckets, cuts in ((recipes[1:], ()), (recipes, (0.5,))):
        got = Evaluator(table).evaluate(Policy(buckets, Difficulty("probe_agreement", cuts, probe)))
        for measure in (got.score, got.usd, got.samples, got.rounds):
            assert np.isnan(measure).all()
        assert sum(got.shares) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["self_consistency", "best_of_n", "weighted_consistency"])
def test_more_samples_than_a_byte_can_count(kind: str) -> None:
    table, permutations = random_table(3, n_items=2, n_samples=150), Permutations(n=2, seed=1)
    window = {"window": 40} if kind == "self_consistency" else {}
    policy = Policy((Recipe(VARIANTS[:2], StrategySpec.of(kind, samples=290, **window)),))
    rows = np.array(Evaluator(table, permutations).rows(policy))
    np.testing.assert_allclose(rows, replayed(policy, table, permutations), rtol=2e-6)
