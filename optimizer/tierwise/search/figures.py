"""Evaluations and comparisons as plain data, for policy files and summaries."""

from __future__ import annotations

import math
from typing import Any

from tierwise.evaluation import Evaluation
from tierwise.search.gate import Comparison
from tierwise.stats.intervals import Interval, bootstrap_mean


def measured(got: Evaluation) -> dict[str, Any]:
    """What a policy did on the test split, with intervals."""
    return {
        "items": len(got.score),
        "score": got.mean_score,
        "score_ci95": bounds(bootstrap_mean(got.score, bounds=(0.0, 1.0))),
        "usd_per_item": got.mean_usd,
        "usd_per_item_ci95": bounds(bootstrap_mean(got.usd)),
        "samples_per_item": float(got.samples.mean()),
        "rounds_per_item": float(got.rounds.mean()),
    }


def compared(comparison: Comparison) -> dict[str, Any]:
    """A paired comparison, as data."""
    return {
        "score_difference": comparison.difference.mean,
        "score_difference_ci95": bounds(comparison.difference),
        "cost_ratio": comparison.cost_ratio.mean,
        "cost_ratio_ci95": bounds(comparison.cost_ratio),
        "p": comparison.p,
    }


def bounds(interval: Interval) -> list[float | None]:
    """Both ends of an interval."""
    return [number(interval.low), number(interval.high)]


def number(value: float) -> float | None:
    """None for what the samples do not support: JSON has no NaN."""
    return value if math.isfinite(value) else None
