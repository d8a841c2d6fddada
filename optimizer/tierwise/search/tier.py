"""The search on one tier, top to bottom: screen, may it spend?, race, study, select, test.

Nothing here depends on time or on the order in which calls come back: the same job, seed and pool
give the same result, resumed or not.
"""

from __future__ import annotations

from tierwise.search.buying import Draws
from tierwise.search.events import Listener, Started
from tierwise.search.found import Found
from tierwise.search.question import Question
from tierwise.search.stages.race import race
from tierwise.search.stages.screen import screen
from tierwise.search.stages.select import select
from tierwise.search.stages.spend import allow
from tierwise.search.stages.study import study
from tierwise.search.stages.test import test


def search(question: Question, draws: Draws, listener: Listener) -> Found:
    """Find the policies of one tier.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """

    def started(stage: str) -> None:
        listener(Started(question.tier.name, stage))

    started("screen")
    screened = screen(question, draws)
    allowed = allow(screened, draws)

    started("race")
    raced = race(allowed, listener)

    started("study")
    generation = study(allowed, raced, listener)

    started("select")
    selected = select(allowed, generation)

    started("test")
    on_test = test(allowed, generation, selected)
    return Found(
        question=allowed.question,
        baseline=selected.baseline,
        points=selected.points,
        chosen=selected.chosen,
        tested=on_test.evaluations,
        comparisons=on_test.comparisons,
        rungs=on_test.rungs,
        oracle=on_test.oracle,
        generations=(raced.generation, generation),
        candidates=selected.candidates,
        screened=screened.single,
        prompt_table=screened.table,
        study_table=generation.evaluator.table,
        test_table=on_test.table,
        compute_gate=allowed.verdict,
    )
