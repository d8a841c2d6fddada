"""Study: the rest of the trials, on all items of the study and all samples of the variants that are left.

What the race judged is judged again on the larger table; a front is read from here alone.
"""

from __future__ import annotations

from tierwise.search.events import Listener
from tierwise.search.stages.race import Raced
from tierwise.search.stages.spend import GateDecision
from tierwise.search.stages.trials import deep, explore, opened
from tierwise.search.study import StudyRound


def study(allowed: GateDecision, raced: Raced, listener: Listener) -> StudyRound:
    """The last generation."""
    q, finals, n_samples = allowed.problem, raced.finals, allowed.n_samples
    items = q.items("tune")[: q.search_size.study_items]
    table = allowed.samples.table(items, deep(q, finals, n_samples), "study")
    study_round = opened(q, table, finals, n_samples, number=q.study_rounds + 2)
    restated = [judged.proposal for judged in raced.study_round.judged.values()]
    explore(q, study_round, q.trials - q.trials // 3, listener, restated)
    study_round.try_alone()
    return study_round
