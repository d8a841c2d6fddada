"""Score-weighted self-consistency: each vote counts with its verifier score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.strategies._base import (
    Ask,
    Return,
    Sample,
    Seen,
    check_verifier,
    names_in_words,
    plurality,
    register_strategy,
    score_in_words,
    whole,
)


@register_strategy
@dataclass(frozen=True, slots=True)
class WeightedConsistency:
    """A vote of ``samples`` in one round; the answer with the largest sum of weights wins.

    ``verifier`` names a log-probability-like score: a sample weighs exp(score), 0 where there is
    none. The answer seen first wins a tie.
    """

    samples: int
    verifier: str = "mean_logprob"

    kind: ClassVar[str] = "weighted_consistency"
    counts_equal_answers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("weighted_consistency.samples", self.samples, 1)
        check_verifier("weighted_consistency.verifier", self.verifier)

    @property
    def max_samples(self) -> int:
        """``samples``."""
        return self.samples

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        by = f"weighted by {score_in_words(self.verifier)}"
        return f"a vote of {self.samples} samples of {names_in_words(variants)}, {by}"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for all at once, then vote."""
        left = self.samples - len(seen.samples)
        return Ask(left) if left > 0 else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """First sample of the answer with the most weight."""
        return plurality(seen.samples, self._weight)

    def _weight(self, sample: Sample) -> float:
        score = sample.scores.get(self.verifier, math.nan)
        return 0.0 if math.isnan(score) else math.exp(min(score, 0.0))
