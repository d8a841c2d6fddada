"""Confidence of a few cheap draws: the model's own log-probability of what it said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty._base import register
from tierwise.strategies import Draw


@register
class ProbeConfidence:
    """Mean over the probe's draws of their mean token log-probability (natural, <= 0).

    Draws without one (failed) are left out; where none has one the prompt counts as hardest.
    """

    kind: ClassVar[str] = "probe_confidence"
    probes: ClassVar[bool] = True
    logprobs: ClassVar[bool] = True

    def value(self, inputs: Mapping[str, str], probe: Sequence[Draw]) -> float:
        """In (-inf, 0]."""
        known = [s for d in probe if not math.isnan(s := d.scores.get("mean_logprob", math.nan))]
        return math.fsum(known) / len(known) if known else -math.inf
