"""Confidence of a few cheap samples: the model's own log-probability of what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import MeanScore, register_signal
from tierwise.errors import unknown_name
from tierwise.schema.policy import Param

OF = ("mean", "min")


@register_signal
@dataclass(frozen=True, slots=True)
class ProbeConfidence(MeanScore):
    """Over the probe's samples the mean of each one's ``of`` (mean, min) token log-probability.

    Natural logarithms, in (-inf, 0]. The mean asks how sure the model was of all that it said, the
    minimum how sure of its least sure step.
    """

    of: str = "mean"

    kind: ClassVar[str] = "probe_confidence"
    choices: ClassVar[Mapping[str, tuple[Param, ...]]] = {"of": OF}

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise unknown_name("probe_confidence.of", str(self.of), OF)

    @property
    def scores(self) -> tuple[str, ...]:
        """``mean_logprob`` or ``min_logprob``."""
        return (f"{self.of}_logprob",)
