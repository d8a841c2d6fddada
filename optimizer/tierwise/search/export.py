"""From what a search found to policy files and the summary of a run."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable, replay_item
from tierwise.llm.models import RECORDED, fingerprint_of, kind_of
from tierwise.pool import Billed
from tierwise.schema import Limits, LoadedTask, Policy, PromptTemplate
from tierwise.schema.policy_file import PolicyFile, TaskRef
from tierwise.schema.prompt import turns_used
from tierwise.schema.result import (
    AblationStep,
    BucketSummary,
    ComputeGate,
    FrontPoint,
    HeldOut,
    ItemCounts,
    OperatingPoint,
    OracleBound,
    ScreenedVariant,
    TierSummary,
    TrialRow,
    UsageTotals,
    bounds,
    number,
    to_data,
)
from tierwise.search import mode_shares, signal_quality
from tierwise.search.compute_gate import GateDecision
from tierwise.search.escalation import escalation
from tierwise.search.figures import held_out, paired
from tierwise.search.gate import compare
from tierwise.search.problem import own_variants
from tierwise.search.ranks import ranks
from tierwise.search.samples import samples_needed
from tierwise.search.sensitivity import sensitivities
from tierwise.search.study import StudyRound, described
from tierwise.search.techniques import techniques
from tierwise.search.tier import TierResult
from tierwise.stats.intervals import SMALL_SAMPLE, bootstrap_mean
from tierwise.strategies import asks, build, paths_of
from tierwise.tasks import Item

LEAST_TIMEOUT_S = 60.0
SIGNAL_PERMUTATIONS = 8
"""Orders of the samples that signals are judged on."""
TIMEOUT_ROOM = 2.0
"""A timeout is this many times the slowest that the test items could be."""


@dataclass(frozen=True)
class Origin:
    """Where a policy comes from."""

    version: str
    created: str
    pool_sha256: str
    looks: int


def policy_file(
    found: TierResult, point: str, gate: bool, loaded: LoadedTask, origin: Origin
) -> PolicyFile:
    """The file of an operating point, or of the baseline where the gate is not passed."""
    q = found.problem
    candidate = found.points[point]
    chosen = candidate.policy if gate else found.baseline
    got = found.tested[chosen]
    comparison = found.comparisons[point]
    notes = (
        []
        if gate
        else [
            f"The gate was not passed: {described(candidate.policy)} was not shown to be better than "
            "the baseline, or as good and cheaper. This is the baseline."
        ]
    )
    if not found.compute_gate.open:
        notes.append(
            f"The compute gate is closed: on {found.compute_gate.items} items neither more samples "
            f"nor thinking{'' if np.isnan(found.compute_gate.search.mean) else ' nor search'} "
            "clearly raised the score, so one cheap sample is all that "
            + ("it spends itself." if q.targets else "is spent.")
        )
    items = len(got.score)
    if items < SMALL_SAMPLE:
        notes.append(f"A small sample: {items} held-out items, so all intervals are wide.")
    recorded = kind_of(q.tier.model) == RECORDED
    if recorded:
        notes.append("Tuned on recorded answers: the prompts' exact bytes are not known.")
    if q.tier.price.simulated:
        notes.append("Dollars and seconds are simulated: parameters x tokens, nobody's bill.")
    return PolicyFile(
        name=f"{q.task.name}-{q.tier.name}",
        tier=q.tier,
        task=TaskRef(q.task.name, q.task.version, q.task.metric, q.task.items_sha256),
        inputs=q.task.inputs,
        prompts=with_used_turns(q.prompts, chosen),
        other_tiers={target.tier.name: target.tier for target in q.targets},
        policy=replace(chosen, limits=limits_of(chosen, found.test_table)),
        shares=tuple(round(share, 4) for share in got.shares),
        answer=q.task.answer,
        expected={
            **_numbers(held_out(chosen, got)),
            **latency(chosen, found.test_table),
            "buckets": by_bucket(found, chosen),
        },
        evidence={
            "split": "test" if found.tested_on_test else "tune",
            "baseline": {
                "policy": described(found.baseline),
                **_numbers(held_out(found.baseline, found.tested[found.baseline])),
            },
            "gate": "passed" if gate else "not passed",
            "compute_gate": found.compute_gate.name,
            "compute_gate_evidence": found.compute_gate.evidence(),
            "operating_point": point,
            "comparisons": [{"against": "baseline", **to_data(paired(comparison))}],
            "looks_at_test": origin.looks,
        },
        provenance={
            "tierwise": origin.version,
            "created": origin.created,
            "study": found.study_rounds[-1].name,
            "trial": candidate.trial if gate else -1,
            "seed": q.seed,
            "pool_sha256": origin.pool_sha256,
            "prices_as_of": q.tier.price.as_of,
            **_weights(q.tier.model),
        },
        deployable=not recorded,
        notes=tuple(notes),
        retriever=loaded.retriever.spec if loaded.retriever and asks_queries(chosen) else None,
    )


def _weights(model: str) -> dict[str, dict[str, str]]:
    """Which weights a model was, where that can be known."""
    known = fingerprint_of(model)
    return {"weights_sha256": {model: known}} if known else {}


def with_used_turns(
    prompts: Mapping[str, PromptTemplate], policy: Policy
) -> dict[str, PromptTemplate]:
    """``prompts`` with the turns that the policy may ask for, and no others."""
    used: set[str] = set()
    for recipe in policy.buckets:
        for path in paths_of(build(recipe.strategy)):
            used |= turns_used(path)
    return {
        name: replace(prompt, turns={t: s for t, s in prompt.turns.items() if t in used})
        for name, prompt in prompts.items()
    }


def asks_queries(policy: Policy) -> bool:
    """Whether some bucket searches."""
    return any(asks(build(recipe.strategy), "query") for recipe in policy.buckets)


def limits_of(policy: Policy, table: SampleTable) -> Limits:
    """Limits that a request reaches only when something is wrong: they bound, and do not steer."""
    n_samples = samples_needed([policy])
    slowest = max(table.of(variant).slowest_s for variant in n_samples)
    probe = policy.difficulty.probe
    most = max(sum(samples_needed([Policy((recipe,))]).values()) for recipe in policy.buckets)
    most += probe.samples if probe else 0
    timeout_s = max(LEAST_TIMEOUT_S, TIMEOUT_ROOM * slowest * most)
    return Limits(max_samples=most, timeout_s=float(math.ceil(timeout_s / 30) * 30))


def by_bucket(found: TierResult, policy: Policy) -> list[dict[str, Any]]:
    """The score of each bucket on the test split, easiest first: what `verify` looks for shifts in.

    An item whose orders fall into several buckets takes part in each with its mean there.
    """
    permutations = Permutations(found.problem.search_size.permutations, found.problem.seed)
    judge = Evaluator(found.test_table, permutations, exact=False)
    score = judge.rows(policy).score.reshape(-1, permutations.n)
    bucket = judge.bucket_rows(policy.difficulty).reshape(-1, permutations.n)
    rows = []
    for b in range(len(policy.buckets)):
        weight = (bucket == b).sum(axis=1)
        here = weight > 0
        means = np.where(bucket == b, score, 0.0).sum(axis=1)[here] / weight[here]
        interval = bootstrap_mean(means, bounds=(0.0, 1.0))
        rows.append(
            {
                "items": int(here.sum()),
                "score": float(means.mean()) if here.any() else math.nan,
                "score_ci95": list(bounds(interval)),
            }
        )
    return rows


def latency(policy: Policy, table: SampleTable) -> dict[str, float]:
    """Seconds of a request (the slowest sample of each round): mean and 95th percentile."""
    seconds = [replay_item(policy, table, item).latency_s for item in range(table.n_items)]
    return {
        "latency_s_per_item": float(np.mean(seconds)),
        "latency_s_p95": float(np.quantile(seconds, 0.95)),
    }


def _numbers(measured: HeldOut) -> dict[str, Any]:
    """What was measured, without the policy's line."""
    return {name: value for name, value in to_data(measured).items() if name != "policy"}


