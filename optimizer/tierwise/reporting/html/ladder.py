"""The ladder: what each freedom adds on held-out items, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.reporting import numbers as n
from tierwise.reporting.html.markup import Markup, el, joined
from tierwise.reporting.html.page import figure, table, tiers_in_a_row
from tierwise.reporting.html.svg import Chart, padded
from tierwise.reporting.reading import RunFiles, TierFiles

RUNGS = {
    "default_prompt_one_draw": "today's prompt, one draw",
    "best_prompt_one_draw": "best prompt, one draw",
    "default_prompt_best_strategy": "today's prompt, best strategy",
    "disjoint": "best prompt, then strategy",
    "joint_fixed_n": "both together, fixed draws",
    "joint_adaptive_stop": "and adaptive stopping",
    "full_policy": "and buckets: the full policy",
    "oracle_bound": "oracle bound",
}
MARKS = {"default_prompt_one_draw": "ring", "full_policy": "star", "oracle_bound": "ring"}
ROW = 40


def ladder(run: RunFiles) -> Markup:
    """A chart a tier, rung under rung."""
    return joined([
        el("p", "Each rung is the best that its freedom allows at no more dollars than the full "
           "policy. All are judged on the same held-out items; the numbers behind a chart say what "
           "the full policy gains over each rung, paired."),
        tiers_in_a_row([_figure(tier) for tier in run.tiers.values()]),
    ])  # fmt: skip


def _figure(tier: TierFiles) -> Markup:
    rungs = tier.summary["ladder"]
    rows = []
    for name, rung in rungs.items():
        against = rung.get("full_policy_against_it", {})
        rows.append((
            RUNGS.get(name, name), rung.get("policy", ""), n.score(rung["score"]),
            n.bounds(rung["score_ci95"]), n.usd_per(rung.get("usd_per_item")),
            f"{rung['draws_per_item']:.1f}" if "draws_per_item" in rung else n.NOTHING,
            n.points(against.get("score_difference")),
            n.point_bounds(against.get("score_difference_ci95")),
            n.ratio(against.get("cost_ratio")),
        ))  # fmt: skip
    columns = ("rung", "policy", "score", "95% interval", "$ / 1,000", "draws",
               "full policy gains, points", "95% interval", "at cost")  # fmt: skip
    return figure(tier.name, _chart(tier.name, tier.tone, rungs), table(columns, rows, text=2))


def _chart(name: str, tone: str, rungs: Mapping[str, Mapping[str, Any]]) -> Markup:
    bounds = [b for r in rungs.values() for b in r["score_ci95"] if b is not None]
    shown = [(rung, r) for rung, r in rungs.items() if n.known(r["score"])]
    height = ROW * len(shown) + 60
    chart = Chart(
        f"{name}: the ladder",
        "; ".join(f"{RUNGS.get(rung, rung)} {n.score(r['score'])}" for rung, r in shown),
        padded(bounds), (0.0, float(len(shown))), "score on held-out items, 95% intervals", "",
        height=height, left=14.0, bare_y=True,
    )  # fmt: skip
    for i, (rung, r) in enumerate(shown):
        y = len(shown) - i - 0.72
        title = f"{RUNGS.get(rung, rung)}: {n.score(r['score'])} {n.bounds(r['score_ci95'])}"
        if "usd_per_item" in r:
            title += f" at {n.usd_per(r['usd_per_item'])} per 1,000. {r['policy']}"
        said = RUNGS.get(rung, rung)
        cost = n.usd_per(r.get("usd_per_item")) if "usd_per_item" in r else ""
        chart.text(chart.x[0], y + 0.38, said, dx=0, dy=4)
        chart.text(chart.x[1], y + 0.38, cost, dx=0, dy=4, anchor="end", kind="label dim")
        chart.across(r["score_ci95"], y, tone)
        shape = MARKS.get(rung, "circle")
        chart.dot(r["score"], y, tone, title, shape=shape, size=4.5)
    return chart.svg()
