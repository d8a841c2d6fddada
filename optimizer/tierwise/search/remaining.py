"""What is left to buy of a plan, where its run has begun: the pool's own book against the plan.

Stages before the last one that bought something are done. What samples turned out to cost, against
what was expected of as many, scales what is expected of those that are left; at worst every one of
them still fills its cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tierwise.pool import SamplePool
from tierwise.pool.run_dir import RunDir
from tierwise.schema import Job, Usage
from tierwise.search.plan import FINALISTS_SAMPLES
from tierwise.search.planned import Plan, StagePlan, TierPlan

LAST = "test"


def remaining(found: Plan, run: RunDir, job: Job) -> Plan:
    """What of ``found``, the plan of ``job`` from nothing, ``run`` has not bought yet.

    A run that has finished buys nothing more, unless its budget was changed.
    """
    if not run.pool.exists():
        return found
    finished = run.finished and run.job().budget == job.budget
    with SamplePool.open(run.pool, read_only=True) as pool:
        return Plan(
            {
                name: _left(
                    tier, pool.bought(run.run, name), pool.spent(run.run, name), finished=finished
                )
                for name, tier in found.tiers.items()
            }
        )


def _left(tier: TierPlan, bought: Mapping[str, Usage], spent: Usage, *, finished: bool) -> TierPlan:
    names = [stage.stage for stage in tier.stages]
    begun = [name for name in names if name in bought]
    if not begun or tier.fault:
        return tier
    scale = _scale(tier, bought)
    done = names[: names.index(begun[-1])]
    if begun[-1] == LAST:
        done += names[names.index(LAST) + 1 :]  # what signals ask is bought within the stages
    stages = [
        _nothing(stage) if finished or stage.stage in done else _stage(stage, bought, scale)
        for stage in tier.stages
    ]
    samples = sum(b.samples for b in bought.values())
    return replace(
        tier,
        cap=tier.cap - spent,
        stages=tuple(stages),
        bought=replace(spent, samples=samples),
        lengths_seen=scale[1],
    )


def at_lengths_seen(found: Plan, run: RunDir) -> Plan:
    """``found``, a plan from nothing, with what samples of ``run`` turned out to cost."""
    with SamplePool.open(run.pool, read_only=True) as pool:
        tiers = {}
        for name, tier in found.tiers.items():
            scale = _scale(tier, pool.bought(run.run, name))
            stages = tuple(replace(s, expected=_scaled(s.expected, scale)) for s in tier.stages)
            tiers[name] = replace(tier, stages=stages)
    return Plan(tiers)


def _scaled(amount: Usage, scale: tuple[float, float]) -> Usage:
    return replace(amount * scale[0], calls=amount.calls, usd=amount.usd * scale[1])


def _scale(tier: TierPlan, bought: Mapping[str, Usage]) -> tuple[float, float]:
    """(tokens, dollars) of the samples that are there, over what was expected of as many."""
    expected, actual = [0.0, 0.0], [0.0, 0.0]
    for stage in tier.stages:
        got = bought.get(stage.stage)
        if got is None or not stage.samples or stage.stage in FINALISTS_SAMPLES:
            continue
        share = got.samples / stage.samples
        for k, (planned, spent) in enumerate(
            ((stage.expected.tokens, got.tokens), (stage.expected.usd, got.usd))
        ):
            expected[k] += planned * share
            actual[k] += spent
    tokens, usd = (a / e if e else 1.0 for a, e in zip(actual, expected, strict=True))
    return tokens, usd


def _stage(stage: StagePlan, bought: Mapping[str, Usage], scale: tuple[float, float]) -> StagePlan:
    there = bought[stage.stage].samples if stage.stage in bought else 0
    most, usual = stage.samples, stage.samples * FINALISTS_SAMPLES.get(stage.stage, 1.0)
    left, left_usual = (max(0.0, n - there) / n if n else 0.0 for n in (most, usual))
    expected, worst = stage.expected, stage.worst
    return replace(
        stage,
        samples=max(0, most - there),
        expected=_scaled(expected * left_usual, scale),
        worst=worst * left,
    )


def _nothing(stage: StagePlan) -> StagePlan:
    return replace(stage, samples=0, expected=Usage(), worst=Usage())
