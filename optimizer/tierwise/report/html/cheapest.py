"""The cross-tier frontier: the cheapest tier and policy for each score that one may want."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report._base import Row
from tierwise.report.frontier import frontier_rows
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import paragraphs, table
from tierwise.report.reading import RunFiles


def cheapest(run: RunFiles) -> Markup:
    """A row a target."""
    rows = frontier_rows(run)
    targets = [row for row in rows if "target" in row]
    notes = [f"{row['tier']}: {row['note']}" for row in rows if "note" in row]
    columns = (
        "wanted",
        "cheapest",
        "surely (95%)",
        "out of reach of",
        "cheapest policy",
        "score",
        "95% interval",
        "$ / 1,000",
        "$ surely",
    )
    return joined(
        [
            el(
                "p",
                "Of all that was tested on held-out items, on any tier: the cheapest policy whose "
                "score reaches a target, and the cheapest whose whole interval does. A tier is out of "
                "reach where nothing that was tested on it scores that much on average.",
            ),
            table(
                columns,
                [_cells(row) for row in targets],
                text=5,
                caption="The cheapest that reaches a score",
            )
            if targets
            else None,
            paragraphs(*notes),
        ]
    )


def _cells(row: Row) -> tuple[Child, ...]:
    reached, sure = row["tier"], row["surely_tier"]
    return (
        f"{row['target']:g}",
        reached or "not reached",
        sure or "not reached",
        row["not_reached_by"],
        row["policy"] or "",
        n.score(row["score"]),
        n.bounds((row["score_low"], row["score_high"])),
        n.usd_per(row["usd_per_item"]),
        n.usd_per(row["surely_usd_per_item"]),
    )
