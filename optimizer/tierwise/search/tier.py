"""The search on one tier, top to bottom: screen, may it spend?, fit, race, study, select, test.

Nothing here depends on time or on the order in which calls come back: the same job, seed and pool
give the same result, resumed or not.
"""

from __future__ import annotations

from tierwise.search.buying import Samples
from tierwise.search.events import Listener, Started
from tierwise.search.explored import explore
from tierwise.search.found import TierResult
from tierwise.search.problem import TierProblem
from tierwise.search.rounds import Rounds
from tierwise.search.stages.select import select
from tierwise.search.stages.test import test


def search(
    problem: TierProblem, samples: Samples, listener: Listener, rounds: Rounds | None = None
) -> TierResult:
    """Find the policies of one tier, in ``rounds`` of proposals where there are some.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """

    def started(stage: str) -> None:
        listener(Started(problem.tier.name, stage))

    searched = [explore(problem, samples, listener, problem.before.proposals)]
    if rounds is not None:
        searched += rounds.after(searched[0], listener)
    screened, allowed, _, study_round = searched[-1]

    started("select")
    selected = select(allowed, study_round)

    started("test")
    on_test = test(allowed, study_round, selected)
    return TierResult(
        problem=allowed.problem,
        baseline=selected.baseline,
        points=selected.points,
        chosen=selected.chosen,
        tested=on_test.evaluations,
        comparisons=on_test.comparisons,
        ablation_steps=on_test.ablation_steps,
        oracle=on_test.oracle,
        study_rounds=[g for one in searched for g in one.study_rounds],
        candidates=selected.candidates,
        screened=screened.single,
        prompt_table=screened.table,
        study_table=study_round.evaluator.table,
        test_table=on_test.table,
        compute_gate=allowed.verdict,
        routers=allowed.routers,
        beside=on_test.beside,
        rounds=[] if rounds is None else rounds.made,
    )
