"""The router: will thinking beat a direct answer by enough to pay for it?

Thinkless' idea (arXiv 2505.13379) for models that nobody trains: a small logistic model over named
features of the prompt, fitted before the study by its own loss (``search.router``), so that which
mode is asked for is decided apart from the prompt and the strategy. Its weights stand in the policy
file by name; here they are only read, without numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import register
from tierwise.difficulty.features import TEXT_FEATURES, text_features
from tierwise.difficulty.probe_agreement import ProbeAgreement
from tierwise.difficulty.probe_confidence import ProbeConfidence
from tierwise.errors import InputError, unknown_name
from tierwise.schema import Weight
from tierwise.strategies import Sample

INTERCEPT = "intercept"
CONFIDENCE, AGREEMENT = "probe_confidence", "probe_agreement"

_OF_PROBE: Mapping[str, Callable[[Sequence[Sample]], float]] = {
    CONFIDENCE: lambda probe: ProbeConfidence().value({}, probe),
    AGREEMENT: lambda probe: ProbeAgreement().value({}, probe),
}
FEATURES = (*TEXT_FEATURES, *_OF_PROBE)
"""Every feature that a weight may name."""


def features(inputs: Mapping[str, str], probe: Sequence[Sample] = ()) -> dict[str, float]:
    """What is visible: features of the text, and with a probe those of its samples."""
    found = dict(text_features(inputs))
    return found | ({name: of(probe) for name, of in _OF_PROBE.items()} if probe else {})


@register
@dataclass(frozen=True, slots=True)
class Router:
    """The probability that thinking does not pay, in [0, 1]: 1 / (1 + exp(sum of weights)).

    A feature counts as (it - ``mean``) / ``scale``; one that is not known (the confidence of a
    probe that failed) as its mean.
    """

    weights: tuple[Weight, ...] = ()

    kind: ClassVar[str] = "router"
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for weight in self.weights:
            if weight.feature not in (INTERCEPT, *FEATURES):
                raise unknown_name("feature of the router", weight.feature, FEATURES)
            if not weight.scale > 0:
                raise InputError(f"router: the scale of {weight.feature} must be above 0")

    @property
    def probes(self) -> bool:
        """Whether a feature is one of a probe's samples."""
        return any(weight.feature in _OF_PROBE for weight in self.weights)

    @property
    def scores(self) -> tuple[str, ...]:
        """Log-probabilities, where the confidence of a probe has a weight."""
        used = any(weight.feature == CONFIDENCE for weight in self.weights)
        return ("mean_logprob",) if used else ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """Higher is easier: less to gain by thinking."""
        seen = features(inputs, probe if self.probes else ())
        return 1.0 - probability(self.weights, seen)


def probability(weights: Sequence[Weight], seen: Mapping[str, float]) -> float:
    """Of the outcome that ``weights`` were fitted to, given the features."""
    logit = 0.0
    for feature, weight, mean, scale in weights:
        value = 1.0 if feature == INTERCEPT else seen.get(feature, mean)
        if math.isfinite(value):
            logit += weight * (value - mean) / scale
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(logit, 700.0))))
