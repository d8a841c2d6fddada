"""The compute gate: before a tier may spend on more than one sample, can spending pay here?

Non-reasoning models do not catch up at any budget, and much compute adds little to some tasks
(arXiv 2504.14047). On the first purchase the best strategy of several samples is cross-fitted
against the best single sample, both chosen on items that they are not scored on, net of their cost
at the job's price. The gate closes only where the upper bound of that net gain is below zero: a
gate that closes wrongly costs a tier all of its gain, one that stays open only samples. It never
closes where samples are free. It depends on the samples alone, not on a seed.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Policy, Recipe, StrategySpec, Variant, uniform
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.allocation import cascades
from tierwise.search.selection import (
    Candidate,
    CandidateTable,
    PairedItems,
    Utility,
    choose_policy,
    complexity,
    cross_fitted,
)
from tierwise.search.space import Dimensions, most_samples, verifiers_of
from tierwise.search.stages import UNDECIDED, ComputeGateDecision, Explored, bought
from tierwise.tasks.verifiers import LOGPROBS

GATE_PART = 0.15
"""Of what is left, that a second look of a compute gate that would close may cost."""

_FEWEST_ITEMS = 40
"""With fewer the interval says nothing: the gate stays open, undecided."""

_FEWEST_SAMPLES = 5
"""Of a variant on an item, where the space may ask for as many: with fewer the strategies that the
gate would close are not among those that it compares."""

VOTES = (3, 5, 9, 17)
"""Samples of a vote that are looked at."""

THRESHOLDS = (0.8, 0.9)
"""Of adaptive votes: one answer is enough for none of them."""

PAIRED_VARIANTS = 6
"""Variants, the best at one sample first, whose pairs are looked at voting together."""


def pass_compute_gate(explored: Explored) -> Explored:
    """With the gate's decision; closed, the space is one sample, but for escalation.

    A tier that may escalate keeps its signals and buckets: what does not pay on this tier may pay
    on a stronger one, and a probe can still tell where.
    """
    problem = explored.problem
    gate = _gate_decision(explored)
    if gate.open:
        return replace(explored, compute_gate=gate)
    cheap, n_samples, trials = closed_space(problem.space), 1, problem.trials
    if problem.targets:
        space = problem.space
        cheap = cheap.with_difficulty(signals=space.signals, buckets=space.buckets)
        n_samples = min(explored.n_samples, int(cheap.probe_samples.high))
    else:
        trials = min(trials, 3 * len(explored.variants))
    problem = replace(problem, space=cheap, trials=trials)
    return replace(explored, problem=problem, n_samples=n_samples, compute_gate=gate)


def _gate_decision(explored: Explored) -> ComputeGateDecision:
    """The decision; a gate that would close is looked at again on the race's items first.

    One that closes wrongly costs the tier all that it could gain, and an open one needs these
    samples anyway.
    """
    problem, plan, table = explored.problem, explored.plan, explored.table
    free, part = explored.samples.free or problem.tier.price.free, explored.left * GATE_PART

    def decision(table: SampleTable) -> ComputeGateDecision:
        return decide(
            table,
            problem.space,
            problem.aim,
            logprobs=problem.tier.logprobs,
            permutations=problem.permutations,
            free=free,
        )

    have = explored.have
    if have.samples < min(VOTES[0], explored.n_samples):
        return UNDECIDED  # no vote can be seen yet
    found = decision(table)
    most = max(problem.search_size.race_items, have.items)
    more = plan.most_items(have, most, part)
    if found.open or more <= have.items:
        return found
    looked = replace(have, items=more)
    return decision(bought(explored, looked, "compute gate", few_chains=True))


def closed_space(space: SearchSpace) -> SearchSpace:
    """``space`` with one sample left in it; prompt, mode and temperature are still free."""
    one = replace(space, variants=(1,), strategies={"single": {}})
    return one.with_difficulty(signals=("none",), buckets=(1,))


def decide(
    table: SampleTable,
    space: SearchSpace,
    aim: Utility,
    *,
    logprobs: bool,
    permutations: Permutations,
    free: bool = False,
) -> ComputeGateDecision:
    """Whether the tier may spend, from ``table``, the first purchase.

    Args:
        table: every candidate variant on the same items.
        space: says by which strategies samples may be spent.
        aim: what a strategy must gain for its dollars.
        logprobs: the samples carry log-probabilities.
        permutations: of the samples; an item's score is its mean over them.
        free: samples cost nothing, so the gate stays open whatever they say.
    """
    evaluator = Evaluator(table, permutations, exact=False)
    singles = [uniform(variant, StrategySpec.of("single")) for variant in table.variants]
    most = max(rows.n_samples for rows in table.variants.values())
    staged = space
    if (
        max(space.buckets) > 1
    ):  # a probe, then another variant: as a cascade, whose cost is the same
        staged = replace(space, strategies={"cascade": {}, **space.strategies})
    depths = {variant: rows.n_samples for variant, rows in table.variants.items()}
    listed = cascades(evaluator, Dimensions(staged, depths, logprobs))
    more = [*_strategies(table, space, logprobs), *_searches(table, space), *listed]
    candidates = [Candidate(policy, -1, evaluator.evaluate(policy)) for policy in singles + more]
    supported = [c for c in candidates if c.evaluation.known]
    one = [c for c in supported if complexity(c.policy) == 0]
    several = [c for c in supported if complexity(c.policy) > 0]
    samples = most
    if not one or not several or table.n_items < 2:
        return ComputeGateDecision(True, False, table.n_items, samples)
    tables = [CandidateTable.of(group) for group in (several, one)]
    best, single = (cross_fitted(group, aim) for group in tables)
    net = PairedItems(aim.gain(best, single), table.n_items).interval()
    deep = most >= min(_FEWEST_SAMPLES, most_samples(space))
    decided = table.n_items >= _FEWEST_ITEMS and deep
    leaders = [
        str(group[choose_policy(of, aim)].policy)
        for group, of in zip((several, one), tables, strict=True)
    ]
    stays_open = free or not decided or net.high >= 0
    return ComputeGateDecision(stays_open, decided, table.n_items, samples, net, *leaders)


def single_searches(space: SearchSpace) -> list[StrategySpec]:
    """The space's ways to search with one chain: every number of rounds, and of passages."""
    dims = space.strategies.get("retrieval", {})
    rounds, passages = (_whole(dims.get(name)) for name in ("rounds", "passages"))
    return [
        StrategySpec.of("retrieval", rounds=n, passages=k)
        for n in rounds
        if n
        for k in passages or (2,)
    ]


