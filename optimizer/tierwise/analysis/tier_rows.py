"""A tier's rows in ``summary.json`` and in its policy file, from what its search found.

Scores with intervals, the operating points, the ablation and its oracle bound, the compute gate,
escalation; those of signals and prompts are in the files of these names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tierwise.difficulty import ControlQuestion, Router
from tierwise.evaluation import Evaluation, Evaluator, SampleTable, replay_columns, replay_item
from tierwise.schema import Policy
from tierwise.schema.measured import (
    AblationStep,
    BucketSummary,
    ComputeGate,
    CrossFittedScore,
    EscalationRow,
    FailedItems,
    GateName,
    Measured,
    OracleBound,
    Paired,
    PointSummary,
    Split,
    interval_ends,
    number,
)
from tierwise.schema.policy_file import ExpectedBucket
from tierwise.search.held_out import Comparison, compare
from tierwise.search.problem import escalated_share
from tierwise.search.selection import PairedItems, PointChoice
from tierwise.search.stages import ComputeGateDecision
from tierwise.search.tier import TierResult
from tierwise.stats.intervals import UNSUPPORTED, bootstrap_mean

MODE_SIGNALS = (Router.kind, ControlQuestion.kind)
"""Signals that are there to choose between modes."""


def measured(
    policy: Policy, got: Evaluation, table: SampleTable, split: Split = "test"
) -> Measured:
    """A policy's row: its score, cost, samples and rounds on a split, with intervals.

    ``table`` has the samples that it was judged on.
    """
    return Measured(
        split=split,
        policy=str(policy),
        items=len(got.score),
        score=got.mean_score,
        score_ci95=interval_ends(bootstrap_mean(got.score, bounds=(0.0, 1.0))),
        usd_per_item=got.mean_usd,
        usd_per_item_ci95=interval_ends(bootstrap_mean(got.usd)),
        samples_per_item=float(got.samples.mean()),
        rounds_per_item=float(got.rounds.mean()),
        failed=table.failed_items(policy.variants),
    )


def paired(comparison: Comparison) -> Paired:
    """A paired comparison as a row."""
    return Paired(
        score_difference=number(comparison.difference.mean),
        score_difference_ci95=interval_ends(comparison.difference),
        cost_ratio=number(comparison.cost_ratio.mean),
        cost_ratio_ci95=interval_ends(comparison.cost_ratio),
        p=comparison.p,
    )


def ablation(found: TierResult) -> dict[str, AblationStep]:
    """The steps from the baseline prompt at one sample to the full policy, in order."""
    q, ablated, judged = found.problem, found.held_out.ablation_steps, found.held_out.validated
    full, steps = judged[ablated["full_policy"]], {}
    for step, policy in ablated.items():
        got = judged[policy]
        against = compare(full, got, margin=q.margin, seed=q.seed)
        steps[step] = AblationStep(
            **vars(measured(policy, got, found.study_table, "validation")),
            full_policy_against_it=paired(against),
        )
    return steps


def oracle_bound_row(found: TierResult) -> OracleBound:
    """The score of whoever knew the best recipe of each validation item."""
    oracle, table = found.held_out.oracle, found.study_table
    unanswered = [table.unanswered([variant]) for variant in table.variants]
    return OracleBound(
        items=len(oracle),
        score=number(float(oracle.mean())),
        score_ci95=interval_ends(bootstrap_mean(oracle, bounds=(0.0, 1.0))),
        failed=FailedItems(
            len(table.left_out), int(np.logical_and.reduce(unanswered, axis=0).sum())
        ),
    )


class JudgedPoint(NamedTuple):
    """A point's policy on a split, and against the baseline."""

    split: Split
    table: SampleTable
    evaluation: Evaluation
    comparison: Comparison


def judged_point(found: TierResult, point: str) -> JudgedPoint:
    """On the test items; where it was not tested, on the validation items as cross-fitted.

    That is what choosing so is worth, not what the best of many scores where it was chosen.
    """
    q, choice, held_out = found.problem, found.points[point], found.held_out
    if point in held_out.comparisons:
        tested = held_out.evaluations[choice.policy]
        return JudgedPoint("test", held_out.table, tested, held_out.comparisons[point])
    fitted, baseline = choice.evidence, found.candidates[0].evaluation
    got = replace(held_out.validated[choice.policy], score=fitted.score, usd=fitted.usd)
    compared = compare(got, baseline, margin=q.margin, seed=q.seed)
    return JudgedPoint("validation", found.study_table, got, compared)


def measured_baseline(found: TierResult) -> Measured:
    """The baseline on the test items; on the validation items where none were tested."""
    held_out = found.held_out
    if found.baseline in held_out.evaluations:
        return measured(found.baseline, held_out.evaluations[found.baseline], held_out.table)
    judged = found.candidates[0].evaluation
    return measured(found.baseline, judged, found.study_table, "validation")


def operating_point(found: TierResult, point: str, *, passed: bool | None) -> PointSummary:
    """A point's row: what its policy did, bucket by bucket, and against the baseline.

    ``passed`` is its gate's verdict; None where it was not tested.
    """
    choice = found.points[point]
    policy = choice.policy
    split, table, got, comparison = judged_point(found, point)
    gate: GateName = "not tested" if passed is None else "passed" if passed else "not passed"
    modes = mode_shares(policy, table)
    pooled = comparison.pooled if passed is not None else UNSUPPORTED
    return PointSummary(
        **vars(measured(policy, got, table, split)),
        gate=gate,
        trial=choice.candidate.trial,
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
        stuck_in_mode=stuck_in(policy, modes),
        validation=cross_fitted_score(found, choice),
        against_baseline=paired(comparison),
        pooled_difference=number(pooled.mean),
        pooled_difference_ci95=interval_ends(pooled),
    )


