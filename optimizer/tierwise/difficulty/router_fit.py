"""Fits the router: a calibrated guess, before any answer, whether thinking pays on a prompt.

Thinkless (arXiv 2505.13379) trains a model to choose its mode and decouples that choice from the
answer. Here the model is left as it is: on the train split, which no trial sees, a logistic model
with an L2 penalty learns by its own loss when a sample of a thinking variant beats one of a direct
variant by enough to pay for it. The outcome of an item is the share of its pairs of samples in
which it does: single samples say more than which of two noisy means is ahead. The study then only
chooses where to cut the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.difficulty._base import SignalFit, TrainingSamples
from tierwise.difficulty.router_features import INTERCEPT, ROUTER_FEATURES, router_features
from tierwise.schema import Difficulty, Probe, Weight
from tierwise.schema.measured import ReliabilityPoint, SignalFitSummary, number
from tierwise.stats.estimators import fit_logistic, log_loss, sigmoid
from tierwise.stats.intervals import Floats
from tierwise.stats.rank import auroc_of_shares, expected_calibration_error, reliability

_Fold = npt.NDArray[np.bool_]

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
FOLDS = 5
FEWEST_OF_A_KIND = 8
"""Items' worth of pairs in which thinking pays, and in which it does not."""
DIGITS = 5
"""Of a weight: the file is to be read."""


class _Linear(NamedTuple):
    """A logistic model over the features that vary: (n_used,) arrays, and which they are."""

    used: npt.NDArray[np.intp]
    mean: Floats
    scale: Floats
    weight: Floats
    intercept: float

    def logits(self, x: Floats) -> Floats:
        """(n,) for (n, n_features); what is not known counts as its mean."""
        z = (x[:, self.used] - self.mean) / self.scale
        found: Floats = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0) @ self.weight
        return found + self.intercept


def fit_router(train: TrainingSamples, *, probed: bool) -> SignalFit | None:
    """The router over the items of ``train``; None where there is too little to learn from.

    ``probed``: it sees the items' probes.
    """
    pays = np.asarray(train.pays, dtype=np.float64)
    if min(pays.sum(), (1 - pays).sum()) < FEWEST_OF_A_KIND:
        return None
    x = _visible(train, probed=probed)
    guessed = sigmoid(_cross_fitted(x, pays))
    model = _chosen(x, pays)
    probe = Probe((train.direct,), len(train.probes[0])) if probed else None
    share, weights = float(pays.mean()), _weights(model)
    summary = SignalFitSummary(
        probe=None if probe is None else str(probe),
        direct=train.direct.label,
        think=train.think.label,
        items=len(pays),
        thinking_pays_from=train.pays_from,
        share_where_thinking_pays=share,
        share_predicted_above_that=float((guessed > share).mean()),
        collapsed=not any(each.weight for each in weights[1:]),
        auroc=number(auroc_of_shares(guessed, pays)),
        auroc_of_length=number(auroc_of_shares(x[:, ROUTER_FEATURES.index("words")], pays)),
        ece=number(expected_calibration_error(guessed, pays)),
        log_loss=number(log_loss(guessed, pays)),
        log_loss_of_the_share=number(_entropy(share)),
        reliability=tuple(ReliabilityPoint(*point) for point in reliability(guessed, pays)),
        weights={w.feature: w.weight for w in sorted(weights, key=lambda w: -abs(w.weight))},
    )
    difficulty = Difficulty("router", (), probe, weights=weights)
    return SignalFit(difficulty, summary, train.direct, train.think)


def _visible(train: TrainingSamples, *, probed: bool) -> Floats:
    """(n_items, n_features): what the runtime will see, by the very function that it calls."""
    found = []
    for inputs, probe in zip(train.inputs, train.probes, strict=True):
        seen = router_features(inputs, probe if probed else ())
        found.append([seen.get(name, math.nan) for name in ROUTER_FEATURES])
    return np.array(found)


def _chosen(x: Floats, pays: Floats) -> _Linear:
    """The model at the penalty that predicts items left out best.

    By log-loss, which is least where a prediction is the truth: so it is calibrated, too.
    """
    losses = [log_loss(sigmoid(_held_out(x, pays, ridge)), pays) for ridge in RIDGES]
    return _linear(x, pays, RIDGES[int(np.argmin(losses))])


def _linear(x: Floats, pays: Floats, ridge: float) -> _Linear:
    """The model on standardised features; those that do not vary have no weight."""
    known = np.where(np.isfinite(x), x, np.nan)
    counted = np.isfinite(known).sum(axis=0) > 1
    mean, scale = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    mean[counted] = np.nanmean(known[:, counted], axis=0)
    scale[counted] = np.nanstd(known[:, counted], axis=0)
    used = np.flatnonzero(scale > 1e-12)
    z = np.nan_to_num((known[:, used] - mean[used]) / scale[used], nan=0.0)
    beta = fit_logistic(z, pays, ridge)
    return _Linear(used, mean[used], scale[used], beta[1:], float(beta[0]))


def _held_out(x: Floats, pays: Floats, ridge: float) -> Floats:
    """(n_items,): the logit of each item by a model that was fitted to the other folds."""
    logits = np.empty(len(x))
    for fold in _folds(len(x)):
        logits[fold] = _linear(x[~fold], pays[~fold], ridge).logits(x[fold])
    return logits


def _cross_fitted(x: Floats, pays: Floats) -> Floats:
    """The same with the penalty chosen without the item, too."""
    logits = np.empty(len(x))
    for fold in _folds(len(x)):
        logits[fold] = _chosen(x[~fold], pays[~fold]).logits(x[fold])
    return logits


def _folds(n: int) -> Sequence[_Fold]:
    """Items come in random order, so that every fifth is a random fold."""
    return [np.arange(n) % FOLDS == fold for fold in range(FOLDS)]


def _weights(model: _Linear) -> tuple[Weight, ...]:
    rows = zip(model.used, model.weight, model.mean, model.scale, strict=True)
    named = [Weight(ROUTER_FEATURES[int(at)], *map(_rounded, values)) for at, *values in rows]
    return (Weight(INTERCEPT, _rounded(model.intercept)), *named)


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def _entropy(share: float) -> float:
    """Log-loss of always predicting ``share``, where it is the truth."""
    return -(share * math.log(share) + (1 - share) * math.log(1 - share))
