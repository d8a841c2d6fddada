"""Self-consistency (Wang et al., arXiv 2203.11171): a vote over a fixed number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.strategies._base import Vote, names_in_words, register_strategy, uncatchable, whole


@register_strategy
@dataclass(frozen=True, slots=True)
class SelfConsistency(Vote):
    """A vote of ``samples``, in rounds of at least ``window`` (0: all in one round).

    With a window the vote ends as soon as the leader can no longer be caught, which never changes
    the winner; a round asks for no fewer samples than could end it.
    """

    samples: int
    window: int = 0

    kind: ClassVar[str] = "self_consistency"

    def __post_init__(self) -> None:
        whole("self_consistency.samples", self.samples, 1)
        whole("self_consistency.window", self.window, 0)

    @property
    def max_samples(self) -> int:
        """``samples``."""
        return self.samples

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        return f"a vote of {self.samples} samples of {names_in_words(variants)}"

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """The rest at once, or the fewest samples that could settle it."""
        left = self.samples - seen
        if left <= 0 or uncatchable(lead, runner_up, left):
            return 0
        if self.window == 0:
            return left
        settles = (left - (lead - runner_up)) // 2 + 1
        return min(left, max(self.window, settles))
