"""Test: the chosen policies and the ablation's, once, with fresh samples on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tierwise.evaluation import Evaluation, SampleTable
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.search import ablation
from tierwise.search.above import keeps_to_itself
from tierwise.search.gate import Comparison, compare
from tierwise.search.grid import recipes
from tierwise.search.n_samples_by_variant import samples_needed
from tierwise.search.stages.select import LEAST_SAMPLES, Selected
from tierwise.search.stages.spend import GateDecision
from tierwise.search.study import StudyRound


@dataclass(frozen=True)
class OnTest:
    """Everything that the test split said.

    Attributes:
        ablation_steps: the ablation's policies by name.
        evaluations: policy -> its evaluation.
        comparisons: operating point -> its comparison with the baseline.
        oracle: (n_items,) score of the oracle bound.
        beside: with tiers above, what an escalating policy is compared with, by name.
    """

    ablation_steps: Mapping[str, Policy]
    evaluations: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    oracle: np.ndarray
    table: SampleTable
    beside: Mapping[str, Policy]


def test(allowed: GateDecision, study_round: StudyRound, selected: Selected) -> OnTest:
    """Judge what was selected, and the ablation_steps of the ablation, which the study's own samples choose."""
    q, baseline, points = allowed.problem, selected.baseline, selected.points
    ablation_steps = ablation.ablation_steps(
        q.variants.baseline,
        points[selected.chosen].policy,
        study_round.evaluator,
        [r for r in recipes(study_round.dimensions, steps=3) if keeps_to_itself(Policy((r,)))],
        [j for j in study_round.judged.values() if keeps_to_itself(j.policy)],
    )
    beside = _beside(allowed, selected)
    chosen = (p.policy for p in points.values())
    finals = list(dict.fromkeys([baseline, *ablation_steps.values(), *chosen, *beside.values()]))
    study_round.evaluator.forget()
    items = q.items("test")[: q.search_size.test_items]
    table = allowed.samples.table(items, samples_needed(finals, LEAST_SAMPLES), "test")
    judge = q.evaluator(table, exact=False)
    judged = {policy: judge.evaluate(policy) for policy in finals}
    comparisons = {
        point: compare(judged[c.policy], judged[baseline], margin=q.margin, seed=q.seed)
        for point, c in points.items()
    }
    full = judged[ablation_steps["full_policy"]].score
    oracle = ablation.oracle_bound(table, _tellable(study_round, table), q.permutations, full)
    return OnTest(ablation_steps, judged, comparisons, oracle, table, beside)


def _beside(allowed: GateDecision, selected: Selected) -> dict[str, Policy]:
    """Never handing on, always handing on (at one sample, and as the stronger tier was tuned)."""
    q = allowed.problem
    beside = {} if selected.alone is None else {f"always {q.tier.name}": selected.alone}
    for above in q.above:
        beside[f"always {above.tier.name}"] = above.one_sample
        beside[f"always {above.tier.name}, tuned"] = above.tuned
    return beside


def _tellable(study_round: StudyRound, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single samples, as far as the table has their variants."""
    found = [Recipe((variant,), StrategySpec.of("single")) for variant in table.variants]
    found += [recipe for judged in study_round.front() for recipe in judged.policy.buckets]
    return [
        r for r in dict.fromkeys(found) if all(variant in table.variants for variant in r.variants)
    ]
