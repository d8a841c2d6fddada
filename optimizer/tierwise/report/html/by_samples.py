"""Accuracy by samples: what one more vote buys in each bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.report import numbers as n
from tierwise.report.html.labels import spread
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import RIGHT, Chart, padded
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.report.words import bucket_names
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.schema.policy_file import PolicyFile
from tierwise.stats import bootstrap_mean

PERMUTATIONS = 16
APART = 4.0
"""Between the intervals of two curves at one place."""
COUNTS = (1, 2, 3, 4, 5, 7, 9, 12, 17, 24, 32, 40)
Floats = npt.NDArray[np.float64]


class Step(NamedTuple):
    """A plain vote of ``samples`` samples in a bucket."""

    samples: int
    score: float
    low: float
    high: float


def by_samples(run: RunFiles) -> Markup:
    """A chart a tier, a curve a bucket."""
    figures = []
    for tier in run.tiers.values():
        if tier.policy is None or tier.study is None:
            continue
        figures.append(_figure(tier, tier.policy, curves(tier.policy, tier.study, run.seed)))
    if not figures:
        return el("p", "No stored samples of a study were found.")
    return joined(
        [
            el(
                "p",
                "A plain plurality vote of each bucket's own samples, for understanding: it says "
                "where further samples stop helping. It is made from the study's samples, on which the "
                "policy was chosen, so it is not evidence of how good the policy is.",
            ),
            tiers_in_a_row(figures),
        ]
    )


def curves(policy: PolicyFile, study: SampleTable, seed: int) -> list[list[Step]]:
    """For each bucket the score of votes of more and more samples; empty where there are none."""
    found = policy.policy
    needed = {*found.variants}
    if not needed <= set(study.variants):
        return [[] for _ in found.buckets]
    evaluator = Evaluator(study, Permutations(PERMUTATIONS, seed), exact=False)
    bucket = evaluator.bucket_rows(found.difficulty)
    return [
        _curve(
            evaluator,
            recipe,
            bucket == b,
            min(study.variants[a].n_samples for a in recipe.variants),
        )
        for b, recipe in enumerate(found.buckets)
    ]


def _curve(
    evaluator: Evaluator, recipe: Recipe, mine: npt.NDArray[np.bool_], n_samples: int
) -> list[Step]:
    steps = []
    weight = mine.reshape(-1, evaluator.permutations.n).sum(axis=1)
    here = weight > 0
    if here.sum() < 2:
        return []
    for samples in [c for c in COUNTS if c <= n_samples]:
        vote = StrategySpec.of("self_consistency", samples=samples)
        rows = evaluator.rows(Policy((Recipe(recipe.variants[:samples], vote),))).score
        sums = np.where(mine, rows, 0.0).reshape(-1, evaluator.permutations.n).sum(axis=1)
        got = bootstrap_mean(sums[here] / weight[here], resamples=1000, bounds=(0.0, 1.0))
        if n.known(got.mean):
            steps.append(Step(samples, got.mean, got.low, got.high))
    return steps


def _figure(tier: TierFiles, policy: PolicyFile, found: Sequence[Sequence[Step]]) -> Markup:
    names = bucket_names(len(found))
    rows = [
        (name, step.samples, n.score(step.score), n.bounds((step.low, step.high)))
        for name, curve in zip(names, found, strict=True)
        for step in curve
    ]
    if not rows:
        return figure(
            tier.name,
            el("p", "The study has no samples of this policy's variants."),
            table(("bucket",), [(name,) for name in names]),
        )
    return figure(
        tier.name,
        _chart(tier, policy, names, found),
        table(("bucket", "samples", "score", "95% interval"), rows),
    )


def _chart(
    tier: TierFiles, policy: PolicyFile, names: Sequence[str], found: Sequence[Sequence[Step]]
) -> Markup:
    steps = [step for curve in found for step in curve]
    chart = Chart(
        f"{tier.name}: score of a vote by its samples",
        "; ".join(
            f"{name}: {n.score(c[0].score)} at 1 sample, {n.score(c[-1].score)} at {c[-1].samples}"
            for name, c in zip(names, found, strict=True)
            if c
        ),
        (0.9, max(s.samples for s in steps) * 1.08),
        padded([v for s in steps for v in (s.low, s.high)]),
        "samples that vote",
        "score",
        log_x=True,
        right=62.0 if len(names) > 1 else RIGHT,
    )
    for i, (name, curve) in enumerate(zip(names, found, strict=True)):
        if not curve:
            continue
        variants = " + ".join(variant.label for variant in policy.policy.buckets[i].variants)
        tone = f"{tier.tone} dash{i}"
        chart.line([(s.samples, s.score) for s in curve], tone, f"{name}: {variants}")
        for s in curve:
            said = f"{name}, {s.samples} samples of {variants}: {n.score(s.score)} {n.bounds((s.low, s.high))}"
            aside = APART * (i - (len(names) - 1) / 2)
            chart.whisker(s.samples, (s.low, s.high), f"{tier.tone} faint", aside)
            chart.dot(s.samples, s.score, tier.tone, said, size=3.2)
    if len(names) > 1:
        ends = [(c[-1], name) for c, name in zip(found, names, strict=True) if c]
        at = [chart.at_y(step.score) for step, _ in ends]
        apart = spread(at, chart.at_y.end, chart.at_y.start - 6)
        for (step, name), own, moved in zip(ends, at, apart, strict=True):
            chart.text(step.samples, step.score, name, dx=8, dy=4 + moved - own)
    return chart.svg()
