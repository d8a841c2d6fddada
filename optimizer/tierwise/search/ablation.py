"""The policies of the ablation: what each component adds, from the baseline to the full policy.

The policy of each step is chosen on the study's own samples among what that step allows, at no more
dollars an item than the full policy (or the cheapest there is), and judged on the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Policy, Recipe, StrategySpec, Variant, uniform
from tierwise.search.study import EvaluatedTrial
from tierwise.stats.intervals import Floats

ADAPTIVE = ("adaptive_consistency", "early_stopping")

ABLATION_STEPS = (
    "baseline_prompt_one_sample",
    "best_prompt_one_sample",
    "baseline_prompt_best_strategy",
    "disjoint",
    "joint_fixed_n",
    "joint_adaptive_stop",
    "full_policy",
)


TRUST = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How far an oracle may believe what half of an item's samples say of it."""

SLACK = 1.02
"""A step may cost this much more than the full policy on the study's samples, which estimate it."""


def ablation_steps(
    baseline: Variant,
    full: Policy,
    evaluator: Evaluator,
    recipes: Sequence[Recipe],
    judged: Sequence[EvaluatedTrial],
) -> dict[str, Policy]:
    """The policy of each step; ``recipes`` and ``judged`` are what they choose from."""
    cap = evaluator.evaluate(full).mean_usd * SLACK
    plain = {Policy((recipe,)) for recipe in recipes}
    plain |= {j.policy for j in judged if len(j.policy.buckets) == 1}
    known = {policy: _means(evaluator, policy) for policy in sorted(plain, key=repr)}

    def best(allowed: Callable[[Recipe], bool]) -> Policy:
        chosen = {p: m for p, m in known.items() if allowed(p.buckets[0]) and m[0] == m[0]}
        within = {p: m for p, m in chosen.items() if m[1] <= cap}
        if within:
            return max(within, key=lambda p: (within[p][0], -within[p][1]))
        return min(chosen, key=lambda p: chosen[p][1])

    single = StrategySpec.of("single")
    own = dict.fromkeys(variant for recipe in recipes for variant in recipe.variants)
    variants = [a for a in own if a.prompt != baseline.prompt or a == baseline]
    one_sample = [uniform(variant, single) for variant in variants]
    best_one = max(one_sample, key=lambda p: _means(evaluator, p)[0])
    best_variant = best_one.buckets[0].variants[0]

    def of_baseline_prompt(recipe: Recipe) -> bool:
        return {a.prompt for a in recipe.variants} == {baseline.prompt}

    def after(recipe: Recipe) -> bool:
        return recipe.variants == (best_variant,)

    def fixed(recipe: Recipe) -> bool:
        return recipe.strategy.kind not in ADAPTIVE

    default = uniform(baseline, single)
    known.setdefault(default, _means(evaluator, default))
    known.setdefault(best_one, _means(evaluator, best_one))
    return {
        "baseline_prompt_one_sample": default,
        "best_prompt_one_sample": best_one,
        "baseline_prompt_best_strategy": best(of_baseline_prompt),
        "disjoint": best(after),
        "joint_fixed_n": best(fixed),
        "joint_adaptive_stop": best(lambda recipe: True),
        "full_policy": full,
    }


def oracle_bound(
    table: SampleTable,
    recipes: Sequence[Recipe],
    permutations: Permutations,
    full: Floats | None = None,
) -> Floats:
    """(n_items,): the score if somebody told us which of ``recipes`` is best for each item.

    It is chosen on one half of the samples and scored on the other, both ways round; recipes that
    need more than half of the samples take no part. What one half says of an item is noisy, so its
    scores are shrunk towards each recipe's mean, as far as serves the bound best: from not at all
    to wholly, which is the best recipe for all. Who knows everything can also do what the full
    policy does: where the halves do not beat its scores, ``full``, these are the bound. All NaN
    where there is but one sample.
    """
    if min(rows.n_samples for rows in table.variants.values()) < 2:
        return np.full(table.n_items, np.nan)
    halves = []
    for parity in (0, 1):
        variants = {
            variant: rows.columns(np.arange(parity, rows.n_samples, 2))
            for variant, rows in table.variants.items()
        }
        half = replace(table, variants=variants, nodes={})
        evaluator = Evaluator(half, permutations)
        halves.append(np.array([evaluator.evaluate(Policy((recipe,))).score for recipe in recipes]))
    supported = ~(np.isnan(halves[0]).any(axis=1) | np.isnan(halves[1]).any(axis=1))
    first, second = halves[0][supported], halves[1][supported]
    bounds = [_told(first, second, trust) for trust in TRUST]
    best = max(bounds, key=lambda bound: float(bound.mean()))
    return full if full is not None and full.mean() > best.mean() else best


def _told(first: Floats, second: Floats, trust: float) -> Floats:
    """(n_items,): each half's best recipe for an item, scored on the other half."""
    items = np.arange(first.shape[1])
    scored = []
    for chosen_on, scored_on in ((first, second), (second, first)):
        means = chosen_on.mean(axis=1, keepdims=True)
        # Where recipes tie on an item, the better one on all items is taken.
        worth = trust * chosen_on + (1 - trust) * means + 1e-9 * means
        scored.append(scored_on[worth.argmax(axis=0), items])
    return np.asarray((scored[0] + scored[1]) / 2, dtype=np.float64)


def _means(evaluator: Evaluator, policy: Policy) -> tuple[float, float]:
    judged = evaluator.evaluate(policy)
    return judged.mean_score, judged.mean_usd
