"""What a tier's policies say beyond their scores: gains from one operating point to the next, votes
by number of samples, the policy's own difficulty signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.analysis.prompts import one_sample
from tierwise.analysis.tier_files import COMPARISON_RESAMPLES, JudgedPolicies, TierFiles
from tierwise.evaluation import Evaluator, Permutations
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.schema.job import OPERATING_POINTS
from tierwise.schema.measured import Measured, PointSummary
from tierwise.stats import bootstrap_mean, paired_difference, spearman
from tierwise.stats.intervals import Floats, Interval

_PERMUTATIONS = 16
"""Orders of the samples, over which votes and signals are averaged."""
_VOTES = (1, 2, 3, 4, 5, 7, 9, 12, 17, 24, 32, 40)
_MOST_BINS = 8


# --- operating points ---------------------------------------------------------------------------


@dataclass(frozen=True)
class PointStep:
    """An operating point against the cheaper one before it, on the same validation items.

    Attributes:
        interval: 95% of the gain, paired by item; None where it is not known.
        usd: the extra cost of an item.
        usd_per_right_answer: extra cost over gain; None without a proven gain.
    """

    tier: str
    before: str
    after: str
    gain: float
    interval: tuple[float, float] | None
    usd: float
    usd_per_right_answer: float | None
    verdict: Literal["gain", "loss", "not proven", "unknown"]


def points_by_cost(tier: TierFiles) -> tuple[tuple[str, PointSummary], ...]:
    """Names and operating points, the cheapest first."""

    def order(entry: tuple[str, PointSummary]) -> tuple[float, int]:
        name, point = entry
        known = OPERATING_POINTS.index(name) if name in OPERATING_POINTS else len(OPERATING_POINTS)
        return point.usd_per_item, known

    return tuple(sorted(tier.summary.operating_points.items(), key=order))


def point_steps(tier: TierFiles) -> Iterator[PointStep]:
    """From the baseline through the operating points by cost; equal policies are no step."""
    before: tuple[str, Measured] = ("baseline prompt", tier.summary.baseline)
    for name, point in points_by_cost(tier):
        name_before, last = before
        if point.policy == last.policy:
            continue
        usd = point.usd_per_item - last.usd_per_item
        found = paired_gain(tier.validated, point.policy, last.policy)
        verdict: Literal["gain", "loss", "not proven", "unknown"] = "unknown"
        if found is not None:
            verdict = "gain" if found.low > 0 else "loss" if found.high < 0 else "not proven"
        gain = point.score - last.score if found is None else found.mean
        worth = usd / gain if verdict == "gain" and usd > 0 else None
        ends = (found.low, found.high) if found else None
        yield PointStep(tier.name, name_before, name, gain, ends, usd, worth, verdict)
        before = name, point


def paired_gain(judged: JudgedPolicies | None, policy: str, other: str) -> Interval | None:
    """What ``policy`` scores beyond ``other``, paired by item; None where it is not known."""
    if judged is None or not {policy, other} <= set(judged.policies):
        return None
    a, b = (judged.score[judged.policies.index(name)] for name in (policy, other))
    if np.isnan(a).any() or np.isnan(b).any():
        return None
    return paired_difference(a, b, resamples=COMPARISON_RESAMPLES)


# --- votes by number of samples ------------------------------------------------------------------


class VoteCurve(NamedTuple):
    """Majority votes of more and more samples of a bucket's variants, on that bucket's requests.

    ``votes`` are (samples, score on study items).
    """

    bucket: int
    variants: str
    votes: tuple[tuple[int, Interval], ...]


def vote_curves(tier: TierFiles, seed: int) -> tuple[VoteCurve, ...]:
    """A curve for each bucket of the exported policy that the study's samples support.

    Raises:
        UnsupportedError: the policy or the study's table is missing.
    """
    policy, study = tier.policy_file.policy, tier.study_table
    if not set(policy.variants) <= set(study.variants):
        return ()  # a baseline that was dropped before the study
    evaluator = Evaluator(study, Permutations(_PERMUTATIONS, seed), exact=False)
    bucket = evaluator.bucket_rows(policy.difficulty)
    curves = [
        VoteCurve(
            i,
            " + ".join(variant.label for variant in recipe.variants),
            _votes(evaluator, recipe, bucket == i),
        )
        for i, recipe in enumerate(policy.buckets)
        if recipe.strategy.kind != "retrieval"  # its answers follow queries, which a vote has not
    ]
    return tuple(curve for curve in curves if curve.votes)


def _votes(
    evaluator: Evaluator, recipe: Recipe, mine: npt.NDArray[np.bool_]
) -> tuple[tuple[int, Interval], ...]:
    """``mine``: (item, permutation) rows that fall into the bucket."""
    most = min(evaluator.table.variants[variant].n_samples for variant in recipe.variants)
    weight = mine.reshape(-1, _PERMUTATIONS).sum(axis=1)
    here = weight > 0
    votes = []
    for count in [c for c in _VOTES if c <= most] if here.sum() >= 2 else []:
        vote = StrategySpec.of("self_consistency", samples=count)
        rows = evaluator.rows(Policy((Recipe(recipe.variants[:count], vote),))).score
        sums = np.where(mine, rows, 0.0).reshape(-1, _PERMUTATIONS).sum(axis=1)
        score = bootstrap_mean(sums[here] / weight[here], resamples=1000, bounds=(0.0, 1.0))
        if not np.isnan(score.mean):
            votes.append((count, score))
    return tuple(votes)


# --- the policy's difficulty signal --------------------------------------------------------------


class SignalBin(NamedTuple):
    """Held-out items with about the same signal: the score of one sample."""

    low: float
    high: float
    items: int
    score: Interval


@dataclass(frozen=True)
class SignalCalibration:
    """The signal of the exported policy on held-out items.

    Attributes:
        variant: the first of the hardest bucket, of which one sample is scored.
        spearman: of the signal with that score; NaN where either is constant.
    """

    tier: TierFiles
    variant: str
    bins: tuple[SignalBin, ...]
    spearman: float


def signal_calibration(tier: TierFiles, seed: int) -> SignalCalibration | None:
    """How one sample scores by the signal's value; None where the policy has a single bucket.

    Raises:
        UnsupportedError: the policy or the study's samples of its variants are missing.
    """
    policy = tier.policy_file.policy
    if not policy.difficulty.thresholds:
        return None
    study, variant = tier.study_table, policy.buckets[-1].variants[0]
    for used in policy.variants:
        study.of(used)
    evaluator = Evaluator(study, Permutations(_PERMUTATIONS, seed), exact=False)
    values = evaluator.signal(policy.difficulty).reshape(-1, _PERMUTATIONS).mean(axis=1)
    score = one_sample(variant, study.of(variant)).score
    good = np.isfinite(values) & ~np.isnan(score)
    values, score = values[good], score[good]
    return SignalCalibration(
        tier, variant.label, signal_bins(values, score), spearman(values, score)
    )


def signal_bins(values: Floats, score: Floats) -> tuple[SignalBin, ...]:
    """Up to eight bins of about as many items each; equal values stay together.

    A bin of one item is left out.
    """
    if not len(values):
        return ()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _MOST_BINS + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    groups = [(values[place == b], score[place == b]) for b in np.unique(place)]
    return tuple(
        SignalBin(float(v.min()), float(v.max()), len(v), bootstrap_mean(s, bounds=(0.0, 1.0)))
        for v, s in groups
        if len(v) >= 2
    )
