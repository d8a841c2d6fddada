"""The search on one tier, top to bottom: screen, may it spend?, fit, race, study, select, test.

Nothing here depends on time or on the order in which calls come back: the same job, seed and pool
give the same result, resumed or not.
"""

from __future__ import annotations

from tierwise.search.buying import Draws
from tierwise.search.events import Listener, Started
from tierwise.search.explored import explore
from tierwise.search.found import Found
from tierwise.search.question import Question
from tierwise.search.rounds import Rounds
from tierwise.search.stages.select import select
from tierwise.search.stages.test import test
from tierwise.search.wordings import Reworded


def search(
    question: Question, draws: Draws, listener: Listener, rounds: Rounds | None = None
) -> Found:
    """Find the policies of one tier, in ``rounds`` of proposals where there are some.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """

    def started(stage: str) -> None:
        listener(Started(question.tier.name, stage))

    if question.arms.wordings:
        draws = Reworded(draws, question.arms.wordings)
    searched = [explore(question, draws, listener, question.before.proposals)]
    if rounds is not None:
        searched += rounds.after(searched[0], listener)
    screened, allowed, _, generation = searched[-1]

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
        generations=[g for one in searched for g in one.generations],
        candidates=selected.candidates,
        screened=screened.single,
        prompt_table=screened.table,
        study_table=generation.evaluator.table,
        test_table=on_test.table,
        compute_gate=allowed.verdict,
        routers=allowed.routers,
        beside=on_test.beside,
        rounds=[] if rounds is None else rounds.made,
    )
