"""No signal: every request is in the one bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty._base import register_signal
from tierwise.strategies import Sample


@register_signal
class NoSignal:
    """Always 0."""

    kind: ClassVar[str] = "none"
    probes: ClassVar[bool] = False
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """0."""
        return 0.0
