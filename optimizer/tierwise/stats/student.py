"""Student's t distribution for whole degrees of freedom, in closed form.

Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import functools
import math

import numpy as np


def student_cdf(t: float, df: int) -> float:
    """P(T <= t) for ``df`` >= 1 degrees of freedom."""
    theta = math.atan2(t, math.sqrt(df))
    sin, cos2 = math.sin(theta), math.cos(theta) ** 2
    if df % 2:
        steps = np.arange(1, (df - 1) // 2)
        terms = np.cumprod(np.append(1.0, cos2 * 2 * steps / (2 * steps + 1)))
        series = math.cos(theta) * float(terms.sum()) if df > 1 else 0.0
        inside = (theta + sin * series) * 2 / math.pi
    else:
        steps = np.arange(1, df // 2)
        inside = sin * float(np.cumprod(np.append(1.0, cos2 * (2 * steps - 1) / (2 * steps))).sum())
    return 0.5 + inside / 2


@functools.lru_cache(maxsize=256)
def student_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = ``p``, for p in (0, 1), by bisection."""
    if p < 0.5:
        return -student_quantile(1 - p, df)
    high = 1.0
    while student_cdf(high, df) < p:
        high *= 2
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, df) < p else (low, middle)
    return high
