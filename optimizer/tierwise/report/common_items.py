"""Items that two tables have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def common(
    a: tuple[str, ...], b: tuple[str, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the ids that both have, in the order of ``a``."""
    place = {item: i for i, item in enumerate(b)}
    both = [(i, place[item]) for i, item in enumerate(a) if item in place]
    pairs = np.array(both, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
