"""Race: a first, short study on more items decides which variants are worth all of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.schema import Variant
from tierwise.search.events import Listener
from tierwise.search.parameters import Proposal
from tierwise.search.stages.keep import keep
from tierwise.search.stages.spend import GateDecision
from tierwise.search.stages.trials import deep, explore, opened
from tierwise.search.study import StudyRound


class Raced(NamedTuple):
    """The first generation, and the variants that are studied."""

    study_round: StudyRound
    finals: tuple[Variant, ...]


def race(allowed: GateDecision, listener: Listener, known: Sequence[Proposal] = ()) -> Raced:
    """Spend a third of the trials on the racing items; keep the variants of the study.

    ``known`` are policies of an earlier round.
    """
    q, racers = allowed.problem, allowed.racers
    n_samples = min(q.search_size.race_samples, allowed.n_samples)
    items = q.items("tune")[: q.search_size.race_items]
    table = allowed.samples.table(items, deep(q, racers, n_samples), "race")
    study_round = opened(q, table, racers, n_samples, number=q.study_rounds + 1)
    explore(q, study_round, q.trials // 3, listener, known)
    study_round.evaluator.forget()
    return Raced(study_round, keep(q, table, racers, q.search_size.study_variants))
