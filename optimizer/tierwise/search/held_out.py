"""The held-out test: the chosen policy and the baseline, once; the ablation on validation items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tierwise.errors import BudgetError
from tierwise.evaluation import Evaluation, SampleTable, replay_table
from tierwise.schema import Policy, Recipe, Usage
from tierwise.search import ablation
from tierwise.search.budget import largest
from tierwise.search.gate import Comparison, compare
from tierwise.search.problem import TierProblem, keeps_to_itself
from tierwise.search.samples import play, samples_needed
from tierwise.search.selection import Selection
from tierwise.search.space import SINGLE, recipe_grid
from tierwise.search.stages import Explored
from tierwise.search.study import StudyRound

LEAST_SAMPLES = 4
"""Samples an item of a one-sample policy where they are free: several, to see past its noise."""


@dataclass(frozen=True)
class HeldOutTest:
    """What the test split said, and what is read from the validation items beside it.

    Attributes:
        evaluations: policy -> its evaluation on ``table``, the test items: the baseline and the
            chosen policy, and all those of ``validated`` where samples are free.
        comparisons: operating point whose policy was tested -> its comparison with the baseline.
        ablation_steps: the ablation's policies by name.
        beside: with escalation targets, what an escalating policy is compared with, by name.
        validated: the ablation's policies, the points' and those beside -> their evaluation on
            ``validation_items``.
        oracle: (n_validation_items,) score of the oracle bound.
    """

    table: SampleTable
    evaluations: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    ablation_steps: Mapping[str, Policy]
    beside: Mapping[str, Policy]
    validated: Mapping[Policy, Evaluation]
    validation_items: tuple[str, ...]
    oracle: np.ndarray


def test(explored: Explored, selected: Selection) -> HeldOutTest:
    """Judge the chosen policy and the baseline on held-out items; the rest on validation items.

    Raises:
        BudgetError: the budget left too few test items.
        ProviderError: too few test items have their samples.
    """
    problem, last, baseline = explored.problem, explored.study, selected.baseline.policy
    steps = ablation.ablation_steps(
        problem.variants.baseline,
        selected.points[selected.chosen].policy,
        last.evaluator,
        [r for r in recipe_grid(last.dimensions, steps=3) if keeps_to_itself(Policy((r,)))],
        [j for j in last.judged.values() if keeps_to_itself(j.policy)],
    )
    last.evaluator.forget()
    beside, judge = _beside(problem, selected), selected.judge
    points = (choice.policy for choice in selected.points.values())
    named = dict.fromkeys([baseline, *steps.values(), *points, *beside.values()])
    table, judged = _on_test_items(explored, selected, list(named))
    comparisons = {
        point: compare(
            judged[choice.policy],
            judged[baseline],
            margin=problem.margin,
            seed=problem.seed,
            validation=(choice.evidence, selected.baseline.evaluation),
        )
        for point, choice in selected.points.items()
        if choice.policy in judged
    }
    validated = {policy: judge.evaluate(policy) for policy in named}
    full = validated[steps["full_policy"]].score
    recipes = _tellable(last, judge.table)
    oracle = ablation.oracle_bound(judge.table, recipes, problem.permutations, full)
    judge.forget()
    return HeldOutTest(
        table, judged, comparisons, steps, beside, validated, judge.table.item_ids, oracle
    )


def _on_test_items(
    explored: Explored, selected: Selection, named: Sequence[Policy]
) -> tuple[SampleTable, dict[Policy, Evaluation]]:
    """Test items with the samples that the chosen policy and the baseline ask for, as serving would.

    Where samples are free, all that is ``named`` is judged, over permutations of all samples that
    there are; where samples follow others, all that a policy may ask for are bought.
    """
    problem, samples = explored.problem, explored.samples
    chosen = selected.points[selected.chosen].policy
    items = problem.items("test")[: _affordable_test(explored, selected)]
    policies = list(dict.fromkeys([selected.baseline.policy, chosen]))
    if samples.free:
        policies = list(named)
    wanted = samples_needed(policies, LEAST_SAMPLES if samples.free else 1)
    if samples.free or any(variant.path for variant in wanted):
        table = samples.table(items, wanted, "test")
        judge = problem.evaluator(table, exact=False)
        return table, {policy: judge.evaluate(policy) for policy in policies}
    table = play(samples, policies, items, "test")
    # Models that answer in chunks are refused a chunk that does not fit: fewer items may.
    while table.n_items < 2 < len(items):
        items = items[: len(items) // 2]
        table = play(samples, policies, items, "test")
    if table.n_items < 2:
        raise BudgetError(
            f"tier {problem.tier.name!r}: the budget has no money left for test items; raise it and "
            "run the same command: nothing is bought twice"
        )
    return table, {policy: replay_table(policy, table) for policy in policies}


def _affordable_test(explored: Explored, selected: Selection) -> int:
    """Test items that the rest of the budget pays for, by what both policies asked for so far."""
    problem, plan = explored.problem, explored.plan
    each = [selected.points[selected.chosen].candidate.evaluation, selected.baseline.evaluation]
    samples = sum(float(e.samples.mean()) for e in each)
    calls = sum(float((e.rounds if plan.cost.takes_n else e.samples).mean()) for e in each)
    usd = sum(e.mean_usd for e in each)
    left = plan.planned - explored.samples.spent
    per_usd = usd / max(plan.cost.of(1, 1).usd, 1e-30)
    tokens = per_usd * (plan.cost.tokens + plan.cost.prompt_tokens)

    def fits(n: int) -> bool:
        slack = n + 2 * math.sqrt(n)  # test items may ask for more than validation items did
        return left.fits(
            Usage(
                math.ceil(calls * slack),
                math.ceil(samples * slack),
                tokens * slack,
                usd=usd * slack,
            )
        )

    most = problem.search_size.test_items
    return largest(1, most, fits)


def _beside(problem: TierProblem, selected: Selection) -> dict[str, Policy]:
    """Never escalating, always escalating (at one sample, and as the stronger tier was tuned)."""
    alone = selected.alone
    beside = {} if alone is None else {f"always {problem.tier.name}": alone}
    for target in problem.targets:
        beside[f"always {target.tier.name}"] = target.one_sample
        beside[f"always {target.tier.name}, tuned"] = target.tuned
    return beside


def _tellable(study_round: StudyRound, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single samples, as far as the table has their variants."""
    found = [Recipe((variant,), SINGLE) for variant in table.variants]
    found += [recipe for judged in study_round.front() for recipe in judged.policy.buckets]
    return [
        r for r in dict.fromkeys(found) if all(variant in table.variants for variant in r.variants)
    ]
