"""The gate lets through what is surely better, or surely as good and cheaper; the null rarely."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.worlds import judged
from tierwise.search.gate import Comparison, compare, passed
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
        (152, 2.0, False),  # two items more, and dearer
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
    return Comparison(nothing, nothing, p)


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
