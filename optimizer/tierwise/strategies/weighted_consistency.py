"""Score-weighted self-consistency: each vote counts with its verifier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import Ask, Draw, Return, Seen, plurality, register, whole


@register
@dataclass(frozen=True, slots=True)
class WeightedConsistency:
    """A vote of ``draws`` in one round; the answer with the largest sum of weights wins.

    ``verifier`` names a log-probability-like score: a draw weighs exp(score), 0 where there is
    none. The answer seen first wins a tie.
    """

    draws: int
    verifier: str = "mean_logprob"

    kind: ClassVar[str] = "weighted_consistency"

    def __post_init__(self) -> None:
        whole("weighted_consistency.draws", self.draws, 1)
        if not self.verifier or not isinstance(self.verifier, str):
            raise InputError(f"weighted_consistency.verifier must be a name, got {self.verifier!r}")

    @property
    def max_draws(self) -> int:
        """``draws``."""
        return self.draws

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for all at once, then vote."""
        left = self.draws - len(seen.draws)
        return Ask(left) if left > 0 else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """First draw of the answer with the most weight."""
        weight: dict[str, float] = {}
        first: dict[str, int] = {}
        for i, draw in enumerate(seen.draws):
            if draw.answer is not None:
                weight[draw.answer] = weight.get(draw.answer, 0.0) + self._weight(draw)
                first.setdefault(draw.answer, i)
        if not weight:
            return plurality(seen.draws)
        best = max(weight.values())
        return min(first[answer] for answer, total in weight.items() if total == best)

    def _weight(self, draw: Draw) -> float:
        score = draw.scores.get(self.verifier, math.nan)
        return 0.0 if math.isnan(score) else math.exp(min(score, 0.0))
