"""Expected samples of early-stopping self-consistency, in closed form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def expected_samples_esc(probabilities: npt.ArrayLike, window: int, cap: int) -> Floats:
    """E[samples] of ESC (Li et al., arXiv 2401.10480) with windows of ``window`` and at most ``cap``.

    A window is unanimous with q = sum p^window; the next one is sampled with probability 1 - q. The
    last window is cut at the cap.

    Args:
        probabilities: (..., n_answers) of independent samples; a sum below 1 leaves the rest to
            abstentions, with which no window is unanimous.
        window: samples of a window, at least 1.
        cap: most samples, at least ``window``.

    Returns:
        (...,).

    Raises:
        ValueError: not 1 <= window <= cap.
    """
    if not 1 <= window <= cap:
        raise ValueError(f"needs 1 <= window <= cap, got window {window} and cap {cap}")
    p = np.asarray(probabilities, dtype=np.float64)
    go_on = 1 - np.sum(p**window, axis=-1)
    samples: Floats = np.zeros(go_on.shape)
    for done in range(0, cap, window):
        samples = samples + min(window, cap - done) * go_on ** (done // window)
    return samples
