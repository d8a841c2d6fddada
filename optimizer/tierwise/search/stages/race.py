"""Race: a first, short study on more items decides which arms are worth all of their draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.recipe import Arm
from tierwise.search.events import Listener
from tierwise.search.parameters import Proposal
from tierwise.search.stages.keep import keep
from tierwise.search.stages.spend import Allowed
from tierwise.search.stages.trials import deep, explore, opened
from tierwise.search.study import Generation


class Raced(NamedTuple):
    """The first generation, and the arms that are studied."""

    generation: Generation
    finals: tuple[Arm, ...]


def race(allowed: Allowed, listener: Listener, known: Sequence[Proposal] = ()) -> Raced:
    """Spend a third of the trials on the racing items; keep the arms of the study.

    ``known`` are policies of an earlier round.
    """
    q, racers = allowed.question, allowed.racers
    depth = min(q.effort.race_draws, allowed.depth)
    items = q.items("tune")[: q.effort.race_items]
    table = allowed.draws.table(items, deep(q, racers, depth), "race")
    generation = opened(q, table, racers, depth, number=q.generations + 1)
    explore(q, generation, q.trials // 3, listener, known)
    generation.evaluator.forget()
    return Raced(generation, keep(q, table, racers, q.effort.study_arms))
