"""Screen: every variant on few items at five samples or more, since ranks flip under voting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import StrategySpec, Tier, UsageLimits, Variant, uniform
from tierwise.search.asking import SAMPLES as ASK_SAMPLES
from tierwise.search.asking import told
from tierwise.search.buying import Samples
from tierwise.search.n_samples_by_variant import most_samples, nodes_an_item, with_nodes
from tierwise.search.problem import TierProblem
from tierwise.search.search_size import SampleCost, StageSamples, affordable

SCREENED_CHAINS = 1
"""Chains of search an item, where a space searches: what search is worth shows in one."""


@dataclass(frozen=True)
class Screened:
    """Every variant on the screening items.

    Attributes:
        problem: with a search size that the budget affords at the measured cost.
        table: the samples.
        single: (variant, score, dollars) at one sample.
        depth: the most samples of a variant that the study may look at.
        cost: what a sample turned out to use.
    """

    problem: TierProblem
    table: SampleTable
    single: Sequence[tuple[Variant, float, float]]
    n_samples: int
    cost: SampleCost


def screen(problem: TierProblem, samples: Samples) -> Screened:
    """Buy the first samples of every variant.

    Raises:
        BudgetError: the budget does not last to the end of the smallest search.
    """
    q, name, variants = problem, problem.tier.name, problem.variants.candidates
    n_samples = min(most_samples(q.space), max(samples.most(variant) for variant in variants))
    search_size = q.search_size.within(q.task, q.space.signals)
    nodes = nodes_an_item(q.space, n_samples)
    first = nodes_an_item(q.space, n_samples, SCREENED_CHAINS)
    assumed = replace(q.assumed, nodes=nodes, screened=first)
    search_size = affordable(search_size, len(variants), n_samples, assumed, q.cap, tier=name)
    items = q.items("tune")[: search_size.screen_items]
    screen_samples = min(search_size.screen_samples, max(n_samples, 1))
    asked = dict.fromkeys(
        (variant for of in q.variants.asking.values() for variant in of), ASK_SAMPLES
    )
    plain = with_nodes(variants, screen_samples, q.space, SCREENED_CHAINS)
    table = samples.table(items, {**plain, **asked}, "screen")
    measured = replace(_measured_cost(table, q.tier), nodes=nodes, screened=first)
    left = _left(q.cap, search_size.stages(len(variants), n_samples, nodes, first)[0], measured)
    search_size = affordable(
        search_size, len(variants), n_samples, measured, left, tier=name, done=("screen",)
    )
    q = replace(q, search_size=search_size, told=told(table, q.variants.asking))
    return Screened(q, table, _at_one_sample(table, variants), n_samples, measured)


def _left(cap: UsageLimits, bought: StageSamples, cost: SampleCost) -> UsageLimits:
    """What the screening left of ``cap``: counted, not read from the books, in which a resumed run
    finds more than its screening."""
    samples = bought.samples
    calls = bought.requests if cost.takes_n else samples
    return cap - cost.of(samples, calls)


def _at_one_sample(
    table: SampleTable, variants: Sequence[Variant]
) -> list[tuple[Variant, float, float]]:
    single = Evaluator(table, Permutations(1))
    judged = [single.evaluate(uniform(variant, StrategySpec.of("single"))) for variant in variants]
    return [
        (variant, e.mean_score, e.mean_usd) for variant, e in zip(variants, judged, strict=True)
    ]


def _measured_cost(table: SampleTable, tier: Tier) -> SampleCost:
    """Means over the screened variants; prompts as if each sample was a call where ``n`` is not taken."""
    usd, tokens = [], []
    for rows in table.variants.values():
        prompt = float(rows.prompt_usd.mean()) / (rows.n_samples if rows.takes_n else 1)
        completion = float(rows.completion_usd.mean())
        usd.append(prompt + completion)
        each = tier.price.completion_usd(1.0), tier.price.prompt_usd(1.0)
        tokens.append(
            (completion / each[0] if each[0] else 0) + (prompt / each[1] if each[1] else 0)
        )
    return SampleCost(float(np.mean(usd)), float(np.mean(tokens)), tier.takes_n)
