"""Study: the rest of the trials, on all items of the study and all draws of the arms that are left.

What the race judged is judged again on the larger table; a front is read from here alone.
"""

from __future__ import annotations

from tierwise.search.events import Listener
from tierwise.search.stages.race import Raced
from tierwise.search.stages.spend import Allowed
from tierwise.search.stages.trials import deep, explore, opened
from tierwise.search.study import Generation


def study(allowed: Allowed, raced: Raced, listener: Listener) -> Generation:
    """The last generation."""
    q, finals, depth = allowed.question, raced.finals, allowed.depth
    items = q.items("tune")[: q.effort.study_items]
    table = allowed.draws.table(items, deep(q, finals, depth), "study")
    generation = opened(q, table, finals, depth, number=q.generations + 2)
    restated = [judged.proposal for judged in raced.generation.judged.values()]
    explore(q, generation, q.trials - q.trials // 3, listener, restated)
    generation.try_alone()
    return generation
