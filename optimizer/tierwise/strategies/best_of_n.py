"""Best-of-n: a verifier, which never sees gold, picks one of n draws; all n are paid for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import Ask, Draw, Return, Seen, register, whole


@register
@dataclass(frozen=True, slots=True)
class BestOfN:
    """The draw that ``verifier`` scores highest wins; the one seen first on a tie.

    An abstention or a draw without a score wins only where there is nothing else.
    """

    draws: int
    verifier: str = "mean_logprob"

    kind: ClassVar[str] = "best_of_n"

    def __post_init__(self) -> None:
        whole("best_of_n.draws", self.draws, 1)
        if not self.verifier or not isinstance(self.verifier, str):
            raise InputError(f"best_of_n.verifier must be a name, got {self.verifier!r}")

    @property
    def max_draws(self) -> int:
        """``draws``."""
        return self.draws

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for all at once, then pick."""
        left = self.draws - len(seen.draws)
        return Ask(left) if left > 0 else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """Index of the best draw."""
        return best(seen.draws, self.verifier)


def best(draws: Sequence[Draw], verifier: str) -> int:
    """Index of the draw that ``verifier`` ranks first, the earliest on a tie."""

    def rank(i: int) -> tuple[bool, bool, float, int]:
        draw, score = draws[i], draws[i].scores.get(verifier, math.nan)
        return draw.failed, draw.answer is None, math.inf if math.isnan(score) else -score, i

    return min(range(len(draws)), key=rank)
