"""The stages that look for a policy, on the tune split alone: screen, allow, fit, race, study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.search.buying import Draws
from tierwise.search.events import Listener, Started
from tierwise.search.parameters import Proposal
from tierwise.search.question import Question
from tierwise.search.stages.fit import fit
from tierwise.search.stages.race import Raced, race
from tierwise.search.stages.screen import Screened, screen
from tierwise.search.stages.spend import Allowed, allow
from tierwise.search.stages.study import study
from tierwise.search.study import Generation


class Explored(NamedTuple):
    """What each stage came to; ``generation`` is the study's, which a front is read from."""

    screened: Screened
    allowed: Allowed
    raced: Raced
    generation: Generation

    @property
    def generations(self) -> tuple[Generation, Generation]:
        """The race's and the study's."""
        return self.raced.generation, self.generation


def explore(
    question: Question, draws: Draws, listener: Listener, known: Sequence[Proposal] = ()
) -> Explored:
    """Look for policies; ``known`` are those of an earlier round, which are judged again.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """

    def started(stage: str) -> None:
        listener(Started(question.tier.name, stage))

    started("screen")
    screened = screen(question, draws)
    allowed = fit(allow(screened, draws), screened)

    started("race")
    raced = race(allowed, listener, known)

    started("study")
    return Explored(screened, allowed, raced, study(allowed, raced, listener))