def tier_summary(found: TierResult, gates: Mapping[str, bool], billed: Billed) -> TierSummary:
    """One tier of ``summary.json``."""
    q = found.problem
    points = {point: _operating_point(found, point, passed=gates[point]) for point in found.points}
    return TierSummary(
        model=q.tier.model,
        spending=UsageTotals.of(billed.confirmed),
        possibly_billed=UsageTotals.of(billed.possibly) if billed.possibly.calls else None,
        operating_point=found.chosen,
        gate=points[found.chosen].gate,
        compute_gate=_compute_gate(found.compute_gate),
        items=ItemCounts(
            study=found.study_table.n_items,
            select=len(found.candidates[0].on_select.score),
            test=found.test_table.n_items,
        ),
        baseline=held_out(found.baseline, found.tested[found.baseline]),
        operating_points=points,
        ablation=_ablation(found),
        oracle_bound=OracleBound(
            items=len(found.oracle),
            score=number(float(found.oracle.mean())),
            score_ci95=bounds(bootstrap_mean(found.oracle, bounds=(0.0, 1.0))),
        ),
        front=tuple(
            FrontPoint(policy=described(j.policy), trial=j.trial, score=j.score, usd_per_item=j.usd)
            for j in found.study_rounds[-1].front()
        ),
        signals=signal_quality.summary(
            own_variants(found.study_table),
            found.study_rounds[-1].dimensions.alone,
            Permutations(SIGNAL_PERMUTATIONS, q.seed),
        ),
        fitted_signals=tuple(fit.summary() for fit in found.routers),
        techniques=tuple(techniques(found.prompt_table, q.variants.baseline, q.families)),
        prompt_sensitivity=tuple(sensitivities(found.prompt_table, q.families)),
        escalation=escalation(found),
        ranks=ranks(found),
        rounds=tuple(made.summary() for made in found.rounds),
        screened=tuple(
            ScreenedVariant(variant.label, score, usd) for variant, score, usd in found.screened
        ),
        studies=tuple(study_round.name for study_round in found.study_rounds),
    )


