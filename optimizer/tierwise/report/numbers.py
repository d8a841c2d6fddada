"""Numbers as people read them: dollars per 1,000 requests, points, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOTHING = "–"
PER = 1000
"""Costs are shown for this many requests: dollars of one request have too many zeros."""

Bounds = Sequence[float | None] | None


def known(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def score(value: float | None) -> str:
    """``0.821``."""
    return f"{value:.3f}" if value is not None and known(value) else NOTHING


def bounds(pair: Bounds, digits: int = 3) -> str:
    """``[0.790, 0.849]``; nothing where an end is not known."""
    if pair is None or len(pair) != 2 or pair[0] is None or pair[1] is None:
        return ""
    return f"[{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def points(value: float | None) -> str:
    """A difference of scores in points of a hundred: ``+38.4``."""
    return _signed(value) if value is not None and known(value) else NOTHING


def point_bounds(pair: Bounds) -> str:
    """``[+34.7, +41.8]``."""
    if pair is None or len(pair) != 2 or pair[0] is None or pair[1] is None:
        return ""
    return f"[{_signed(pair[0])}, {_signed(pair[1])}]"


def _signed(value: float) -> str:
    """Nothing has no sign: ``0.0``, never ``-0.0``."""
    said = f"{100 * value:+.1f}"
    return said[1:] if float(said) == 0 else said


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits without an exponent: ``0.0226``, ``1,240``."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def usd(value: float | None) -> str:
    """``$0.0226``."""
    return f"${significant(value)}" if value is not None and known(value) else NOTHING


def usd_per(value: float | None) -> str:
    """Dollars for 1,000 requests, of dollars for one."""
    return usd(value * PER) if value is not None and known(value) else NOTHING


def ratio(value: float | None) -> str:
    """``×8.2``."""
    return f"×{significant(value, 2)}" if value is not None and known(value) else NOTHING


def share(value: float | None) -> str:
    """``39%``."""
    return f"{value:.0%}" if value is not None and known(value) else NOTHING
