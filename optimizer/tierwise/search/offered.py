"""A search space without what a tier and a task cannot score."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tierwise.llm.recorded import Recording
from tierwise.schema import Tier
from tierwise.schema.space import Dimension, SearchSpace
from tierwise.strategies import paths_in
from tierwise.tasks import Task
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

RANKED_BY = "verifier"
"""The parameter by which a strategy names what it ranks by."""


def scores_of(task: Task, tier: Tier, recording: Recording | None = None) -> frozenset[str]:
    """Names of the scores that samples will have: log-probabilities, the task's verifiers, and what
    some sample of a recording carries."""
    found = set(task.verifiers)
    if recording is None:
        return frozenset(found | set(LOGPROBS if tier.logprobs else ()))
    names = ("mean_logprob", *RECORDED_SCORES)
    samples = [d for of in recording.samples.values() for by in of.values() for d in by.values()]
    found |= {name for name in names if any(getattr(d, name) is not None for d in samples)}
    return frozenset(found)


def offered(space: SearchSpace, scores: Collection[str]) -> SearchSpace:
    """``space`` with only ``scores`` to rank by; a strategy with none of them is left out."""
    strategies: dict[str, dict[str, Dimension]] = {}
    for kind, dimensions in space.strategies.items():
        names = dimensions.get(RANKED_BY)
        if not isinstance(names, tuple):
            strategies[kind] = dict(dimensions)
        elif known := tuple(name for name in names if name is None or name in scores):
            strategies[kind] = {**dimensions, RANKED_BY: known}
    return replace(space, strategies=strategies or {"single": {}})


def without_search(space: SearchSpace) -> SearchSpace:
    """``space`` for a task that has nothing to search in: no strategy that asks queries."""

    def searches(kind: str) -> bool:
        alone = replace(space, strategies={kind: space.strategies[kind]})
        return any(turn.name == "query" for path in paths_in(alone) for turn in path)

    strategies = {kind: dims for kind, dims in space.strategies.items() if not searches(kind)}
    return replace(space, strategies=strategies or {"single": {}})
