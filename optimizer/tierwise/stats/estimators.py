"""What a strategy would score with n samples, from the N samples that are stored.

All N are used, not "the first n": expectations are over subsets sampled without replacement, and an
n that the samples do not support is NaN. Rows are items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tierwise.stats.intervals import Floats


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


_STEPS = 50
_CLOSE = 1e-9
_FAR = 35.0
"""Logits are looked at up to here: beyond, a probability is 0 or 1 to the last bit."""


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """1 / (1 + exp(-logits))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -_FAR, _FAR))), dtype=np.float64)


def log_loss(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """The mean of -log(probability of what happened)."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1 - 1e-12)
    y = np.asarray(outcomes, dtype=np.float64)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def fit_logistic(x: Floats, outcomes: npt.ArrayLike, ridge: float) -> Floats:
    """(n_features + 1,): intercept, then coefficients, that minimise the penalised loss.

    The loss is the sum of -log-likelihoods plus ``ridge`` / 2 times the squared coefficients, the
    intercept's not among them: convex, so Newton's steps (halved where one goes too far) end at
    its one minimum.

    Args:
        x: (n, n_features), on like scales.
        outcomes: (n,), 0 or 1, or the share of an item's trials that came out as 1.
        ridge: above 0 unless the outcomes cannot be separated by ``x``.
    """
    y = np.asarray(outcomes, dtype=np.float64)
    design = np.column_stack([np.ones(len(y)), x])
    penalty = np.full(design.shape[1], float(ridge))
    penalty[0] = 1e-6  # only so that outcomes that are all alike have an end
    beta = np.zeros(design.shape[1])
    loss = _loss(design, y, penalty, beta)
    for _ in range(_STEPS):
        p = sigmoid(design @ beta)
        gradient = design.T @ (p - y) + penalty * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and (new := _loss(design, y, penalty, beta - size * step)) > loss:
            size /= 2
        if size <= 1e-6:
            break
        beta -= size * step
        if loss - new < _CLOSE:
            break
        loss = new
    return beta


def _loss(design: Floats, y: Floats, penalty: Floats, beta: Floats) -> float:
    logits = design @ beta
    return float((np.logaddexp(0.0, logits) - y * logits).sum() + (penalty * beta**2).sum() / 2)
