"""What ``benchmarks/difficulty.py`` compares: policies by each signal, and without one, held out.

Everything is chosen on the study's and the select items and reported on the test items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator, Orders
from tierwise.llm.models import open_model
from tierwise.pool import Cap, SamplePool
from tierwise.recipe import Policy, StrategySpec, uniform
from tierwise.search import RunDir
from tierwise.search.allocation import allocate
from tierwise.search.asking import asked_of
from tierwise.search.buying import Account, Buyer, Supply
from tierwise.search.found import Found
from tierwise.search.grid import recipes
from tierwise.search.ladder import ADAPTIVE
from tierwise.search.parameters import Dimensions
from tierwise.search.study import Generation
from tierwise.stats.intervals import Interval
from tierwise.stats.paired import PairedBootstrap, ratio_of_means
from tierwise.strategies import build

MARGIN = 0.02
"""Scores are equal where the lower bound of the paired difference is above minus this."""
SHORTLIST = 16
"""Policies whose score on the select items is looked at, from the best on the study's."""
LOOKS, ENOUGH = 60, 3
"""From the cheapest on, this many are looked at, until so many are equal."""
ORDERS = 16

Measure = Callable[[Evaluation], np.ndarray]
DRAWS: Measure = lambda e: e.draws  # noqa: E731
USD: Measure = lambda e: e.usd  # noqa: E731


@dataclass(frozen=True)
class World:
    """One tier's draws at their full depth: where to search, to choose and to report."""

    name: str
    found: Found
    dimensions: Dimensions
    study: Evaluator
    select: Evaluator
    test: Evaluator


@dataclass(frozen=True)
class Row:
    """A policy beside another on the test items; ratios are the other's over this one's."""

    policy: Policy
    on_test: Evaluation
    difference: Interval
    fewer_draws: Interval
    fewer_usd: Interval


def opened(found: Found, run: RunDir, select_items: int, test_items: int) -> World:
    """Buys the arms of the study, and what signals look at, on held-out items."""
    q = found.question
    dimensions = found.generations[-1].dimensions
    switch = tuple(arm for fit in found.routers[:1] for arm in (fit.direct, fit.think))
    arms = tuple(dict.fromkeys((*dimensions.arms, *switch)))
    wanted = {**dict.fromkeys(arms, dimensions.max_draws), **asked_of(q.told)}
    model = open_model(q.tier)
    with SamplePool.open(run.pool) as pool:
        supply, account = (
            Supply(q.tier, model, q.arms.prompts),
            Account("difficulty", q.seed, Cap()),
        )
        buyer = Buyer(pool, q.task, supply, account)
        try:
            tables = [
                buyer.table(q.items(split)[:n], wanted, split)
                for split, n in (("select", select_items), ("test", test_items))
            ]
        finally:
            model.close()
    select, test = (Evaluator(t, Orders(ORDERS, q.seed), exact=False) for t in tables)
    study = Evaluator(found.study_table, Orders(ORDERS, q.seed))
    return World(q.tier.name, found, dimensions, study, select, test)


def by_signal(world: World, kind: str, trials: int) -> list[Policy]:
    """Policies with buckets by this signal alone, from a study of its own on the same draws."""
    space = replace(world.dimensions.space, signals=("none", kind))
    dims = replace(world.dimensions, space=space)
    generation = Generation(f"{world.name}/{kind}", world.study, dims, world.found.question.seed, 2)
    before = [
        j.proposal for j in world.found.generations[-1].judged.values()
        if j.policy.difficulty.signal == kind or len(j.policy.buckets) == 1
    ]  # fmt: skip
    generation.enqueue([*allocate(world.study, dims).spread(48), *before])
    generation.run(trials + min(len(before), trials))
    return [p for p in generation.judged if p.difficulty.signal == kind and len(p.buckets) > 1]


def fixed(world: World) -> list[Policy]:
    """Uniform policies whose number of draws is fixed."""
    grid = recipes(world.dimensions, steps=6)
    singles = [uniform(arm, StrategySpec.of("single")) for arm in world.dimensions.arms]
    some = [
        Policy((r,)) for r in grid if r.strategy.kind not in ADAPTIVE and not _stops(r.strategy)
    ]
    return list(dict.fromkeys([*singles, *some]))


def stopping(world: World) -> list[Policy]:
    """Uniform policies that stop early."""
    grid = [Policy((r,)) for r in recipes(world.dimensions, steps=4) if r.strategy.kind in ADAPTIVE]
    judged = [
        p for p in world.found.generations[-1].judged
        if len(p.buckets) == 1 and p.buckets[0].strategy.kind in ADAPTIVE
    ]  # fmt: skip
    return list(dict.fromkeys([*grid, *judged]))


def _stops(spec: StrategySpec) -> bool:
    return bool(getattr(build(spec), "window", 0)) and spec.kind == "self_consistency"


def best(world: World, policies: Sequence[Policy]) -> Policy:
    """The highest score on the select items, among those that lead on the study's."""
    scored = _judged(world.study, policies)
    lead = sorted(scored, key=lambda p: -scored[p].mean_score)[:SHORTLIST]
    chosen = _judged(world.select, lead)
    return max(chosen, key=lambda p: (chosen[p].mean_score, -chosen[p].mean_usd))


def at_equal_score(
    world: World, policies: Sequence[Policy], against: Policy, measure: Measure
) -> Policy | None:
    """The one with the least of ``measure`` whose score is surely as good; None where none is."""
    scored = _judged(world.study, policies)
    reference = world.study.evaluate(against).mean_score
    near = [p for p, e in scored.items() if e.mean_score > reference - MARGIN / 2]
    near.sort(key=lambda p: float(measure(scored[p]).mean()))
    other = world.select.evaluate(against).score
    paired = PairedBootstrap(len(other), resamples=4000)
    equal: dict[Policy, float] = {}
    for policy in near[:LOOKS]:
        held = world.select.evaluate(policy)
        if paired.difference(held.score, other).low > -MARGIN:
            equal[policy] = float(measure(held).mean())
        if len(equal) == ENOUGH:
            break
    return min(equal, key=lambda p: equal[p], default=None)


def at_equal_usd(world: World, policies: Sequence[Policy], against: Policy) -> Policy | None:
    """The highest score on the select items among those that cost no more than ``against``."""
    cap = world.study.evaluate(against).mean_usd * 1.02
    scored = _judged(world.study, policies)
    within = [p for p, e in scored.items() if e.mean_usd <= cap]
    return best(world, within) if within else None


def row(world: World, policy: Policy, against: Policy) -> Row:
    """Both on the test items."""
    mine, other = world.test.evaluate(policy), world.test.evaluate(against)
    paired = PairedBootstrap(len(mine.score), resamples=4000)
    return Row(
        policy, mine, paired.difference(mine.score, other.score),
        ratio_of_means(other.draws, mine.draws), ratio_of_means(other.usd, mine.usd),
    )  # fmt: skip


def _judged(evaluator: Evaluator, policies: Sequence[Policy]) -> dict[Policy, Evaluation]:
    found = {policy: evaluator.evaluate(policy) for policy in policies}
    return {p: e for p, e in found.items() if np.isfinite(e.mean_score)}