def _strategies(table: SampleTable, space: SearchSpace, logprobs: bool) -> list[Policy]:
    """Votes, adaptive votes and best-of-n of each variant, and votes of pairs of the best."""
    score = {variant: float(np.nanmean(rows.score)) for variant, rows in table.variants.items()}
    leading = sorted(score, key=lambda variant: (-score[variant], variant.label))
    groups: list[tuple[Variant, ...]] = [(variant,) for variant in table.variants]
    if max(space.variants) > 1:
        groups += itertools.combinations(leading[:PAIRED_VARIANTS], 2)
    found = []
    for group in groups:
        depth = sum(table.variants[variant].n_samples for variant in group)
        depth = min(depth, len(group) * min(table.variants[v].n_samples for v in group))
        for n in (n for n in VOTES if n <= depth):
            found.append((group, StrategySpec.of("self_consistency", samples=n)))
            for threshold in THRESHOLDS:
                found.append(
                    (
                        group,
                        StrategySpec.of("adaptive_consistency", threshold=threshold, max_samples=n),
                    )
                )
        if len(group) == 1:
            for name in verifiers_of(space):
                if logprobs or name not in LOGPROBS:
                    found += [
                        (group, StrategySpec.of("best_of_n", samples=n, verifier=name))
                        for n in (2, *VOTES)
                        if n <= depth
                    ]
    return [Policy((Recipe(group, spec),)) for group, spec in found]


def _searches(table: SampleTable, space: SearchSpace) -> list[Policy]:
    return [uniform(variant, spec) for spec in single_searches(space) for variant in table.variants]


def _whole(dimension: Dimension | None) -> tuple[int, ...]:
    """The whole numbers of a dimension."""
    if isinstance(dimension, Range):
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return tuple(int(v) for v in dimension or () if isinstance(v, int | float))
