"""One generation of a tier's study: judged on one table, begun with policies known to be good."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.evaluation import SampleTable
from tierwise.recipe import Arm, Difficulty, StrategySpec, uniform
from tierwise.search.allocation import allocate
from tierwise.search.asking import asked_of
from tierwise.search.depths import with_nodes
from tierwise.search.events import Best, Listener
from tierwise.search.parameters import Proposal
from tierwise.search.question import Question
from tierwise.search.study import Generation, Judged, described

WARM_STARTS = 24


def opened(
    q: Question, table: SampleTable, arms: tuple[Arm, ...], depth: int, number: int
) -> Generation:
    """Generation ``number`` on ``table``; a policy may take ``depth`` draws of each of ``arms``.

    Arms of the tiers above take part in buckets, not in a probe.
    """
    dims = q.dimensions((*arms, *q.handed_to), depth)
    name = f"{q.task.name}/{q.tier.name}/g{number}"
    return Generation(name, q.evaluator(table), dims, q.seed, number)


def deep(q: Question, arms: Sequence[Arm], depth: int) -> dict[Arm, int]:
    """What a study looks at: ``depth`` draws of ``arms``, those above, and what is asked."""
    wanted = {**with_nodes(arms, depth, q.space), **asked_of(q.told)}
    for arm, most in q.handed_to.items():
        wanted |= with_nodes((arm,), min(most, depth), q.space)
    return wanted


def explore(
    q: Question, generation: Generation, trials: int, listener: Listener,
    restated: Sequence[Proposal] = (),
) -> None:  # fmt: skip
    """Judge what an earlier generation judged, then warm starts, then what the sampler asks for."""

    def best(judged: Judged) -> None:
        listener(
            Best(q.tier.name, judged.trial, judged.score, judged.usd, described(judged.policy))
        )

    generation.restate(restated)
    dims = generation.dimensions
    single = StrategySpec.of("single")
    warm = [Proposal(Difficulty(), (), uniform(arm, single).buckets) for arm in dims.arms]
    generation.enqueue([*warm, *allocate(generation.evaluator, dims).spread(WARM_STARTS)])
    generation.run(trials, best)
