"""The stages that look for a policy, on the tune split alone: screen, allow, fit, race, study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.search.buying import Samples
from tierwise.search.events import Listener, Started
from tierwise.search.parameters import Proposal
from tierwise.search.problem import TierProblem
from tierwise.search.stages.fit import fit
from tierwise.search.stages.race import Raced, race
from tierwise.search.stages.screen import Screened, screen
from tierwise.search.stages.spend import GateDecision, allow
from tierwise.search.stages.study import study
from tierwise.search.study import StudyRound


class Explored(NamedTuple):
    """What each stage came to; ``study_round`` is the study's, which a front is read from."""

    screened: Screened
    allowed: GateDecision
    raced: Raced
    study_round: StudyRound

    @property
    def study_rounds(self) -> tuple[StudyRound, StudyRound]:
        """The race's and the study's."""
        return self.raced.study_round, self.study_round


def explore(
    problem: TierProblem, samples: Samples, listener: Listener, known: Sequence[Proposal] = ()
) -> Explored:
    """Look for policies; ``known`` are those of an earlier round, which are judged again.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """

    def started(stage: str) -> None:
        listener(Started(problem.tier.name, stage))

    started("screen")
    screened = screen(problem, samples)
    allowed = fit(allow(screened, samples), screened)

    started("race")
    raced = race(allowed, listener, known)

    started("study")
    return Explored(screened, allowed, raced, study(allowed, raced, listener))
