"""How well the difficulty signal tells hard from easy, on held-out items."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tierwise.evaluation import Evaluator, Permutations
from tierwise.evaluation.table import SampleTable
from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import Chart, padded
from tierwise.report.html.verdict import told_apart
from tierwise.report.prompts import one_sample
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.policy_file import PolicyFile
from tierwise.stats import Interval, bootstrap_mean, spearman

PERMUTATIONS = 16
MOST_BINS = 8


class Bin(NamedTuple):
    """Items with about the same signal: the score of one sample."""

    low: float
    high: float
    items: int
    score: Interval


def calibration(run: RunFiles) -> Markup:
    """A chart a tier whose policy has buckets."""
    figures: list[Markup] = []
    plain: list[str] = []
    for tier in run.tiers.values():
        if tier.policy is None or tier.test is None:
            continue
        if not tier.policy.policy.difficulty.thresholds:
            plain.append(tier.name)
            continue
        figures.append(_figure(tier, tier.policy, tier.test, run.seed))
    alone = f"One recipe for all requests, so no signal: {', '.join(plain)}." if plain else ""
    if not figures:
        return el("p", alone or "No held-out samples were found.")
    return joined(
        [
            el(
                "p",
                "The score of one sample by the signal's value, on held-out items. A signal that "
                "tells hard from easy rises to the right; upright lines are the policy's thresholds.",
            ),
            tiers_in_a_row(figures),
            el("p", alone) if alone else None,
        ]
    )


def _figure(tier: TierFiles, policy: PolicyFile, test: SampleTable, seed: int) -> Markup:
    difficulty = policy.policy.difficulty
    variant = policy.policy.buckets[-1].variants[0]
    if any(a not in test.everything for a in policy.policy.variants):
        return figure(
            tier.name,
            el("p", "The held-out samples lack a variant of this policy."),
            table(("signal",), [(difficulty.signal,)]),
        )
    evaluator = Evaluator(test, Permutations(PERMUTATIONS, seed), exact=False)
    values = evaluator.signal(difficulty).reshape(-1, PERMUTATIONS).mean(axis=1)
    score = one_sample(variant, test.variants[variant]).score
    good = np.isfinite(values) & ~np.isnan(score)
    values, score = values[good], score[good]
    found = bins(values, score)
    rank = spearman(values, score)
    rows: list[tuple[Child, ...]] = [
        (
            f"{b.low:.3g} … {b.high:.3g}",
            b.items,
            n.score(b.score.mean),
            n.bounds((b.score.low, b.score.high)),
        )
        for b in found
    ]
    said = "–" if np.isnan(rank) else f"{rank:+.2f}"
    note = el(
        "p",
        f"{told_apart(policy)}. Rank correlation with the score of one sample of "
        f"{variant.label}: {said}.",
        class_="dim",
    )
    return figure(
        tier.name,
        _chart(tier, policy, found),
        table(("signal", "items", "score", "95% interval"), rows),
        note,
    )


def bins(values: np.ndarray, score: np.ndarray) -> list[Bin]:
    """Up to ``MOST_BINS`` bins of about as many items each; equal values stay together."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, MOST_BINS + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for b in np.unique(place):
        inside = place == b
        if inside.sum() < 2:
            continue
        low, high = float(values[inside].min()), float(values[inside].max())
        found.append(
            Bin(low, high, int(inside.sum()), bootstrap_mean(score[inside], bounds=(0.0, 1.0)))
        )
    return found


def _chart(tier: TierFiles, policy: PolicyFile, found: list[Bin]) -> Markup:
    cuts = policy.policy.difficulty.thresholds
    signal = policy.policy.difficulty.signal
    centres = [(b.low + b.high) / 2 for b in found]
    chart = Chart(
        f"{tier.name}: score of one sample by {signal}",
        "; ".join(f"{b.low:.3g} to {b.high:.3g}: {n.score(b.score.mean)}" for b in found),
        padded([*centres, *cuts]),
        padded([v for b in found for v in (b.score.low, b.score.high)]),
        f"{signal} (higher is easier)",
        "score of one sample",
    )
    for cut in cuts:
        chart.rule(x=cut, title=f"threshold {cut:.3g}")
    chart.line([(x, b.score.mean) for x, b in zip(centres, found, strict=True)], tier.tone, signal)
    for x, b in zip(centres, found, strict=True):
        chart.whisker(x, (b.score.low, b.score.high), tier.tone)
        chart.dot(
            x,
            b.score.mean,
            tier.tone,
            f"{b.low:.3g} to {b.high:.3g}, {b.items} items: {n.score(b.score.mean)} "
            f"{n.bounds((b.score.low, b.score.high))}",
            size=4.0,
        )
    return chart.svg()
