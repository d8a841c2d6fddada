"""Evaluations and comparisons as the rows of policy files and summaries."""

from __future__ import annotations

from tierwise.evaluation import Evaluation
from tierwise.schema import Policy
from tierwise.schema.result import HeldOut, Paired, bounds, number
from tierwise.search.gate import Comparison
from tierwise.search.study import described
from tierwise.stats.intervals import bootstrap_mean


def held_out(policy: Policy, got: Evaluation) -> HeldOut:
    """What a policy did on the test split, with intervals."""
    return HeldOut(
        policy=described(policy),
        items=len(got.score),
        score=got.mean_score,
        score_ci95=bounds(bootstrap_mean(got.score, bounds=(0.0, 1.0))),
        usd_per_item=got.mean_usd,
        usd_per_item_ci95=bounds(bootstrap_mean(got.usd)),
        samples_per_item=float(got.samples.mean()),
        rounds_per_item=float(got.rounds.mean()),
    )


def paired(comparison: Comparison) -> Paired:
    """A paired comparison as a row."""
    return Paired(
        score_difference=number(comparison.difference.mean),
        score_difference_ci95=bounds(comparison.difference),
        cost_ratio=number(comparison.cost_ratio.mean),
        cost_ratio_ci95=bounds(comparison.cost_ratio),
        p=comparison.p,
    )
