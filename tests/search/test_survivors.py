"""Who leaves the race: a variant that is dominated everywhere, and hardly ever one of equals."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import VARIANTS, coins
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema import StrategySpec, Variant
from tierwise.search.selection import Utility
from tierwise.search.survivors import Envelope, envelope, most_useful, survivors

A, B, C = VARIANTS
SINGLE, VOTE = StrategySpec.of("single"), StrategySpec.of("self_consistency", samples=3)
N = 60


def points(p: dict[Variant, np.ndarray], usd: dict[Variant, float], **more) -> Envelope:
    """``p``'s variants under one sample and a vote of three; items get longer from the first on."""
    table = coins(p, usd, 5, **more)
    return envelope(Evaluator(table, Permutations(4)), list(p), [SINGLE, VOTE])


def flat(p: float) -> np.ndarray:
    return np.full(N, p)


def halves(short: float, long: float) -> np.ndarray:
    return np.repeat([short, long], N // 2)


SAME = {A: 1.0, B: 1.0, C: 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_an_variant_that_is_dominated_everywhere_goes(seed: int) -> None:
    raced = points({A: flat(0.9), B: flat(0.3)}, {A: 1.0, B: 1.0}, seed=seed)
    assert survivors(raced) == (A,)


@pytest.mark.parametrize("seed", range(5))
def test_an_variant_that_is_worse_and_cheaper_stays(seed: int) -> None:
    raced = points({A: flat(0.9), B: flat(0.3)}, {A: 1.0, B: 0.5}, seed=seed)
    assert survivors(raced) == (A, B)


@pytest.mark.parametrize("seed", range(5))
def test_an_variant_that_is_good_on_long_items_alone_stays(seed: int) -> None:
    raced = points({A: halves(1.0, 0.2), B: halves(0.0, 0.7)}, SAME, seed=seed)
    assert survivors(raced) == (A, B)


@pytest.mark.parametrize("seed", range(5))
def test_an_variant_that_only_votes_well_stays(seed: int) -> None:
    """B wins one sample, A the vote: A's samples are never all wrong on an item, B's often are."""
    right = np.where(np.arange(N) % 5 < 3, 1.0, 0.0)
    raced = points({A: flat(0.5), B: right}, SAME, seed=seed)
    assert A in survivors(raced)


def test_points_that_the_samples_do_not_support_are_left_out() -> None:
    table = coins({A: flat(0.5)}, SAME, 4)
    ways = [SINGLE, StrategySpec.of("self_consistency", samples=5)]
    assert len(envelope(Evaluator(table, Permutations(2)), [A], ways).variant) == 1


def of_equals(rng: np.random.Generator, n_variants: int, n_items: int, strata: int) -> Envelope:
    """Variants that do the same: one sample, and votes of three and five of five samples."""
    p = rng.random(n_items) ** 0.5
    counts = rng.binomial(5, p, size=(n_variants, n_items))
    scores = np.stack([counts / 5, counts >= 3, counts >= 4], axis=1).reshape(-1, n_items)
    usd = np.tile(np.repeat([[1.0], [3.0], [5.0]], n_items, axis=1), (n_variants, 1))
    everything = np.ones(n_items, dtype=bool)
    short = np.arange(n_items) < n_items // 2
    masks = (everything, short, ~short)[:strata]
    variants = tuple(Variant(f"p{i}", "direct", 0.8) for i in range(n_variants))
    owner = np.repeat(np.arange(n_variants), 3)
    return Envelope(variants, owner, scores.astype(float), usd, masks, len(owner))


@pytest.mark.parametrize(("n_items", "strata"), [(48, 3), (48, 1), (16, 3), (120, 3)])
@pytest.mark.parametrize("n_variants", [2, 12])
def test_a_race_of_equals_drops_one_less_often_than_alpha(n_variants, n_items, strata) -> None:
    rng = np.random.default_rng(n_items + n_variants)
    races = 300
    dropped = sum(
        len(survivors(of_equals(rng, n_variants, n_items, strata), alpha=0.05)) < n_variants
        for _ in range(races)
    )
    assert dropped / races <= 0.05


def test_most_useful_takes_the_best_and_what_adds_most() -> None:
    raced = points({A: halves(0.95, 0.1), B: halves(0.7, 0.1), C: halves(0.1, 0.9)}, SAME)
    aim = Utility()
    assert set(most_useful(raced, (A, B, C), 2, aim)) == {A, C}, "B adds less to A"
    assert set(most_useful(raced, (A, B, C), 3, aim)) == {A, B, C}
    assert len(most_useful(raced, (A, B, C), 1, aim)) == 1


def test_the_jobs_price_decides_between_a_cheap_variant_and_a_better_one() -> None:
    raced = points({A: flat(0.7), B: flat(0.75)}, {A: 1.0, B: 1000.0})
    assert most_useful(raced, (A, B), 1, Utility(0.001)) == (B,)
    assert most_useful(raced, (A, B), 1, Utility(0.05)) == (A,)
