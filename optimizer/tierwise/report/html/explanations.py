"""Sections on why: ablation, trials, samples, rounds, prompts, difficulty signals, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tierwise.analysis.policies import SignalCalibration, VoteCurve, signal_calibration, vote_curves
from tierwise.analysis.prompts import PromptRow, prompt_rows
from tierwise.analysis.search_rounds import SearchRow, search_rows
from tierwise.analysis.tier_files import TierFiles
from tierwise.report import text as n
from tierwise.report.charts import (
    Bar,
    BarChart,
    IntervalChart,
    IntervalRow,
    Mark,
    Rule,
    Series,
    XYChart,
)
from tierwise.report.html.results import Built, Figure, each_tier, held_out_in_words, sorted_by
from tierwise.runs.artifacts import RunFiles
from tierwise.schema.measured import AblationStep, Measured
from tierwise.schema.result import TierSummary
from tierwise.stats.intervals import Interval

_MOST_TRIALS = 600
"""Dots in a chart; of more trials every k-th is drawn, and all are in trials.csv."""
_MOST_ROWS = 40
"""Rows of the heat map; the table behind it has all."""
_MOST_PARAMETERS = 10
_ASIDE = 4.0
"""Pixels between the intervals of two curves at one place."""
_LINES = ("solid", "dash1", "dash2")
_STEPS = {
    "baseline_prompt_one_sample": "baseline prompt, one sample",
    "best_prompt_one_sample": "best prompt, one sample",
    "baseline_prompt_best_strategy": "baseline prompt, best strategy",
    "disjoint": "best prompt, then best strategy",
    "joint_fixed_n": "prompt and fixed n together",
    "joint_adaptive_stop": "+ adaptive stopping",
    "full_policy": "+ buckets: the full policy",
}
_STEP_SHAPES = {"baseline_prompt_one_sample": "ring", "full_policy": "star"}


class NamedStep(NamedTuple):
    """An ablation step, named in words."""

    name: str
    measured: AblationStep


def ablation_section(run: RunFiles) -> Built:
    """What each component adds on validation items."""
    return Built({"tiers": tuple(_ablation(tier) for tier in run.tiers.values())})


def _ablation(tier: TierFiles) -> Figure:
    steps = tier.summary.ablation
    rows = [
        IntervalRow(
            _STEPS.get(name, name),
            step.score,
            step.score_ci95,
            n.usd_per(step.usd_per_item),
            held_out_in_words(step),
            _STEP_SHAPES.get(name, "circle"),
        )
        for name, step in steps.items()
    ]
    bound = tier.summary.oracle_bound
    if bound.score is not None:
        note = f"oracle bound: {n.score(bound.score)} {n.bounds(bound.score_ci95)}"
        rows.append(IntervalRow("oracle bound", bound.score, bound.score_ci95, "", note, "ring"))
    chart = IntervalChart(
        f"{tier.name}: ablation",
        "; ".join(f"{row.name} {n.score(row.value)}" for row in rows),
        tier.tone,
        tuple(rows),
        "score on validation items; right: $ / 1,000",
    )
    named = tuple(NamedStep(_STEPS.get(name, name), step) for name, step in steps.items())
    return Figure(tier.name, chart, named)


def trials_section(run: RunFiles) -> Built:
    """Score and cost of everything that the last study evaluated, and the policies on its front."""
    notes = tuple(
        f"The trials of {name} are not shown: trials.csv is missing or damaged."
        for name, tier in run.tiers.items()
        if not tier.trials
    )
    return Built({"tiers": tuple(_trials(tier) for tier in run.tiers.values())}, notes)


def _trials(tier: TierFiles) -> Figure:
    s, tone = tier.summary, tier.tone

    def held_out(name: str, got: Measured, shape: str, size: float) -> Mark:
        note = f"{name}: {held_out_in_words(got)}"
        return Mark(n.PER * got.usd_per_item, got.score, note, shape, size)

    dots = [
        Mark(n.PER * t.usd_per_item, t.score, f"trial {t.trial}: {t.policy}", "speck", 2.2)
        for t in tier.trials[:: 1 + len(tier.trials) // _MOST_TRIALS]
    ]
    front = [Mark(n.PER * f.usd_per_item, f.score, shape="") for f in s.front]
    marks = [held_out(_STEPS.get(k, k), v, "circle", 4.0) for k, v in s.ablation.items()]
    marks += [held_out(k, v, "diamond", 5.5) for k, v in s.operating_points.items()]
    marks.append(held_out("exported policy", s.exported, "star", 7.0))
    bound = s.oracle_bound.score
    rules = () if bound is None else (Rule(bound, f"oracle bound: {n.score(bound)}", "oracle"),)
    chart = XYChart(
        f"{tier.name}: score and cost of {len(tier.trials)} policies",
        f"{len(s.front)} policies are on the front; the oracle bound is {n.score(bound)}.",
        (
            Series("", tone, tuple(dots)),
            Series("Pareto front of the study", tone, tuple(front), "solid"),
            Series("", tone, tuple(marks)),
        ),
        "dollars for 1,000 requests (logarithmic)",
        log_x=True,
        rules=rules,
    )
    return Figure(tier.name, chart, s.front)


def samples_section(run: RunFiles) -> Built:
    """Where further samples stop helping: majority votes, bucket by bucket."""

    def figure(tier: TierFiles) -> Figure | None:
        curves = vote_curves(tier, run.seed)
        return _votes_figure(tier, curves) if curves else None

    tiers, notes = each_tier(run, figure)
    return Built({"tiers": tiers} if tiers else None, notes)


def _votes_figure(tier: TierFiles, curves: Sequence[VoteCurve]) -> Figure:
    names = [bucket.name for bucket in tier.policy_file.policy.buckets]
    series, about = [], []
    for i, (bucket, variants, votes) in enumerate(curves):
        name = names[bucket]
        marks = [
            _estimate_mark(count, score, f"{name}, {count} samples of {variants}")
            for count, score in votes
        ]
        aside = _ASIDE * (i - (len(curves) - 1) / 2)
        series.append(Series(name, tier.tone, tuple(marks), _LINES[i % 3], aside))
        (_, one), (most, last) = votes[0], votes[-1]
        about.append(f"{name}: {n.score(one.mean)} at 1 sample, {n.score(last.mean)} at {most}")
    chart = XYChart(
        f"{tier.name}: score of a vote by its samples",
        "; ".join(about),
        tuple(series),
        "samples that vote (logarithmic)",
        log_x=True,
        end_labels=len(curves) > 1,
    )
    rows = tuple((names[bucket], *vote) for bucket, _, votes in curves for vote in votes)
    return Figure(tier.name, chart, rows)


def _estimate_mark(x: float, score: Interval, what: str, size: float = 3.2) -> Mark:
    ends = (score.low, score.high)
    note = f"{what}: {n.score(score.mean)} {n.bounds(ends)}"
    return Mark(x, score.mean, note, size=size, interval=ends)


def retrieval_section(run: RunFiles) -> Built:
    """The leading variant's score by rounds, by question length; nothing where no tier searches."""

    def figure(tier: TierFiles) -> Figure | None:
        rows = tuple(r for r in search_rows(tier.name, tier.study_table) if r.leads)
        return Figure(tier.name, _retrieval_chart(tier, rows), rows) if rows else None

    tiers, _ = each_tier(run, figure)  # that a table is missing is said at other sections
    return Built({"tiers": tiers} if tiers else None)


