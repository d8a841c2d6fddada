"""Adaptive-Consistency (Aggarwal et al., arXiv 2305.11860): vote until the leader is safe."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import register, whole
from tierwise.strategies._voting import Vote, uncatchable


@functools.cache
def leader_confidence(lead: int, runner_up: int) -> float:
    """P(Bin(lead + runner_up + 1, 1/2) <= lead): mass of Beta(lead+1, runner_up+1) above 1/2."""
    n = lead + runner_up + 1
    return float(sum(math.comb(n, k) for k in range(lead + 1)) / 2**n)


@register
@dataclass(frozen=True, slots=True)
class AdaptiveConsistency(Vote):
    """Stop when ``leader_confidence`` reaches ``threshold``, or at ``max_draws``.

    Each round asks for ``window`` draws, or for as many as it takes before the vote could stop at
    all where that is more: three unanimous draws give .9375, so at .95 the first round is of four.
    That costs no draw and saves rounds, and with them prompt tokens and time.
    """

    threshold: float
    max_draws: int
    window: int = 1

    kind: ClassVar[str] = "adaptive_consistency"

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold < 1:
            raise InputError(
                f"adaptive_consistency.threshold must be in [0.5, 1), got {self.threshold!r}"
            )
        whole("adaptive_consistency.max_draws", self.max_draws, 1)
        whole("adaptive_consistency.window", self.window, 1)

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """0 once the leader is confident or cannot be caught."""
        left = self.max_draws - seen
        if seen and self._settled(lead, runner_up, left):
            return 0
        if left <= 0:
            return 0
        could_stop = next(
            (m for m in range(1, left) if self._settled(lead + m, runner_up, left - m)), left
        )
        return min(left, max(self.window, could_stop))

    def _settled(self, lead: int, runner_up: int, left: int) -> bool:
        return leader_confidence(lead, runner_up) >= self.threshold or uncatchable(
            lead, runner_up, left
        )