def _operating_point(found: TierResult, point: str, *, passed: bool) -> OperatingPoint:
    candidate = found.points[point]
    policy, got = candidate.policy, found.tested[candidate.policy]
    modes = mode_shares.mode_shares(policy, found.test_table)
    return OperatingPoint(
        **vars(held_out(policy, got)),
        gate="passed" if passed else "not passed",
        trial=candidate.trial,
        buckets=tuple(
            BucketSummary(
                share=share,
                variants=tuple(variant.label for variant in recipe.variants),
                strategy=str(recipe.strategy),
                modes=of_bucket,
            )
            for share, recipe, of_bucket in zip(got.shares, policy.buckets, modes, strict=True)
        ),
        signal=policy.difficulty.signal,
        thresholds=policy.difficulty.thresholds,
        stuck_in_mode=mode_shares.stuck_in(policy, modes),
        against_baseline=paired(found.comparisons[point]),
    )


def _ablation(found: TierResult) -> dict[str, AblationStep]:
    q, full = found.problem, found.tested[found.ablation_steps["full_policy"]]
    steps = {}
    for step, policy in found.ablation_steps.items():
        got = found.tested[policy]
        against = compare(full, got, margin=q.margin, seed=q.seed)
        steps[step] = AblationStep(
            **vars(held_out(policy, got)), full_policy_against_it=paired(against)
        )
    return steps


def _compute_gate(verdict: GateDecision) -> ComputeGate:
    return ComputeGate(
        verdict="open" if verdict.open else "closed",
        decided=verdict.decided,
        items=verdict.items,
        samples=verdict.samples,
        score_per_doubling_of_samples=number(verdict.slope.mean),
        score_per_doubling_of_samples_ci95=bounds(verdict.slope),
        think_gain=number(verdict.gain.mean),
        think_gain_ci95=bounds(verdict.gain),
        search_gain=number(verdict.search.mean),
        search_gain_ci95=bounds(verdict.search),
        measured_on=verdict.spent_on,
    )


def items_jsonl(items: Sequence[Item]) -> str:
    """Items as a task's file has them: what a report shows beside the samples, gold answers too."""
    rows = ({"id": i.id, "inputs": dict(i.inputs), "target": i.target} for i in items)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TRIAL_FIELDS = tuple(field.name for field in fields(TrialRow))


def trials_csv(study_rounds: Sequence[StudyRound]) -> str:
    """Every distinct policy that was evaluated, a line each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRIAL_FIELDS)
    for study_round in study_rounds:
        for j in study_round.judged.values():
            writer.writerow(
                [
                    study_round.name,
                    j.trial,
                    f"{j.score:.6f}",
                    f"{j.usd:.9g}",
                    f"{j.samples:.4f}",
                    f"{j.rounds:.4f}",
                    len(j.policy.buckets),
                    j.policy.difficulty.signal,
                    described(j.policy),
                ]
            )
    return out.getvalue()