def _retrieval_chart(tier: TierFiles, rows: Sequence[SearchRow]) -> XYChart:
    single = [row for row in rows if row.chains == 1]
    flat = {row.items: row.plateau for row in single}
    series = []
    for i, name in enumerate(flat):
        mine = [row for row in single if row.items == name]
        rising = tuple(Mark(row.rounds, row.rising, shape="") for row in mine)
        series.append(Series(f"{name}, flat from {flat[name]}", tier.tone, rising, _LINES[i % 3]))
        marks = tuple(
            _estimate_mark(row.rounds, row.score, f"{name}, {row.rounds} rounds") for row in mine
        )
        series.append(Series("", tier.tone, marks, dx=_ASIDE * (i - (len(flat) - 1) / 2)))
    return XYChart(
        f"{tier.name}: score by retrieval rounds",
        "; ".join(f"{name}: flat from {rounds} rounds" for name, rounds in flat.items()),
        tuple(series),
        "retrieval rounds",
        end_labels=True,
    )


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
    return Built(
        {
            "tiers": tiers,
            "rows": table,
            "left_out": left_out,
            "low": min(scores),
            "high": max(scores),
        },
        notes,
    )


def _label(row: PromptRow) -> str:
    return f"{row.prompt}/{row.mode}/{row.temperature:g}"


