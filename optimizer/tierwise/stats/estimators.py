"""What a strategy would score with n samples, from the N samples that are stored.

All N are used, not "the first n": expectations are over subsets sampled without replacement, and an n
that the samples do not support is NaN. Rows are items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Floats:
    """1 - C(n-c, k) / C(n, k): P(one of k samples is right), with ``c`` of ``n`` right.

    An oracle bound, never a strategy. Chen et al., arXiv 2107.03374. The arguments broadcast;
    NaN where k > n or k < 1.
    """
    n, c, k = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, c, k)))
    supported = (k >= 1) & (k <= n)
    all_wrong = np.ones(n.shape)
    for i in range(int(k[supported].max(initial=0))):
        left = np.where(i < n, n - i, 1.0)
        all_wrong = all_wrong * np.where(i < k, np.clip(n - c - i, 0, None) / left, 1.0)
    return np.where(supported, 1 - all_wrong, np.nan)


def pick_weights(n_samples: int, n: int) -> Floats:
    """(n_samples,): P(the sample of rank i, best first, is the best of a random subset of ``n``).

    C(n_samples-1-i, n-1) / C(n_samples, n); NaN where the samples do not support n.
    """
    if not 1 <= n <= n_samples:
        return np.full(n_samples, np.nan)
    weights = np.zeros(n_samples)
    weights[0] = n / n_samples
    for i in range(1, n_samples - n + 1):
        weights[i] = weights[i - 1] * (n_samples - n - i + 1) / (n_samples - i)
    return weights


def best_of_n_score(
    score: npt.ArrayLike, verifier: npt.ArrayLike, n: int, abstained: npt.ArrayLike | None = None
) -> Floats:
    """Exact expected metric of the verifier's pick among ``n`` of the N stored samples.

    Samples that tie are equally likely to be the one seen first. A sample without a verifier score
    ranks last, and an abstention after every extracted answer, as in ``best_of_n``.

    Args:
        score: (n_items, N) metric of each sample; an item with a NaN is NaN.
        verifier: (n_items, N) verifier scores, higher is better, NaN where there is none.
        n: samples of the strategy; all NaN where n > N.
        abstained: (n_items, N) True where no answer was extracted; left out: nowhere.

    Returns:
        (n_items,).
    """
    metric = np.asarray(score, dtype=np.float64)
    judged = np.asarray(verifier, dtype=np.float64)
    judged = np.where(np.isnan(judged), -np.inf, judged)
    silent = np.zeros(metric.shape, bool) if abstained is None else np.asarray(abstained, bool)
    order = np.lexsort((-judged, silent), axis=1)
    metric, judged, silent = (np.take_along_axis(a, order, 1) for a in (metric, judged, silent))
    n_items, n_samples = metric.shape
    new_group = np.ones((n_items, n_samples), bool)
    new_group[:, 1:] = (judged[:, 1:] != judged[:, :-1]) | (silent[:, 1:] != silent[:, :-1])
    group = np.cumsum(new_group.ravel()) - 1
    weights = np.tile(pick_weights(n_samples, n), n_items)
    shared = (np.bincount(group, weights) / np.bincount(group))[group]
    expected: Floats = (shared.reshape(n_items, n_samples) * metric).sum(axis=1)
    return expected
