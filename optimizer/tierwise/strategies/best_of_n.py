"""Best-of-n: a verifier, which never sees gold, picks one of n samples; all n are paid for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import Ask, Return, Sample, Seen, register_strategy, whole


@register_strategy
@dataclass(frozen=True, slots=True)
class BestOfN:
    """The sample that ``verifier`` scores highest wins; the one seen first on a tie.

    An abstention or a sample without a score wins only where there is nothing else.
    """

    samples: int
    verifier: str = "mean_logprob"

    kind: ClassVar[str] = "best_of_n"

    def __post_init__(self) -> None:
        whole("best_of_n.samples", self.samples, 1)
        if not self.verifier or not isinstance(self.verifier, str):
            raise InputError(f"best_of_n.verifier must be a name, got {self.verifier!r}")

    @property
    def max_samples(self) -> int:
        """``samples``."""
        return self.samples

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for all at once, then pick."""
        left = self.samples - len(seen.samples)
        return Ask(left) if left > 0 else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """Index of the best sample."""
        return best(seen.samples, self.verifier)


def best(samples: Sequence[Sample], verifier: str) -> int:
    """Index of the sample that ``verifier`` ranks first, the earliest on a tie."""

    def rank(i: int) -> tuple[bool, bool, float, int]:
        sample, score = samples[i], samples[i].scores.get(verifier, math.nan)
        return sample.failed, sample.answer is None, math.inf if math.isnan(score) else -score, i

    return min(range(len(samples)), key=rank)
