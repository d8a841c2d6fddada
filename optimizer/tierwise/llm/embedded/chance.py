"""Random numbers by counter: a pure function of (key, seed, step), whatever else is sampled.

The mixing is SplitMix64's finaliser (Steele, Lea & Flood 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Words64 = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def _mix(x: Words64) -> Words64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def streams(keys: Sequence[int], seeds: Sequence[int]) -> Words64:
    """One stream per (key, seed) pair, shape ``(n,)``."""
    key = np.array([k & _MASK for k in keys], np.uint64)
    seed = np.array([(s * _GOLDEN + 1) & _MASK for s in seeds], np.uint64)
    return _mix(key ^ _mix(seed))


def uniform(stream: Words64, step: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for ``step`` of each stream, shape ``(n,)``."""
    offset = np.uint64((step + 1) * _GOLDEN & _MASK)
    return (_mix(stream + offset) >> np.uint64(11)).astype(np.float64) * 2.0**-53
