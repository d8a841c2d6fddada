"""Length of the inputs: free, and often not far behind what costs money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty._base import register_signal
from tierwise.strategies import Sample


@register_signal
class Length:
    """Minus the number of white-space separated words over all inputs: longer is harder."""

    kind: ClassVar[str] = "length"
    probes: ClassVar[bool] = False
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """Minus the count of words."""
        return -float(sum(len(text.split()) for text in inputs.values()))
