"""Self-rating: the model says in one short call how easy it finds the task, from 1 to 5."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import MeanScore, register_signal

_GRADE = re.compile(r"(?<![\d.])[1-5](?!\d)")


@register_signal
@dataclass(frozen=True, slots=True)
class SelfRating(MeanScore):
    """The grade, 5 the easiest; a reply without one counts as hardest."""

    kind: ClassVar[str] = "self_rating"
    turn: ClassVar[str] = "rating"

    @property
    def scores(self) -> tuple[str, ...]:
        """What ``read`` says."""
        return (self.turn,)

    @staticmethod
    def read(text: str, min_logprob: float | None) -> float:
        """The first whole number from 1 to 5 (``4``, ``answer : 4``, ``4/5``)."""
        found = _GRADE.search(text)
        return float(found.group()) if found else math.nan
