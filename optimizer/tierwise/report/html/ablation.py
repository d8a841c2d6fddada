"""The ablation: what each freedom adds on held-out items, with intervals."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import figure, table, tiers_in_a_row
from tierwise.report.html.svg import Chart, padded
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.result import AblationStep, OracleBound

ABLATION_STEPS = {
    "baseline_prompt_one_sample": "today's prompt, one sample",
    "best_prompt_one_sample": "best prompt, one sample",
    "baseline_prompt_best_strategy": "today's prompt, best strategy",
    "disjoint": "best prompt, then strategy",
    "joint_fixed_n": "both together, fixed samples",
    "joint_adaptive_stop": "and adaptive stopping",
    "full_policy": "and buckets: the full policy",
    "oracle_bound": "oracle bound",
}
MARKS = {"baseline_prompt_one_sample": "ring", "full_policy": "star", "oracle_bound": "ring"}
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
    rows: list[tuple[Child, ...]] = []
    for name, step in tier.summary.ablation.items():
        against = step.full_policy_against_it
        rows.append(
            (
                ABLATION_STEPS.get(name, name),
                step.policy,
                n.score(step.score),
                n.bounds(step.score_ci95),
                n.usd_per(step.usd_per_item),
                f"{step.samples_per_item:.1f}",
                n.points(against.score_difference),
                n.point_bounds(against.score_difference_ci95),
                n.ratio(against.cost_ratio),
            )
        )
    bound = tier.summary.oracle_bound
    score, ends = n.score(bound.score), n.bounds(bound.score_ci95)
    rows.append(("oracle bound", "", score, ends, *[n.NOTHING] * 3, "", n.NOTHING))
    columns = (
        "step",
        "policy",
        "score",
        "95% interval",
        "$ / 1,000",
        "samples",
        "full policy gains, points",
        "95% interval",
        "at cost",
    )
    return figure(tier.name, _chart(tier), table(columns, rows, text=2))


def _chart(tier: TierFiles) -> Markup:
    bound = tier.summary.oracle_bound
    shown: dict[str, AblationStep | OracleBound] = dict(tier.summary.ablation)
    if bound.score is not None:
        shown["oracle_bound"] = bound
    chart = Chart(
        f"{tier.name}: the ablation",
        "; ".join(
            f"{ABLATION_STEPS.get(name, name)} {n.score(r.score)}" for name, r in shown.items()
        ),
        padded([end for r in shown.values() for end in r.score_ci95 if end is not None]),
        (0.0, float(len(shown))),
        "score on held-out items, 95% intervals",
        "",
        height=ROW * len(shown) + 60,
        left=14.0,
        bare_y=True,
    )
    for i, (name, r) in enumerate(shown.items()):
        y, said = len(shown) - i - 0.72, ABLATION_STEPS.get(name, name)
        title = f"{said}: {n.score(r.score)} {n.bounds(r.score_ci95)}"
        cost = ""
        if isinstance(r, AblationStep):
            cost = n.usd_per(r.usd_per_item)
            title += f" at {cost} per 1,000. {r.policy}"
        chart.text(chart.x[0], y + 0.38, said, dx=0, dy=4)
        chart.text(chart.x[1], y + 0.38, cost, dx=0, dy=4, anchor="end", kind="label dim")
        chart.across(r.score_ci95, y, tier.tone)
        shape = MARKS.get(name, "circle")
        chart.dot(r.score or 0.0, y, tier.tone, title, shape=shape, size=4.5)
    return chart.svg()
