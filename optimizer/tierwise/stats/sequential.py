"""A confidence sequence for the mean of bounded values: it may be looked at after every item.

The hedged capital process of Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting" (JRSS B 2024, arXiv 2010.09686), theorem 3: for every candidate mean two gamblers bet
against it, one that the truth is higher and one that it is lower. Under the true mean their hedged
capital exceeds 1/alpha with probability at most alpha over all times (Ville's inequality), so the
candidates that did not make anyone rich are a confidence set, at any time and after any stopping.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import Floats

BET_LIMIT = 0.5
"""Most of the capital's safe share that a gambler bets at once: no single value ruins anybody."""


class ConfidenceSequence(NamedTuple):
    """Bounds after 1, 2, … n values; each (n,), never widening."""

    low: Floats
    high: Floats


def confidence_sequence(
    values: npt.ArrayLike,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (-1.0, 1.0),
    candidates: int = 1001,
) -> ConfidenceSequence:
    """Time-uniform bounds of the mean of ``values``, by default paired differences of scores.

    Args:
        values: (n,) independent samples from one distribution, in the order of looking (items in an
            order that does not depend on the values).
        level: probability that the mean is inside at all times at once.
        bounds: what every value must lie within.
        candidates: grid of means; the bounds are rounded outwards to it.

    Raises:
        ValueError: a value is NaN or out of bounds.
    """
    raw = np.asarray(values, dtype=np.float64)
    low, high = bounds
    if not ((raw >= low) & (raw <= high)).all():
        raise ValueError(f"values must lie within {bounds} and not be NaN")
    x = (raw - low) / (high - low)
    alpha = 1 - level
    means = np.linspace(0, 1, candidates)
    bets = _bets(x, alpha)[:, None]
    with np.errstate(divide="ignore"):
        up = np.minimum(bets, BET_LIMIT / means)
        down = np.minimum(bets, BET_LIMIT / (1 - means))
    gain = x[:, None] - means
    richest = np.maximum(
        np.cumsum(np.log1p(up * gain), axis=0), np.cumsum(np.log1p(-down * gain), axis=0)
    )
    # Each gambler starts with half; once rejected, a candidate stays rejected.
    rejected = np.logical_or.accumulate(richest - math.log(2) >= math.log(1 / alpha), axis=0)
    step, everything = 1 / (candidates - 1), rejected.all(axis=1)
    first = np.argmax(~rejected, axis=1)
    last = candidates - 1 - np.argmax(~rejected[:, ::-1], axis=1)
    lows = np.maximum(means[first] - step, 0.0)
    highs = np.minimum(means[last] + step, 1.0)
    # All candidates rejected happens with probability alpha at most; keep the last set there.
    for t in np.flatnonzero(everything):
        lows[t], highs[t] = (lows[t - 1], highs[t - 1]) if t else (0.0, 1.0)
    scale = high - low
    return ConfidenceSequence(low + scale * lows, low + scale * highs)


class SequentialDecision(NamedTuple):
    """On which side of a bar the mean was shown to lie, and after how many values."""

    side: Literal["above", "below"]
    after: int


def sequential_test(
    values: npt.ArrayLike, bar: float, *, error: float = 0.05
) -> SequentialDecision | None:
    """Whether the mean of ``values`` in [0, 1] is above or below ``bar``; None: not decided yet.

    Two gamblers of the confidence sequence bet against ``bar``, and are looked at after every
    value. Each side is wrong with probability ``error`` at most, however long one looks: where the
    mean is at or below the bar, the capital of who bets that it is higher is a supermartingale, and
    exceeds 1 / error with that probability (Ville), and the other way round.

    Raises:
        ValueError: a value is NaN or out of bounds, or the bar is not between 0 and 1.
    """
    x = np.asarray(values, dtype=np.float64)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("values must lie within (0, 1) and not be NaN")
    if not 0 < bar < 1:
        raise ValueError(f"the bar must lie within (0, 1), got {bar:g}")
    bets = _bets(x, 2 * error)
    rich = -math.log(error)
    above = np.cumsum(np.log1p(np.minimum(bets, BET_LIMIT / bar) * (x - bar))) >= rich
    below = np.cumsum(np.log1p(-np.minimum(bets, BET_LIMIT / (1 - bar)) * (x - bar))) >= rich
    decided = np.flatnonzero(above | below)
    if not len(decided):
        return None
    first = int(decided[0])
    return SequentialDecision("above" if above[first] else "below", first + 1)


def _bets(x: Floats, alpha: float) -> Floats:
    """(n,): predictable bets, each from the values before it (the paper's plug-in bets)."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets: Floats = np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log(t + 1)))
    return bets
