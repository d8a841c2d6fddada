"""Which techniques help on which tier, and what handing requests to a stronger tier comes to."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import table
from tierwise.report.reading import RunFiles
from tierwise.schema.result import EscalationRow, Technique

TECHNIQUES = (
    "technique",
    "family",
    "against",
    "paraphrases",
    "score",
    "difference",
    "95% interval",
    "cost",
    "verdict",
)
HANDING_ON = (
    "policy",
    "score",
    "95% interval",
    "$ / 1,000",
    "handed on",
    "difference",
    "95% interval",
    "cost",
)


def techniques(run: RunFiles) -> Markup:
    """A table a tier: every prompt and mode, all paraphrases together, the largest gain first."""
    caption = (
        "Paired on the same items and samples; a verdict is given where Holm's correction over the "
        "tier's table leaves it"
    )
    return joined(
        joined(
            [
                el("h3", name),
                table(
                    TECHNIQUES,
                    [_technique(row) for row in tier.summary.techniques],
                    text=3,
                    caption=caption,
                ),
            ]
        )
        for name, tier in run.tiers.items()
    )


def _technique(row: Technique) -> tuple[Child, ...]:
    return (
        f"{row.prompt}/{row.mode}",
        row.family,
        row.against,
        str(len(row.paraphrases)),
        n.score(row.score),
        n.points(row.difference),
        n.point_bounds(row.difference_ci95),
        f"×{row.cost_ratio:.2g}",
        row.verdict,
    )


def escalation(run: RunFiles) -> Markup | None:
    """For each tier that may hand requests on: never, always, where it pays. None without one."""
    tiers = {name: t.summary.escalation for name, t in run.tiers.items()}
    shown = [
        joined(
            [
                el("h3", name),
                table(
                    HANDING_ON,
                    [_policy(row) for row in rows],
                    text=1,
                    caption=f"Held out; differences and costs against the best prompt of "
                    f"{rows[0].against} at one sample",
                ),
            ]
        )
        for name, rows in tiers.items()
        if rows
    ]
    return joined(shown) if shown else None


def _policy(row: EscalationRow) -> tuple[Child, ...]:
    return (
        row.name,
        n.score(row.score),
        n.bounds(row.score_ci95),
        n.usd_per(row.usd_per_item),
        n.share(row.escalated),
        n.points(row.compared.score_difference),
        n.point_bounds(row.compared.score_difference_ci95),
        n.ratio(row.compared.cost_ratio),
    )
