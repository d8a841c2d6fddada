"""Early-stopping self-consistency, ESC (Li et al., arXiv 2401.10480): stop when a window agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
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
class EarlyStopping:
    """Sample windows of ``window``; stop when one is unanimous, at the latest at ``max_samples``.

    The answer is the plurality of everything seen. A window with an abstention is not unanimous.
    """

    window: int
    max_samples: int

    kind: ClassVar[str] = "early_stopping"

    def __post_init__(self) -> None:
        whole("early_stopping.window", self.window, 1)
        whole("early_stopping.max_samples", self.max_samples, 1)
        if self.max_samples < self.window:
            raise InputError(
                f"early_stopping.max_samples ({self.max_samples}) must be at least its window "
                f"({self.window})"
            )

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        agree = f"until {self.window} in a row agree"
        return f"a vote of up to {self.max_samples} samples of {names_in_words(variants)}, {agree}"

    def step(self, seen: Seen) -> Ask | Return:
        """Complete the current window, look at it, go on."""
        n, w = len(seen.samples), self.window
        if n >= self.max_samples:
            return Return(self.choose(seen))
        if n and n % w == 0:
            last = {d.answer for d in seen.samples[-w:]}
            if len(last) == 1 and None not in last:
                return Return(self.choose(seen))
        return Ask(min(w - n % w, self.max_samples - n))

    def choose(self, seen: Seen) -> int:
        """The first sample with the plurality answer."""
        return plurality(seen.samples)
