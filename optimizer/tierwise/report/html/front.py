"""Score and cost of everything that was tried: trials, their front, ablation_steps, policy, oracle bound."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import Chart, key, legend, padded
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.result import FrontPoint, HeldOut

MOST_TRIALS = 600
"""Specks in a chart; of more, every k-th is sampled, and all are in trials.csv."""


def front(run: RunFiles) -> Markup:
    """A chart a tier."""
    return joined(
        [
            el(
                "p",
                "Every speck is a policy that the study judged, on its own items (the tune split); "
                "the line joins those that no other beats in both score and dollars. Because the best "
                "of many is partly luck, the ablation's ablation_steps, the operating points and the policy are "
                "judged on held-out items, which is why they can lie below the line. The oracle bound "
                "is what somebody would get who knew the best recipe for each item; it is chosen on one "
                "half of the samples and scored on the other, and is never below the full policy, which "
                "the oracle knows too.",
            ),
            legend(
                key("speck", "ink", "a trial"),
                key("line", "ink", "their front"),
                key("circle", "ink", "a ablation_step of the ablation"),
                key("diamond", "ink", "an operating point"),
                key("star", "ink", "the exported policy"),
                key("rule", "oracle", "oracle bound"),
            ),
            tiers_in_a_row([_figure(tier) for tier in run.tiers.values()]),
        ]
    )


def _figure(tier: TierFiles) -> Markup:
    s = tier.summary
    rows = [(f.policy, n.score(f.score), n.usd_per(f.usd_per_item), f.trial) for f in s.front]
    return figure(
        tier.name,
        _chart(tier),
        table(("policy on the front", "score (tune)", "$ / 1,000", "trial"), rows),
    )


def _chart(tier: TierFiles) -> Markup:
    s = tier.summary
    ablation_steps, points, bound = s.ablation, s.operating_points, s.oracle_bound.score
    shown: list[HeldOut | FrontPoint] = [*ablation_steps.values(), *points.values(), *s.front]
    trials = tier.trials[:: 1 + len(tier.trials) // MOST_TRIALS]
    dollars = [n.PER * r.usd_per_item for r in shown] + [n.PER * t.usd_per_item for t in trials]
    scores: list[float] = [r.score for r in shown] + [t.score for t in trials]
    chart = Chart(
        f"{tier.name}: score and cost of {len(tier.trials)} policies",
        f"{len(s.front)} policies on the front; the oracle bound is {n.score(bound)}.",
        padded(dollars, log=True),
        padded([*scores, bound] if bound is not None else scores),
        "dollars for 1,000 requests",
        "score",
        log_x=True,
    )
    if bound is not None:
        chart.rule(y=bound, title=f"oracle bound: {n.score(bound)}", kind="oracle")
    for t in trials:
        chart.dot(
            n.PER * t.usd_per_item,
            t.score,
            tier.tone,
            f"trial {t.trial}: {t.policy}",
            shape="speck",
            size=2.2,
        )
    chart.line(
        [(n.PER * f.usd_per_item, f.score) for f in s.front], tier.tone, "the front of the study"
    )
    for name, r in ablation_steps.items():
        chart.dot(n.PER * r.usd_per_item, r.score, tier.tone, _said(name, r), size=4.0)
    for name, p in points.items():
        chart.dot(
            n.PER * p.usd_per_item, p.score, tier.tone, _said(name, p), shape="diamond", size=5.5
        )
    exported = tier.summary.exported
    chart.dot(
        n.PER * exported.usd_per_item,
        exported.score,
        tier.tone,
        _said("exported", exported),
        shape="star",
        size=7.0,
    )
    return chart.svg()


def _said(name: str, got: HeldOut) -> str:
    return (
        f"{name.replace('_', ' ')}: {n.score(got.score)} {n.bounds(got.score_ci95)} at "
        f"{n.usd_per(got.usd_per_item)}. {got.policy}"
    )
