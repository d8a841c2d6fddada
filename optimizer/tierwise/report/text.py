"""Numbers, intervals and recipes as people read them, in tables, pages and the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tierwise.schema import Recipe
from tierwise.schema.measured import Bounds, FailedItems
from tierwise.stats import Interval
from tierwise.strategies import STRATEGIES, build, names_in_words

NOTHING = "–"
PER = 1000
"""Costs are shown for this many requests: dollars of one request have too many zeros."""


def known(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def score(value: float | None) -> str:
    """`0.821`."""
    return f"{value:.3f}" if value is not None and known(value) else NOTHING


def bounds(pair: Sequence[float | None] | None) -> str:
    """`[0.790, 0.849]`; nothing where an end is not known."""
    return _ends(pair, lambda end: f"{end:.3f}")


def _ends(pair: Sequence[float | None] | None, said: Callable[[float], str]) -> str:
    if pair is None or len(pair) != 2 or pair[0] is None or pair[1] is None:
        return ""
    return f"[{said(pair[0])}, {said(pair[1])}]"


def beside(said: str, failed: FailedItems) -> str:
    """`0.812 (2 left out, 3 unanswered)`: a score with what failed beside it, if something did."""
    counts = {"left out": failed.left_out, "unanswered": failed.unanswered}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{said} ({told})" if told else said


def interval(found: Interval, sign: str = "") -> str:
    """`0.812 [0.782, 0.843]`; a question mark for what is not known."""
    mean, low, high = (f"{v:{sign}.3f}" if known(v) else "?" for v in found)
    return f"{mean} [{low}, {high}]"


def estimate(mean: float | None, ends: Bounds) -> Interval:
    """An estimate of a summary as an interval; NaN for what is not known."""
    return Interval(*(math.nan if value is None else value for value in (mean, *ends)))


def points(value: float | None) -> str:
    """A difference of scores in points of a hundred: `+38.4`."""
    return _signed(value) if value is not None and known(value) else NOTHING


def point_bounds(pair: Sequence[float | None] | None) -> str:
    """`[+34.7, +41.8]`."""
    return _ends(pair, _signed)


def _signed(value: float) -> str:
    """Nothing has no sign: `0.0`, never `-0.0`."""
    said = f"{100 * value:+.1f}"
    return said[1:] if float(said) == 0 else said


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits without an exponent: `0.0226`, `1,240`."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def usd(value: float | None) -> str:
    """`$0.0226`."""
    return f"${significant(value)}" if value is not None and known(value) else NOTHING


def usd_per(value: float | None) -> str:
    """Dollars for 1,000 requests, of dollars for one."""
    return usd(value * PER) if value is not None and known(value) else NOTHING


def ratio(value: float | None, unknown: str = NOTHING) -> str:
    """`×8.2`; `unknown` where the cost before was 0."""
    return f"×{significant(value, 2)}" if value is not None and known(value) else unknown


def share(value: float | None) -> str:
    """`39%`."""
    return f"{value:.0%}" if value is not None and known(value) else NOTHING


def recipe_in_words(recipe: Recipe) -> str:
    """`a vote of up to 9 samples of steps/think/0.8, until the leader is 90% sure`."""
    labels = [variant.label for variant in recipe.variants]
    known = recipe.strategy.kind in STRATEGIES.classes
    in_words = getattr(build(recipe.strategy), "in_words", None) if known else None
    return str(in_words(labels)) if in_words else f"{names_in_words(labels)}, {recipe.strategy}"
