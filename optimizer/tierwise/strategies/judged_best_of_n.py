"""Best-of-n by a judge: a second model scores the samples by a rubric, and never sees the target.

For answers that no vote can compare. A judgement is a turn below its sample, so that it is paid for
like any other; samples with the same answer are judged once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.schema import Path, Turn
from tierwise.schema.turns import JUDGED_TURN, ROOT
from tierwise.strategies._base import (
    Ask,
    Return,
    Seen,
    names_in_words,
    plurality,
    register_strategy,
    whole,
)


@register_strategy
@dataclass(frozen=True, slots=True)
class JudgedBestOfN:
    """``samples`` at once, then a judgement of each distinct answer: the highest score wins.

    On a tie the answer that was given more often wins, then the one seen first. An answer whose
    judgement failed or cannot be read wins only where none can; one alone needs no judge.
    """

    samples: int

    kind: ClassVar[str] = "judged_best_of_n"
    paths: ClassVar[tuple[Path, ...]] = ((), (ROOT, Turn(JUDGED_TURN)))

    def __post_init__(self) -> None:
        whole("judged_best_of_n.samples", self.samples, 2)

    @property
    def width(self) -> int:
        """Samples and judgements, each ``samples`` at most."""
        return self.samples

    @property
    def max_samples(self) -> int:
        """Judgements among them."""
        return 2 * self.samples

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        return f"the best of {self.samples} samples of {names_in_words(variants)} by a judge"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for the samples, then for their judgements, then choose."""
        asked = sum(sample.parent is None for sample in seen.samples)
        if asked < self.samples:
            return Ask(self.samples - asked)
        to_judge = self._distinct(seen)
        if len(to_judge) < 2 or any(sample.turn == JUDGED_TURN for sample in seen.samples):
            return Return(self.choose(seen))
        return Ask.below(to_judge, JUDGED_TURN)

    def choose(self, seen: Seen) -> int:
        """The answer of the highest score so far."""
        scores = {
            sample.parent: sample.scores.get(JUDGED_TURN, math.nan)
            for sample in seen.samples
            if sample.parent is not None
        }
        known = {i: score for i, score in scores.items() if not math.isnan(score)}
        if not known:
            return plurality([sample for sample in seen.samples if sample.parent is None])
        times = Counter(s.answer for s in seen.samples if s.parent is None)
        return min(known, key=lambda i: (-known[i], -times[seen.samples[i].answer], i))

    def _distinct(self, seen: Seen) -> list[int]:
        """The first sample of each answer."""
        first: dict[str, int] = {}
        for i, sample in enumerate(seen.samples[: self.samples]):
            if sample.answer is not None and not sample.failed:
                first.setdefault(sample.answer, i)
        return list(first.values())
