"""Universal self-consistency (Chen et al., arXiv 2311.17311): the model itself says which of its
answers agrees best with the others.

For free text, whose answers no vote can count. What is asked depends on which answers are shown and
in which order, so that it is bought for the samples as they lie in the pool, in blocks of
``samples``: an evaluation goes over these blocks, not over permutations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.schema import Path, Turn
from tierwise.schema.turns import ROOT, SELECTING
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
class UniversalSelfConsistency:
    """``samples`` of the first variant at once, then a turn that selects one of them.

    Where a sample failed, or the reply names none or one without an answer, it is the plurality
    answer, and of answers that are all different the first.
    """

    samples: int

    kind: ClassVar[str] = "universal_self_consistency"

    def __post_init__(self) -> None:
        whole("universal_self_consistency.samples", self.samples, 2)

    @property
    def paths(self) -> tuple[Path, ...]:
        """An answer, and the choice below the last of a block."""
        return ((), (ROOT, Turn(SELECTING, self.samples)))

    @property
    def width(self) -> int:
        """``samples``."""
        return self.samples

    @property
    def block(self) -> int:
        """How many stored samples go together."""
        return self.samples

    @property
    def max_samples(self) -> int:
        """The choice among them."""
        return self.samples + 1

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        chosen = "the one of them that the model says agrees best with the others"
        return f"{self.samples} samples of {names_in_words(variants)}, and {chosen}"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for the samples, then for the choice."""
        roots = [sample for sample in seen.samples if sample.parent is None]
        if len(roots) < self.samples:
            left = self.samples - len(roots)
            return Ask(left, (0,) * left)
        chosen = len(seen.samples) > len(roots)
        if chosen or any(sample.failed for sample in roots):
            return Return(self.choose(seen))
        return Ask.below((self.samples - 1,), SELECTING, self.samples)

    def choose(self, seen: Seen) -> int:
        """The sample that was selected, if one was."""
        roots = [sample for sample in seen.samples if sample.parent is None]
        for sample in seen.samples[len(roots) :]:
            number = sample.scores.get(SELECTING, math.nan)
            if not math.isnan(number) and roots[int(number) - 1].answer is not None:
                return int(number) - 1
        return plurality(roots)
