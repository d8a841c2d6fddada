"""Best-of-n: a verifier, which never sees gold, picks one of n samples; all that are asked for are
paid for. With ``stop_at`` they are asked for one by one, up to the first that scores enough
(adaptive best-of-n; cf. BEACON, arXiv 2510.15945)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import (
    Ask,
    Return,
    Sample,
    Seen,
    check_verifier,
    names_in_words,
    register_strategy,
    score_in_words,
    whole,
)


@register_strategy
@dataclass(frozen=True, slots=True)
class BestOfN:
    """The sample that ``verifier`` scores highest wins; the one seen first on a tie.

    An abstention or a sample without a score wins only where there is nothing else. ``stop_at`` is
    the score that ends the request; None: all ``samples`` are asked for at once.
    """

    samples: int
    verifier: str = "mean_logprob"
    stop_at: float | None = None

    kind: ClassVar[str] = "best_of_n"

    def __post_init__(self) -> None:
        whole("best_of_n.samples", self.samples, 1)
        check_verifier("best_of_n.verifier", self.verifier)
        if self.stop_at is not None and (
            isinstance(self.stop_at, bool)
            or not isinstance(self.stop_at, int | float)
            or not math.isfinite(self.stop_at)
        ):
            raise InputError(f"best_of_n.stop_at must be a number or null, got {self.stop_at!r}")

    @property
    def max_samples(self) -> int:
        """``samples``."""
        return self.samples

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        most, stop = f"{self.samples}", ""
        if self.stop_at is not None:
            most, stop = f"up to {most}", f", until one has at least {self.stop_at}"
        by = score_in_words(self.verifier)
        return f"the best of {most} samples of {names_in_words(variants)} by {by}{stop}"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for all at once, or one by one up to a score of ``stop_at``; then pick."""
        left = self.samples - len(seen.samples)
        if left <= 0 or self._enough(seen.samples):
            return Return(self.choose(seen))
        return Ask(left if self.stop_at is None else 1)

    def choose(self, seen: Seen) -> int:
        """Index of the best sample."""
        return best(seen.samples, self.verifier)

    def _enough(self, samples: Sequence[Sample]) -> bool:
        """Whether an answer scores ``stop_at`` or more."""
        return self.stop_at is not None and any(
            sample.answer is not None
            and sample.scores.get(self.verifier, -math.inf) >= self.stop_at
            for sample in samples
        )


def best(samples: Sequence[Sample], verifier: str) -> int:
    """Index of the sample that ``verifier`` ranks first, the earliest on a tie."""

    def rank(i: int) -> tuple[bool, bool, float, int]:
        sample, score = samples[i], samples[i].scores.get(verifier, math.nan)
        return sample.failed, sample.answer is None, math.inf if math.isnan(score) else -score, i

    return min(range(len(samples)), key=rank)
