"""Logistic regression with an L2 penalty, by Newton's method: small, numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
