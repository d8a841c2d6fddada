"""Sections on why: ablation, trials, score by samples and by retrieval rounds, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.analysis.search_rounds import SearchRow, search_rows
from tierwise.analysis.tier_files import TierFiles
from tierwise.evaluation import Evaluator, Permutations
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
from tierwise.report.html.base import Built, ByTier, Figure, each_tier
from tierwise.report.html.results import held_out_in_words
from tierwise.report.text import bucket_names
from tierwise.runs.artifacts import RunFiles
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.schema.result import AblationStep, HeldOut
from tierwise.stats import bootstrap_mean
from tierwise.stats.intervals import Interval

_PERMUTATIONS = 16
"""Orders of the samples, over which votes are averaged."""
_COUNTS = (1, 2, 3, 4, 5, 7, 9, 12, 17, 24, 32, 40)
"""Samples of the votes in "Score by number of samples"."""
_MOST_TRIALS = 600
"""Dots in a chart; of more trials every k-th is drawn, and all are in trials.csv."""
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


class VoteCurve(NamedTuple):
    """Votes of more and more samples of a bucket's variants, on the requests of that bucket."""

    bucket: str
    variants: str
    votes: tuple[tuple[int, Interval], ...]


def ablation_section(run: RunFiles) -> Built:
    """What each component adds on held-out items."""
    return Built(ByTier(tuple(_ablation(tier) for tier in run.tiers.values())))


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
        "score on held-out items; right: $ / 1,000",
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
    return Built(ByTier(tuple(_trials(tier) for tier in run.tiers.values())), notes)


def _trials(tier: TierFiles) -> Figure:
    s, tone = tier.summary, tier.tone

    def held_out(name: str, got: HeldOut, shape: str, size: float) -> Mark:
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
        curves = _curves(tier, run.seed)
        return Figure(tier.name, _curves_chart(tier, curves), curves) if curves else None

    tiers, notes = each_tier(run, figure)
    return Built(ByTier(tiers) if tiers else None, notes)


def _curves(tier: TierFiles, seed: int) -> tuple[VoteCurve, ...]:
    policy = tier.policy_file.policy
    study = tier.study_table
    if not set(policy.variants) <= set(study.variants):
        return ()  # a baseline that was dropped before the study
    evaluator = Evaluator(study, Permutations(_PERMUTATIONS, seed), exact=False)
    bucket = evaluator.bucket_rows(policy.difficulty)
    curves = []
    for i, name in enumerate(bucket_names(len(policy.buckets))):
        recipe = policy.buckets[i]
        most = min(study.variants[variant].n_samples for variant in recipe.variants)
        votes = _votes(evaluator, recipe, bucket == i, most)
        if votes:
            curves.append(VoteCurve(name, " + ".join(v.label for v in recipe.variants), votes))
    return tuple(curves)


def _votes(
    evaluator: Evaluator, recipe: Recipe, mine: npt.NDArray[np.bool_], most: int
) -> tuple[tuple[int, Interval], ...]:
    """Samples and score of each vote; ``mine``: (item, permutation) rows that fall in the bucket."""
    each = evaluator.permutations.n
    weight = mine.reshape(-1, each).sum(axis=1)
    here = weight > 0
    votes = []
    for count in [c for c in _COUNTS if c <= most] if here.sum() >= 2 else []:
        vote = StrategySpec.of("self_consistency", samples=count)
        rows = evaluator.rows(Policy((Recipe(recipe.variants[:count], vote),))).score
        sums = np.where(mine, rows, 0.0).reshape(-1, each).sum(axis=1)
        score = bootstrap_mean(sums[here] / weight[here], resamples=1000, bounds=(0.0, 1.0))
        if n.known(score.mean):
            votes.append((count, score))
    return tuple(votes)


def _curves_chart(tier: TierFiles, curves: Sequence[VoteCurve]) -> XYChart:
    def mark(curve: VoteCurve, count: int, score: Interval) -> Mark:
        ends = (score.low, score.high)
        said = f"{curve.bucket}, {count} samples of {curve.variants}: {n.score(score.mean)}"
        return Mark(count, score.mean, f"{said} {n.bounds(ends)}", size=3.2, interval=ends)

    series = [
        Series(
            curve.bucket,
            tier.tone,
            tuple(mark(curve, *vote) for vote in curve.votes),
            _LINES[i % 3],
            _ASIDE * (i - (len(curves) - 1) / 2),
        )
        for i, curve in enumerate(curves)
    ]
    return XYChart(
        f"{tier.name}: score of a vote by its samples",
        "; ".join(
            f"{c.bucket}: {n.score(c.votes[0][1].mean)} at 1 sample, "
            f"{n.score(c.votes[-1][1].mean)} at {c.votes[-1][0]}"
            for c in curves
        ),
        tuple(series),
        "samples that vote (logarithmic)",
        log_x=True,
        end_labels=len(curves) > 1,
    )


def retrieval_section(run: RunFiles) -> Built:
    """The leading variant's score by rounds, by question length; nothing where no tier searches."""

    def figure(tier: TierFiles) -> Figure | None:
        rows = tuple(r for r in search_rows(tier.name, tier.study_table) if r.leads)
        return Figure(tier.name, _retrieval_chart(tier, rows), rows) if rows else None

    tiers, _ = each_tier(run, figure)  # that a table is missing is said at other sections
    return Built(ByTier(tiers) if tiers else None)


def _retrieval_chart(tier: TierFiles, rows: Sequence[SearchRow]) -> XYChart:
    single = [row for row in rows if row.chains == 1]
    flat = {row.items: row.plateau for row in single}
    series = []
    for i, name in enumerate(flat):
        mine = [row for row in single if row.items == name]
        rising = tuple(Mark(row.rounds, row.rising, shape="") for row in mine)
        series.append(Series(f"{name}, flat from {flat[name]}", tier.tone, rising, _LINES[i % 3]))
        marks = tuple(
            Mark(
                row.rounds,
                row.score.mean,
                f"{name}, {row.rounds} rounds: {n.score(row.score.mean)}",
                size=3.2,
                interval=(row.score.low, row.score.high),
            )
            for row in mine
        )
        series.append(Series("", tier.tone, marks, dx=_ASIDE * (i - (len(flat) - 1) / 2)))
    return XYChart(
        f"{tier.name}: score by retrieval rounds",
        "; ".join(f"{name}: flat from {rounds} rounds" for name, rounds in flat.items()),
        tuple(series),
        "retrieval rounds",
        end_labels=True,
    )


def parameters_section(run: RunFiles) -> Built:
    """Which search parameters moved score and cost, by PED-ANOVA over the last study's trials."""
    from tierwise.search.importances import importances

    if not run.run.journal.is_file():
        return Built(None, (f"Not shown: {run.run.journal.name} is missing.",))
    studies = {name: tier.summary.studies[-1] for name, tier in run.tiers.items()}
    found = importances(run.run.journal, list(studies.values()))
    tiers = tuple(
        tuple(_importances(run.tiers[name], *entry) for entry in found[study].items())
        for name, study in studies.items()
        if study in found
    )
    few = f"Not shown: {run.run.journal.name} holds too few trials of the last studies."
    return Built(ByTier(tiers)) if tiers else Built(None, (few,))


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