def summary_section(part: Callable[[TierSummary], Any]) -> Callable[[RunFiles], Built]:
    """A section of the tiers whose summary has that part; nothing where none has."""

    def build(run: RunFiles) -> Built:
        found = ((name, part(tier.summary)) for name, tier in run.tiers.items())
        shown = tuple((name, rows) for name, rows in found if rows)
        return Built({"tiers": shown} if shown else None)

    return build


def signals_section(run: RunFiles) -> Built:
    """How well signals separate easy from hard requests."""
    found, notes = each_tier(run, lambda tier: signal_calibration(tier, run.seed))
    policies = {name: tier.policy for name, tier in run.tiers.items() if tier.policy is not None}
    unsorted = tuple(name for name, p in policies.items() if not p.policy.difficulty.thresholds)
    few = tuple(
        f"Too few samples of an item to tell what a signal is worth on {name}."
        for name, tier in run.tiers.items()
        if tier.summary.signals is None
    )
    tiers = tuple((name, tier.summary) for name, tier in run.tiers.items())
    calibrated = tuple(_calibration(one) for one in found)
    return Built({"calibrated": calibrated, "unsorted": unsorted, "tiers": tiers}, notes + few)


def _calibration(found: SignalCalibration) -> tuple[Figure, str]:
    """The figure of a policy's own signal, and a sentence about it."""
    tier, difficulty = found.tier, found.tier.policy_file.policy.difficulty
    marks = [
        _estimate_mark(
            (b.low + b.high) / 2, b.score, f"{b.low:.3g} to {b.high:.3g}, {b.items} items", 4.0
        )
        for b in found.bins
    ]
    cuts = [Rule(cut, f"threshold {cut:.3g}", upright=True) for cut in difficulty.thresholds]
    chart = XYChart(
        f"{tier.name}: score of one sample by {difficulty.signal}",
        "; ".join(f"{b.low:.3g} to {b.high:.3g}: {n.score(b.score.mean)}" for b in found.bins),
        (Series(difficulty.signal, tier.tone, tuple(marks), "solid"),),
        f"{difficulty.signal} (higher is easier)",
        "score of one sample",
        rules=tuple(cuts),
    )
    rank = f"{found.spearman:+.2f}" if n.known(found.spearman) else n.NOTHING
    said = (
        f"{sorted_by(tier.policy_file)}. Spearman's correlation with the score of one sample of "
        f"{found.variant}: {rank}."
    )
    return Figure(tier.name, chart, found.bins), said


def parameters_section(run: RunFiles) -> Built:
    """Which search parameters moved score and cost, by PED-ANOVA over the last study's trials."""
    from tierwise.search.study import importances

    journal = run.run.journal
    if not journal.is_file():
        return Built(None, (f"Not shown: {journal.name} is missing.",))
    studies = {name: tier.summary.studies[-1] for name, tier in run.tiers.items()}
    found = importances(journal.read_bytes(), list(studies.values()), journal)
    tiers = tuple(
        tuple(_importances(run.tiers[name], *entry) for entry in found[study].items())
        for name, study in studies.items()
        if study in found
    )
    few = f"Not shown: {journal.name} holds too few trials of the last studies."
    return Built({"tiers": tiers}) if tiers else Built(None, (few,))


def _importances(tier: TierFiles, objective: str, shares: Mapping[str, float]) -> Figure:
    ranked = tuple((name, share) for name, share in shares.items() if n.known(share))
    top = ranked[:_MOST_PARAMETERS]
    title = f"{tier.name}: {'cost' if objective == 'usd' else objective}"
    chart = BarChart(
        f"Importances for {title}",
        ", ".join(f"{name} {n.share(share)}" for name, share in top[:3]),
        tuple(Bar(name, tier.tone, share, n.share(share)) for name, share in top),
    )
    return Figure(title, chart, ranked)
