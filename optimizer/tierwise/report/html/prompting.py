"""Sections on prompts and difficulty: by tier, techniques, escalation, ranks, signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tierwise.analysis.prompts import PromptRow, one_sample, prompt_rows
from tierwise.analysis.tier_files import TierFiles
from tierwise.evaluation import Evaluator, Permutations
from tierwise.report import text as n
from tierwise.report.charts import Mark, Rule, Series, XYChart
from tierwise.report.html.base import Built, ByTier, Figure, each_tier, sorted_by
from tierwise.runs.artifacts import RunFiles
from tierwise.schema.policy import Difficulty
from tierwise.schema.result import TierSummary
from tierwise.stats import bootstrap_mean, spearman
from tierwise.stats.intervals import Interval

_PERMUTATIONS = 16
"""Orders of the samples, over which a signal is averaged."""
_MOST_ROWS = 40
"""Rows of the heat map; the table behind it has all."""
_MOST_BINS = 8


@dataclass(frozen=True)
class Prompts:
    """The heat map: tiers with their rows, and a row a variant of its cells by tier.

    Scores of the map lie between ``low`` and ``high``.
    """

    tiers: tuple[tuple[TierFiles, tuple[PromptRow, ...]], ...]
    rows: tuple[tuple[str, tuple[PromptRow | None, ...]], ...]
    left_out: int
    low: float
    high: float


@dataclass(frozen=True)
class SignalBin:
    """Held-out items with about the same signal: the score of one sample."""

    low: float
    high: float
    items: int
    score: Interval


@dataclass(frozen=True)
class Signals:
    """``calibrated``: the policies' own signals, each with a sentence; ``unsorted``: tiers whose
    policy has one recipe for all requests; ``tiers``: what every signal of the space is worth.
    """

    calibrated: tuple[tuple[Figure, str], ...]
    unsorted: tuple[str, ...]
    tiers: tuple[tuple[str, TierSummary], ...]


def prompts_section(run: RunFiles) -> Built:
    """Every prompt on every tier at one sample."""
    tiers, notes = each_tier(run, lambda tier: (tier, tuple(prompt_rows(tier))))
    scores = [row.score.mean for _, rows in tiers for row in rows]
    if not scores:
        return Built(None, notes)
    cells: dict[str, dict[str, PromptRow]] = {}
    for tier, rows in tiers:
        for row in rows:
            cells.setdefault(_label(row), {})[tier.name] = row

    def order(variant: str) -> tuple[float, str]:
        return -float(np.mean([cell.score.mean for cell in cells[variant].values()])), variant

    ranked = sorted(cells, key=order)
    table = tuple(
        (variant, tuple(cells[variant].get(tier.name) for tier, _ in tiers))
        for variant in ranked[:_MOST_ROWS]
    )
    left_out = max(0, len(ranked) - _MOST_ROWS)
    return Built(Prompts(tiers, table, left_out, min(scores), max(scores)), notes)


def _label(row: PromptRow) -> str:
    return f"{row.prompt}/{row.mode}/{row.temperature:g}"


def techniques_section(run: RunFiles) -> Built:
    """Every prompt and mode against the baseline prompt, the largest gain first."""
    found = tuple((name, tier.summary.techniques) for name, tier in run.tiers.items())
    return Built(ByTier(found) if any(rows for _, rows in found) else None)


def escalation_section(run: RunFiles) -> Built:
    """Never, always, and where it pays, of each tier that may escalate; nothing without one."""
    found = tuple((name, tier.summary.escalation) for name, tier in run.tiers.items())
    return Built(ByTier(found) if any(rows for _, rows in found) else None)


def ranks_section(run: RunFiles) -> Built:
    """Each variant's rank at one sample beside its rank in the strategy; rounds of proposals."""
    found = tuple((name, tier.summary) for name, tier in run.tiers.items() if tier.summary.ranks)
    return Built(ByTier(found) if found else None)


def signals_section(run: RunFiles) -> Built:
    """How well signals separate easy from hard requests."""
    calibrated, notes = each_tier(run, lambda tier: _calibration(tier, run.seed))
    policies = {name: tier.policy for name, tier in run.tiers.items() if tier.policy is not None}
    unsorted = tuple(name for name, p in policies.items() if not p.policy.difficulty.thresholds)
    few = tuple(
        f"Too few samples of an item to tell what a signal is worth on {name}."
        for name, tier in run.tiers.items()
        if tier.summary.signals is None
    )
    tiers = tuple((name, tier.summary) for name, tier in run.tiers.items())
    return Built(Signals(calibrated, unsorted, tiers), notes + few)


def _calibration(tier: TierFiles, seed: int) -> tuple[Figure, str] | None:
    """The policy's own signal on held-out items: the score of one sample by its value."""
    file = tier.policy_file
    difficulty, variant = file.policy.difficulty, file.policy.buckets[-1].variants[0]
    if not difficulty.thresholds:
        return None
    test = tier.test_table
    for used in file.policy.variants:
        test.of(used)  # raises where the table is of another policy
    evaluator = Evaluator(test, Permutations(_PERMUTATIONS, seed), exact=False)
    values = evaluator.signal(difficulty).reshape(-1, _PERMUTATIONS).mean(axis=1)
    score = one_sample(variant, test.variants[variant]).score
    good = np.isfinite(values) & ~np.isnan(score)
    bins = signal_bins(values[good], score[good])
    rank = spearman(values[good], score[good])
    said = f"{rank:+.2f}" if n.known(rank) else n.NOTHING
    return (
        Figure(tier.name, _calibration_chart(tier, difficulty, bins), bins),
        f"{sorted_by(file)}. Spearman's correlation with the score of one sample of "
        f"{variant.label}: {said}.",
    )


def signal_bins(
    values: npt.NDArray[np.float64], score: npt.NDArray[np.float64]
) -> tuple[SignalBin, ...]:
    """Up to ``_MOST_BINS`` bins of about as many items each; equal values stay together."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _MOST_BINS + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    groups = [(values[place == b], score[place == b]) for b in np.unique(place)]
    return tuple(
        SignalBin(float(v.min()), float(v.max()), len(v), bootstrap_mean(s, bounds=(0.0, 1.0)))
        for v, s in groups
        if len(v) >= 2
    )


def _calibration_chart(
    tier: TierFiles, difficulty: Difficulty, bins: Sequence[SignalBin]
) -> XYChart:
    marks = []
    for b in bins:
        ends = (b.score.low, b.score.high)
        said = f"{b.low:.3g} to {b.high:.3g}, {b.items} items: {n.score(b.score.mean)}"
        note = f"{said} {n.bounds(ends)}"
        marks.append(Mark((b.low + b.high) / 2, b.score.mean, note, size=4.0, interval=ends))
    cuts = [Rule(cut, f"threshold {cut:.3g}", upright=True) for cut in difficulty.thresholds]
    return XYChart(
        f"{tier.name}: score of one sample by {difficulty.signal}",
        "; ".join(f"{b.low:.3g} to {b.high:.3g}: {n.score(b.score.mean)}" for b in bins),
        (Series(difficulty.signal, tier.tone, tuple(marks), "solid"),),
        f"{difficulty.signal} (higher is easier)",
        "score of one sample",
        rules=tuple(cuts),
    )
