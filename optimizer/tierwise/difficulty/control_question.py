"""The control question: the model says in one word whether to think before it answers.

Thinkless (arXiv 2505.13379) trains a control token; here a model that nobody trains is asked.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import MeanScore, register_signal

_SAID = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


@register_signal
@dataclass(frozen=True, slots=True)
class ControlQuestion(MeanScore):
    """The probability of "no, I need not think", in [0, 1].

    From the log-probability of the word that was said, and 1 or 0 where the provider gives none.
    """

    kind: ClassVar[str] = "control_question"
    turn: ClassVar[str] = "control_question"
    chooses_mode: ClassVar[bool] = True

    @property
    def scores(self) -> tuple[str, ...]:
        """What ``read`` says."""
        return (self.turn,)

    @staticmethod
    def read(text: str, min_logprob: float | None) -> float:
        """P(no): of a reply of one word, its least sure token is the word."""
        found = _SAID.search(text)
        if not found:
            return math.nan
        said = 1.0 if min_logprob is None or math.isnan(min_logprob) else math.exp(min_logprob)
        return said if found.group().lower() == "no" else 1.0 - said
