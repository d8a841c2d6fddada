"""The first chart: dollars against score, from today's prompt to each tier's policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tierwise.report import numbers as n
from tierwise.report.html.labels import Box, place
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import both, figure, table
from tierwise.report.html.svg import Chart, key, legend, padded
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.result import HeldOut
from tierwise.search.tested import Tested
from tierwise.stats import paired_difference

RESAMPLES = 2000
CLOSE = 10.0
"""Pixels between two marks that can be told apart."""
SHAPES = {"today": "ring", "policy": "star", "single": "diamond", "not worth it": "cross"}
NAMES = {
    "today": "today's prompt, one sample",
    "policy": "the exported policy",
    "single": "the best single call",
    "not worth it": "dearer, and not shown to be better",
}


class Spot(NamedTuple):
    """Something that was tested on a tier."""

    tier: str
    tone: str
    kind: str
    policy: str
    score: float
    score_ci95: Sequence[float | None]
    usd: float

    @property
    def title(self) -> str:
        """What a hover says."""
        return (
            f"{self.tier}, {NAMES[self.kind]}: score {n.score(self.score)} "
            f"{n.bounds(self.score_ci95)}, {n.usd_per(self.usd)} per 1,000 requests. {self.policy}"
        )


def dollars(run: RunFiles) -> Markup:
    """The chart, with a table of what is on it."""
    spots = [spot for tier in run.tiers.values() for spot in _spots(tier)]
    keys = [key("circle", tier.tone, name) for name, tier in run.tiers.items()]
    keys += [key(shape, "ink", NAMES[kind]) for kind, shape in SHAPES.items()]
    rows = [
        (
            s.tier,
            NAMES[s.kind],
            s.policy,
            n.score(s.score),
            n.bounds(s.score_ci95),
            n.usd_per(s.usd),
        )
        for s in spots
    ]
    simulated = any(tier.simulated for tier in run.tiers.values())
    return joined(
        [
            el(
                "p",
                "Up is better, left is cheaper. Bars are 95% intervals on held-out items; the line "
                "goes from where you are to the policy that this run exports."
                + (
                    " Dollars are simulated (parameters × tokens), nobody's bill."
                    if simulated
                    else ""
                ),
            ),
            figure(
                "Score against dollars for 1,000 requests",
                both(lambda width: _chart(spots, width)),
                table(
                    ("tier", "what", "policy", "score", "95% interval", "$ / 1,000"), rows, text=3
                ),
                legend(*keys),
            ),
        ]
    )


def _chart(spots: Sequence[Spot], width: int) -> Markup:
    ends = [bound for s in spots for bound in s.score_ci95 if bound is not None]
    chart = Chart(
        "Score against dollars",
        "; ".join(
            f"{s.tier} {NAMES[s.kind]} {n.score(s.score)} at {n.usd_per(s.usd)}"
            for s in spots
            if s.kind in ("today", "policy")
        ),
        padded([n.PER * s.usd for s in spots], log=True, share=0.1),
        padded(ends, share=0.1),
        "dollars for 1,000 requests (each step a factor)",
        "score",
        log_x=True,
        width=width,
        height=400 if width > 500 else 360,
    )
    for here, there in _moves(spots):
        chart.line(
            [(n.PER * here.usd, here.score), (n.PER * there.usd, there.score)],
            f"{here.tone} move",
            f"{here.tier}: from today's prompt to the policy",
        )
    spots = _apart(chart, spots)
    for s in sorted(spots, key=lambda s: list(SHAPES).index(s.kind), reverse=True):
        x = n.PER * s.usd
        if s.kind in ("today", "policy"):
            chart.whisker(x, s.score_ci95, s.tone)
        size = {"policy": 7.0, "not worth it": 4.0}.get(s.kind, 5.5)
        chart.dot(x, s.score, s.tone, s.title, shape=SHAPES[s.kind], size=size)
    taken = [box for s in spots for box in _boxes(chart, s)]
    taken += [box for here, there in _moves(spots) for box in _along(chart, here, there)]
    for s in spots:
        said = {"today": f"you are here: {s.tier}", "policy": s.tier}.get(s.kind)
        if said:
            taken.append(_label(chart, s, said, taken))
    return chart.svg()


def _apart(chart: Chart, spots: Sequence[Spot]) -> list[Spot]:
    """Without what was not worth it and lies on another mark of its tier: the table has it."""
    kept: list[Spot] = []
    for s in spots:
        x, y = chart.at_x(n.PER * s.usd), chart.at_y(s.score)
        near = any(
            k.tier == s.tier
            and math.hypot(chart.at_x(n.PER * k.usd) - x, chart.at_y(k.score) - y) < CLOSE
            for k in kept
        )
        if not (near and s.kind == "not worth it"):
            kept.append(s)
    return kept


def _along(chart: Chart, here: Spot, there: Spot) -> list[Box]:
    """What the line of a move takes up."""
    start, end = ((chart.at_x(n.PER * s.usd), chart.at_y(s.score)) for s in (here, there))
    points = np.linspace(start, end, 40)
    return [Box(x - 2, y - 2, x + 2, y + 2) for x, y in points]


def _boxes(chart: Chart, spot: Spot) -> list[Box]:
    """What a mark and its interval take up."""
    x, y = chart.at_x(n.PER * spot.usd), chart.at_y(spot.score)
    boxes = [Box(x - 8, y - 8, x + 8, y + 8)]
    low, high = spot.score_ci95
    if spot.kind in ("today", "policy") and low is not None and high is not None:
        boxes.append(Box(x - 2, chart.at_y(high), x + 2, chart.at_y(low)))
    return boxes


def _label(chart: Chart, spot: Spot, said: str, taken: Sequence[Box]) -> Box:
    x, y = chart.at_x(n.PER * spot.usd), chart.at_y(spot.score)
    at = place(x, y, said, taken, (chart.width, chart.at_y.start))
    chart.text(
        n.PER * spot.usd,
        spot.score,
        said,
        dx=at.dx,
        dy=at.dy,
        anchor=at.anchor,
        kind=f"label {spot.tone}",
    )
    return at.box(x, y, said)


def _moves(spots: Sequence[Spot]) -> list[tuple[Spot, Spot]]:
    here = {s.tier: s for s in spots if s.kind == "today"}
    return [(here[s.tier], s) for s in spots if s.kind == "policy" and s.tier in here]


def _spots(tier: TierFiles) -> list[Spot]:
    s = tier.summary
    exported = tier.summary.exported

    def spot(kind: str, got: HeldOut) -> Spot:
        return Spot(
            tier.name, tier.tone, kind, got.policy, got.score, got.score_ci95, got.usd_per_item
        )

    found = [spot("today", s.baseline)]
    if tier.summary.passed:
        found.append(spot("policy", exported))
    single = s.ablation["best_prompt_one_sample"]
    if single.policy not in {f.policy for f in found}:
        found.append(spot("single", single))
    others: list[HeldOut] = [*s.operating_points.values(), *s.ablation.values()]
    for got in others:
        known = {f.policy for f in found}
        dearer = got.usd_per_item > exported.usd_per_item
        new = got.policy not in known and dearer
        if new and _not_shown_better(tier.tested, got.policy, exported.policy):
            found.append(spot("not worth it", got))
    return found


def _not_shown_better(tested: Tested | None, policy: str, exported: str) -> bool:
    """Whether the paired interval of ``policy`` over ``exported`` reaches 0."""
    if tested is None or policy not in tested.policies or exported not in tested.policies:
        return False
    a, b = (tested.score[tested.policies.index(p)] for p in (policy, exported))
    if np.isnan(a).any() or np.isnan(b).any():
        return False
    return paired_difference(a, b, resamples=RESAMPLES).low <= 0
