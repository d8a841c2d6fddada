"""The gate lets through what is surely better, or surely as good and cheaper; the null rarely."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import judged
from tierwise.search.held_out import Comparison, compare, passed
from tierwise.search.selection import (
    EVERYWHERE,
    CandidateTable,
    CrossFitted,
    PairedItems,
    Utility,
    choose_policy,
    cross_fitted,
)
from tierwise.stats.intervals import Interval

MARGIN = 0.02
N = 300


def right(count: int) -> np.ndarray:
    return (np.arange(N) < count).astype(float)


@pytest.mark.parametrize(
    ("count", "usd", "expected"),
    [
        (230, 9.0, True),  # 80 items more, at nine times the dollars
        (150, 0.5, True),
        (152, 2.0, False),  # two items more, and more expensive
        (150, 1.0, False),  # the baseline itself
        (100, 0.1, False),  # much cheaper, and worse
    ],
)
def test_better_or_as_good_and_cheaper(count, usd, expected) -> None:
    usd_each = usd * (1 + 0.1 * np.cos(np.arange(N)))
    got = compare(judged(right(count), usd_each), judged(right(150), 1.0), margin=MARGIN)
    assert passed([got]) == [expected]
    assert got.difference.mean == pytest.approx((count - 150) / N)
    assert got.cost_ratio.mean == pytest.approx(usd, rel=0.01)


def comparison(p: float) -> Comparison:
    nothing = Interval(0.0, -1.0, 1.0)
    return Comparison(nothing, nothing, nothing, p)


def test_holm_counts_all_tiers_and_points() -> None:
    # In order: .01 <= .05/3, .02 <= .05/2, .04 <= .05/1; but .03 fails where three are left.
    assert passed([comparison(p) for p in (0.04, 0.01, 0.02)]) == [True, True, True]
    assert passed([comparison(p) for p in (0.04, 0.03, 0.02)]) == [False, False, False]
    assert passed([comparison(p) for p in (0.04, 0.03, 0.01)]) == [False, False, True]
    assert passed([comparison(float("nan")), comparison(0.02)]) == [False, True]
    assert passed([]) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "cost"), [(0.0, 1.3), (0.0, 1.0), (-MARGIN, 0.5), (-MARGIN, 1.0), (-0.05, 0.5)]
)
def test_the_null_passes_at_most_five_times_in_a_hundred(gain: float, cost: float) -> None:
    """Neither better nor as good and cheaper, on the edge of it; 120 items, a third differ."""
    rng = np.random.default_rng(1)
    n, races = 120, 200
    false = 0
    for _ in range(races):
        u = rng.random(n)
        up = (1 / 3 + gain) / 2
        base = np.where(u < up, 0.0, np.where(u < 1 / 3, 1.0, rng.random(n) < 0.6))
        score = np.where(u < up, 1.0, np.where(u < 1 / 3, 0.0, base))
        usd = cost * rng.gamma(20.0, 1 / 20, n)
        false += passed([compare(judged(score, usd), judged(base, 1.0), margin=MARGIN)])[0]
    # At .05 exactly, more than 20 of 200 come up once in a thousand.
    assert false <= 20


def test_validation_items_add_to_what_few_test_items_show() -> None:
    """Ten points on 60 test items show nothing; 200 cross-fitted items of the same gain do."""
    rng = np.random.default_rng(0)

    def pair(n: int) -> tuple[np.ndarray, np.ndarray]:
        base = rng.random(n) < 0.5
        return (base | (rng.random(n) < 0.2)).astype(float), base.astype(float)

    (new, old), (fitted, there) = pair(60), pair(200)
    alone = compare(judged(new, 2.0), judged(old, 1.0), margin=MARGIN)
    evidence = CrossFitted(fitted, np.full(200, 2.0), np.zeros(200)), judged(there, 1.0)
    both = compare(judged(new, 2.0), judged(old, 1.0), margin=MARGIN, validation=evidence)
    assert both.p < alone.p / 10
    assert both.pooled.high - both.pooled.low < alone.pooled.high - alone.pooled.low


def test_correlated_folds_widen_the_error() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)
    plain, folded = PairedItems(values, 0), PairedItems(values, 400)
    assert folded.error == pytest.approx(plain.error * np.sqrt(5 / 4))


@pytest.mark.slow
def test_choosing_among_equals_is_exported_at_most_five_times_in_a_hundred() -> None:
    """Sixty policies of one true score, 120 validation and 50 test items: what the gate lets by."""
    false, runs = 0, 300
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        z = 0.7 * rng.normal(size=170) + 0.71 * rng.normal(size=(60, 170))
        score = (z < 0).astype(float)
        kind = (np.arange(60) > 15).astype(np.intp)
        table = CandidateTable(score[:, :120], np.ones((60, 120)), kind, np.full(60, EVERYWHERE))
        best = choose_policy(table, Utility())
        evidence = cross_fitted(table, Utility()), judged(score[0, :120], 1.0)
        on_test = judged(score[best, 120:], 1.0), judged(score[0, 120:], 1.0)
        false += passed([compare(*on_test, margin=MARGIN, validation=evidence)])[0]
    assert false <= 0.05 * runs + 2 * np.sqrt(0.05 * 0.95 * runs)
