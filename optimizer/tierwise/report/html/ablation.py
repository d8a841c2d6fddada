"""The ablation: what each freedom adds on held-out items, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.report import numbers as n
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import Chart, padded
from tierwise.report.reading import RunFiles, TierFiles

ABLATION_STEPS = {
    "default_prompt_one_sample": "today's prompt, one sample",
    "best_prompt_one_sample": "best prompt, one sample",
    "default_prompt_best_strategy": "today's prompt, best strategy",
    "disjoint": "best prompt, then strategy",
    "joint_fixed_n": "both together, fixed samples",
    "joint_adaptive_stop": "and adaptive stopping",
    "full_policy": "and buckets: the full policy",
    "oracle_bound": "oracle bound",
}
MARKS = {"default_prompt_one_sample": "ring", "full_policy": "star", "oracle_bound": "ring"}
ROW = 40


def ablation(run: RunFiles) -> Markup:
    """A chart a tier, ablation_step under ablation_step."""
    return joined(
        [
            el(
                "p",
                "Each ablation_step is the best that its freedom allows at no more dollars than the full "
                "policy. All are judged on the same held-out items; the numbers behind a chart say what "
                "the full policy gains over each ablation_step, paired.",
            ),
            tiers_in_a_row([_figure(tier) for tier in run.tiers.values()]),
        ]
    )


def _figure(tier: TierFiles) -> Markup:
    ablation_steps = tier.summary["ablation"]
    rows = []
    for name, ablation_step in ablation_steps.items():
        against = ablation_step.get("full_policy_against_it", {})
        rows.append(
            (
                ABLATION_STEPS.get(name, name),
                ablation_step.get("policy", ""),
                n.score(ablation_step["score"]),
                n.bounds(ablation_step["score_ci95"]),
                n.usd_per(ablation_step.get("usd_per_item")),
                f"{ablation_step['samples_per_item']:.1f}"
                if "samples_per_item" in ablation_step
                else n.NOTHING,
                n.points(against.get("score_difference")),
                n.point_bounds(against.get("score_difference_ci95")),
                n.ratio(against.get("cost_ratio")),
            )
        )
    columns = (
        "ablation_step",
        "policy",
        "score",
        "95% interval",
        "$ / 1,000",
        "samples",
        "full policy gains, points",
        "95% interval",
        "at cost",
    )
    return figure(
        tier.name, _chart(tier.name, tier.tone, ablation_steps), table(columns, rows, text=2)
    )


def _chart(name: str, tone: str, ablation_steps: Mapping[str, Mapping[str, Any]]) -> Markup:
    bounds = [b for r in ablation_steps.values() for b in r["score_ci95"] if b is not None]
    shown = [
        (ablation_step, r) for ablation_step, r in ablation_steps.items() if n.known(r["score"])
    ]
    height = ROW * len(shown) + 60
    chart = Chart(
        f"{name}: the ablation",
        "; ".join(
            f"{ABLATION_STEPS.get(ablation_step, ablation_step)} {n.score(r['score'])}"
            for ablation_step, r in shown
        ),
        padded(bounds),
        (0.0, float(len(shown))),
        "score on held-out items, 95% intervals",
        "",
        height=height,
        left=14.0,
        bare_y=True,
    )
    for i, (ablation_step, r) in enumerate(shown):
        y = len(shown) - i - 0.72
        title = f"{ABLATION_STEPS.get(ablation_step, ablation_step)}: {n.score(r['score'])} {n.bounds(r['score_ci95'])}"
        if "usd_per_item" in r:
            title += f" at {n.usd_per(r['usd_per_item'])} per 1,000. {r['policy']}"
        said = ABLATION_STEPS.get(ablation_step, ablation_step)
        cost = n.usd_per(r.get("usd_per_item")) if "usd_per_item" in r else ""
        chart.text(chart.x[0], y + 0.38, said, dx=0, dy=4)
        chart.text(chart.x[1], y + 0.38, cost, dx=0, dy=4, anchor="end", kind="label dim")
        chart.across(r["score_ci95"], y, tone)
        shape = MARKS.get(ablation_step, "circle")
        chart.dot(r["score"], y, tone, title, shape=shape, size=4.5)
    return chart.svg()
