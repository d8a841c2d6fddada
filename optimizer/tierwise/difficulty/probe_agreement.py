"""Agreement of a few cheap samples: where they differ, the prompt is hard for this model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty._base import register_signal
from tierwise.strategies import Sample


@register_signal
class ProbeAgreement:
    """Share of the probe's samples with the plurality answer; abstentions agree with nobody."""

    kind: ClassVar[str] = "probe_agreement"
    probes: ClassVar[bool] = True
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """In [0, 1]."""
        counts = Counter(d.answer for d in probe if d.answer is not None)
        return max(counts.values(), default=0) / len(probe) if probe else 0.0
