"""Self-consistency (Wang et al., arXiv 2203.11171): a vote over a fixed number of draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tierwise.strategies._base import register, whole
from tierwise.strategies._voting import Vote, uncatchable


@register
@dataclass(frozen=True, slots=True)
class SelfConsistency(Vote):
    """A vote of ``draws``, in rounds of at least ``window`` (0: all in one round).

    With a window the vote ends as soon as the leader can no longer be caught, which never changes
    the winner; a round asks for no fewer draws than could end it.
    """

    draws: int
    window: int = 0

    kind: ClassVar[str] = "self_consistency"

    def __post_init__(self) -> None:
        whole("self_consistency.draws", self.draws, 1)
        whole("self_consistency.window", self.window, 0)

    @property
    def max_draws(self) -> int:
        """``draws``."""
        return self.draws

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """The rest at once, or the fewest draws that could settle it."""
        left = self.draws - seen
        if left <= 0 or uncatchable(lead, runner_up, left):
            return 0
        if self.window == 0:
            return left
        settles = (left - (lead - runner_up)) // 2 + 1
        return min(left, max(self.window, settles))