def cross_fitted_score(found: TierResult, choice: PointChoice) -> CrossFittedScore:
    """What choosing as this point does is worth on validation items that it does not see."""
    score, baseline = choice.evidence.score, found.candidates[0].evaluation.score
    gain = PairedItems(score - baseline, len(score)).interval()
    return CrossFittedScore(
        items=len(score),
        score=float(score.mean()),
        score_ci95=interval_ends(PairedItems(score, len(score)).interval()),
        usd_per_item=float(choice.evidence.usd.mean()),
        score_difference=gain.mean,
        score_difference_ci95=interval_ends(gain),
        failed=found.study_table.failed_items(choice.policy.variants),
    )


def mode_shares(policy: Policy, table: SampleTable) -> list[dict[str, float]]:
    """For each bucket, easiest first, mode -> share of its answers' samples; {} for an empty one.

    Over the items of `table` in stored order; samples of a probe beside the answers are left out.
    """
    sampled: list[Counter[str]] = [Counter() for _ in policy.buckets]
    for item in range(table.n_items):
        outcome = replay_item(policy, table, item)
        variants = policy.buckets[outcome.bucket].variants
        sampled[outcome.bucket].update(
            variant.mode for variant in outcome.variants if variant in variants
        )
    return [
        {mode: n / sum(counts.values()) for mode, n in sorted(counts.items())} for counts in sampled
    ]


def stuck_in(policy: Policy, shares: list[dict[str, float]]) -> str | None:
    """The one mode of all buckets where the signal is to choose modes; None where it does."""
    modes = {mode for bucket in shares for mode in bucket}
    if policy.difficulty.signal in MODE_SIGNALS and len(policy.buckets) > 1 and len(modes) == 1:
        return modes.pop()
    return None


def bucket_scores(
    found: TierResult, policy: Policy, table: SampleTable
) -> tuple[ExpectedBucket, ...]:
    """The score of each bucket on ``table``, easiest first: `verify` looks for shifts in it.

    An item whose permutations fall into several buckets takes part in each with its mean there.
    """
    permutations = found.problem.permutations
    if table.complete.all():
        evaluator = Evaluator(table, permutations, exact=False)
        score = evaluator.rows(policy).score.reshape(-1, permutations.n)
        bucket = evaluator.bucket_rows(policy.difficulty).reshape(-1, permutations.n)
    else:  # of each item what was asked for, in stored order
        replayed = [replay_columns(policy, table, item) for item in range(table.n_items)]
        score = np.array([[one.score(table, item)] for item, one in enumerate(replayed)])
        bucket = np.array([[one.outcome.bucket] for one in replayed])
    rows = []
    for b in range(len(policy.buckets)):
        weight = (bucket == b).sum(axis=1)
        here = weight > 0
        means = np.where(bucket == b, score, 0.0).sum(axis=1)[here] / weight[here]
        interval = bootstrap_mean(means, bounds=(0.0, 1.0))
        mean = float(means.mean()) if here.any() else math.nan
        rows.append(ExpectedBucket(int(here.sum()), number(mean), interval_ends(interval)))
    return tuple(rows)


def latency(policy: Policy, table: SampleTable) -> dict[str, float]:
    """Seconds of a request (the slowest sample of each round): mean and 95th percentile."""
    seconds = [replay_item(policy, table, item).latency_s for item in range(table.n_items)]
    return {
        "latency_s_per_item": float(np.mean(seconds)),
        "latency_s_p95": float(np.quantile(seconds, 0.95)),
    }


def compute_gate(decision: ComputeGateDecision) -> ComputeGate:
    """The compute gate's decision with what it was measured on."""
    return ComputeGate(
        verdict="open" if decision.open else "closed",
        decided=decision.decided,
        items=decision.items,
        samples=decision.samples,
        net_gain=number(decision.net_gain.mean),
        net_gain_ci95=interval_ends(decision.net_gain),
        best=decision.best,
        best_single=decision.best_single,
    )


def escalation(found: TierResult) -> tuple[EscalationRow, ...]:
    """Never escalating, always, and the operating points; none where the tier may not escalate.

    Each is compared with the strongest tier's best prompt at one sample, item by item.
    """
    q = found.problem
    if not q.targets:
        return ()
    held_out = found.held_out
    points: Mapping[str, Policy] = {f"point {n}": c.policy for n, c in found.points.items()}
    rows, judged = {**held_out.beside, **points}, held_out.evaluations
    split: Split = "test"
    table = held_out.table
    if not set(rows.values()) <= set(judged):
        split, table, judged = "validation", found.study_table, held_out.validated
    strong = judged[q.targets[-1].one_sample]

    def row(name: str, policy: Policy) -> EscalationRow:
        got = judged[policy]
        return EscalationRow(
            **vars(measured(policy, got, table, split)),
            name=name,
            escalated=escalated_share(policy, got.shares),
            against=q.targets[-1].tier.name,
            compared=paired(compare(got, strong, margin=q.margin, seed=q.seed)),
        )

    return tuple(row(name, policy) for name, policy in rows.items())
