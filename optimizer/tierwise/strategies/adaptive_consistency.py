"""Adaptive-Consistency (Aggarwal et al., arXiv 2305.11860): vote until the leader is safe."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.strategies._base import (
    Vote,
    names_in_words,
    one_answer_ends,
    register_strategy,
    whole,
)


@functools.cache
def leader_confidence(lead: int, runner_up: int) -> float:
    """P(Bin(lead + runner_up + 1, 1/2) <= lead): mass of Beta(lead+1, runner_up+1) above 1/2."""
    n = lead + runner_up + 1
    return float(sum(math.comb(n, k) for k in range(lead + 1)) / 2**n)


@functools.lru_cache(maxsize=4096)
def confident_lead(threshold: float, runner_up: int) -> int:
    """The smallest count at which a leader is confident against ``runner_up`` votes."""
    lead = runner_up
    while leader_confidence(lead, runner_up) < threshold:
        lead += 1
    return lead


@register_strategy
@dataclass(frozen=True, slots=True)
class AdaptiveConsistency(Vote):
    """Stop when ``leader_confidence`` reaches ``threshold``, or at ``max_samples``.

    Each round asks for ``window`` samples, or for as many as it takes before the vote could stop at
    all where that is more: three unanimous samples give .9375, so at .95 the first round is of
    four. That costs no sample and saves rounds, and with them prompt tokens and time.
    """

    threshold: float
    max_samples: int
    window: int = 1

    kind: ClassVar[str] = "adaptive_consistency"

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, int | float) or not 0.5 <= self.threshold < 1:
            raise InputError(
                f"adaptive_consistency.threshold must be in [0.5, 1), got {self.threshold!r}"
            )
        whole("adaptive_consistency.max_samples", self.max_samples, 1)
        whole("adaptive_consistency.window", self.window, 1)

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        most, names = self.max_samples, names_in_words(variants)
        if one_answer_ends(self):
            return f"one sample of {names} (up to {most} until one has an answer)"
        sure = f"until the leader is {self.threshold:.0%} sure"
        return f"a vote of up to {most} samples of {names}, {sure}"

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """0 once the leader is confident or cannot be caught."""
        left = self.max_samples - seen
        if left <= 0:
            return 0
        confident = confident_lead(self.threshold, runner_up) - lead
        settled = (left - lead + runner_up) // 2 + 1
        could_stop = min(confident, settled)
        if could_stop <= 0 and seen:
            return 0
        return min(left, max(self.window, could_stop))

    def behaviour(self) -> Hashable:
        """Thresholds that no reachable count tells apart are the same vote.

        With more than half of all samples a leader cannot be caught, however sure one wants to be.
        """
        half = self.max_samples // 2
        leads = tuple(min(confident_lead(self.threshold, r), half + 1) for r in range(half + 1))
        return self.kind, leads, self.max_samples, self.window
