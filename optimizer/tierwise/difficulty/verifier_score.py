"""Score of a few cheap samples by a verifier, which never sees the gold answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tierwise.difficulty._base import MeanScore, register_signal
from tierwise.errors import unknown_name
from tierwise.schema.policy import Param
from tierwise.tasks.verifiers import RECORDED_SCORES, SCORES, VERIFIERS


@register_signal
@dataclass(frozen=True, slots=True)
class VerifierScore(MeanScore):
    """The mean over the probe's samples of their score by ``verifier`` (Snell et al., 2408.03314).

    A search tries the verifiers that the task names, and the scores that a recording carries.
    """

    verifier: str = "verifier_score"

    kind: ClassVar[str] = "verifier_score"
    choices: ClassVar[Mapping[str, tuple[Param, ...]]] = {
        "verifier": (*VERIFIERS, *RECORDED_SCORES)
    }

    def __post_init__(self) -> None:
        if self.verifier not in SCORES:
            raise unknown_name("verifier_score.verifier", str(self.verifier), SCORES)

    @property
    def scores(self) -> tuple[str, ...]:
        """The verifier's."""
        return (self.verifier,)
