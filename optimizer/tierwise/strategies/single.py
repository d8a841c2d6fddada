"""One sample: what most deployments do today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.strategies._base import (
    Ask,
    Return,
    Seen,
    names_in_words,
    plurality,
    register_strategy,
)


@register_strategy
@dataclass(frozen=True, slots=True)
class Single:
    """The first sample is the answer."""

    kind: ClassVar[str] = "single"

    @property
    def max_samples(self) -> int:
        """1."""
        return 1

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        return f"one sample of {names_in_words(variants)}"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask once."""
        return Return(self.choose(seen)) if seen.samples else Ask(1)

    def choose(self, seen: Seen) -> int:
        """The sample (with a reused probe, the probe's plurality: those samples are paid for)."""
        return plurality(seen.samples)
