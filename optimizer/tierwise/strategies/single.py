"""One draw: what most deployments do today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tierwise.strategies._base import Ask, Return, Seen, plurality, register


@register
@dataclass(frozen=True, slots=True)
class Single:
    """The first draw is the answer."""

    kind: ClassVar[str] = "single"

    @property
    def max_draws(self) -> int:
        """1."""
        return 1

    def step(self, seen: Seen) -> Ask | Return:
        """Ask once."""
        return Return(self.choose(seen)) if seen.draws else Ask(1)

    def choose(self, seen: Seen) -> int:
        """The draw (with a reused probe, the probe's plurality: those draws are paid for)."""
        return plurality(seen.draws)
