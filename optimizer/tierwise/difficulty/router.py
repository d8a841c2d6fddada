"""The router: a calibrated guess, before any answer, whether thinking pays on this prompt.

What Thinkless (arXiv 2505.13379) trains into a model, for models that nobody trains: a small
logistic model over named features of the prompt (``router_features``), fitted before the study by
its own loss (``router_fit``), so that which mode is asked for is decided apart from the prompt and
the strategy. Its weights stand in the policy file by name; here they are only read, without numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import SignalFit, TrainingSamples, register_signal
from tierwise.difficulty.router_features import (
    CONFIDENCE,
    INTERCEPT,
    PROBE_FEATURES,
    ROUTER_FEATURES,
    router_features,
)
from tierwise.errors import InputError, unknown_name
from tierwise.schema import Weight
from tierwise.strategies import Sample


@register_signal
@dataclass(frozen=True, slots=True)
class Router:
    """The probability that thinking does not pay, in [0, 1]: 1 / (1 + exp(sum of weights)).

    A feature counts as (it - ``mean``) / ``scale``; one that is not known (the confidence of a
    probe that failed) as its mean.
    """

    weights: tuple[Weight, ...] = ()

    kind: ClassVar[str] = "router"
    chooses_mode: ClassVar[bool] = True
    fewest_items: ClassVar[int] = 40

    def __post_init__(self) -> None:
        for weight in self.weights:
            if weight.feature not in (INTERCEPT, *ROUTER_FEATURES):
                raise unknown_name("feature of the router", weight.feature, ROUTER_FEATURES)
            if not weight.scale > 0:
                raise InputError(f"router: the scale of {weight.feature} must be above 0")

    @classmethod
    def fit(cls, train: TrainingSamples) -> Sequence[SignalFit]:
        """A router before any sample, and one that sees a probe: ``router_fit``."""
        if len(train.pays) < cls.fewest_items:
            return []
        from tierwise.difficulty.router_fit import fit_router  # numpy, which answering does without

        fits = (fit_router(train, probed=probed) for probed in (False, True))
        return [found for found in fits if found is not None]

    @property
    def probes(self) -> bool:
        """Whether a feature is one of a probe's samples."""
        return any(weight.feature in PROBE_FEATURES for weight in self.weights)

    @property
    def scores(self) -> tuple[str, ...]:
        """Log-probabilities, where the confidence of a probe has a weight."""
        used = any(weight.feature == CONFIDENCE for weight in self.weights)
        return ("mean_logprob",) if used else ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """Higher is easier: less to gain by thinking."""
        seen = router_features(inputs, probe if self.probes else ())
        return 1.0 - probability(self.weights, seen)


def probability(weights: Sequence[Weight], seen: Mapping[str, float]) -> float:
    """Of the outcome that ``weights`` were fitted to, given the features."""
    logit = 0.0
    for feature, weight, mean, scale in weights:
        value = 1.0 if feature == INTERCEPT else seen.get(feature, mean)
        if math.isfinite(value):
            logit += weight * (value - mean) / scale
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(logit, 700.0))))
