"""One generation of a tier's study: judged on one table, begun with policies known to be good."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.evaluation import SampleTable
from tierwise.schema import Difficulty, StrategySpec, Variant, uniform
from tierwise.search.allocation import allocate
from tierwise.search.asking import asked_of
from tierwise.search.events import Best, Listener
from tierwise.search.n_samples_by_variant import with_nodes
from tierwise.search.parameters import Proposal
from tierwise.search.problem import TierProblem
from tierwise.search.study import EvaluatedTrial, StudyRound, described

WARM_STARTS = 24


def opened(
    q: TierProblem, table: SampleTable, variants: tuple[Variant, ...], n_samples: int, number: int
) -> StudyRound:
    """Generation ``number`` on ``table``; a policy may take ``n_samples`` samples of each of ``variants``.

    Variants of the tiers above take part in buckets, not in a probe.
    """
    dims = q.dimensions((*variants, *q.handed_to), n_samples)
    name = f"{q.task.name}/{q.tier.name}/g{number}"
    return StudyRound(name, q.evaluator(table), dims, q.seed, number)


def deep(q: TierProblem, variants: Sequence[Variant], n_samples: int) -> dict[Variant, int]:
    """What a study looks at: ``n_samples`` samples of ``variants``, those above, and what is asked."""
    wanted = {**with_nodes(variants, n_samples, q.space), **asked_of(q.told)}
    for variant, most in q.handed_to.items():
        wanted |= with_nodes((variant,), min(most, n_samples), q.space)
    return wanted


def explore(
    q: TierProblem,
    study_round: StudyRound,
    trials: int,
    listener: Listener,
    restated: Sequence[Proposal] = (),
) -> None:
    """Judge what an earlier generation judged, then warm starts, then what the sampler asks for."""

    def best(judged: EvaluatedTrial) -> None:
        listener(
            Best(q.tier.name, judged.trial, judged.score, judged.usd, described(judged.policy))
        )

    study_round.restate(restated)
    dims = study_round.dimensions
    single = StrategySpec.of("single")
    warm = [
        Proposal(Difficulty(), (), uniform(variant, single).buckets) for variant in dims.variants
    ]
    study_round.enqueue([*warm, *allocate(study_round.evaluator, dims).spread(WARM_STARTS)])
    study_round.run(trials, best)
