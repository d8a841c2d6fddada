"""The plan against what was bought, stage by stage."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import table
from tierwise.report.reading import RunFiles
from tierwise.report.spending import spending_rows


def planned(run: RunFiles) -> Markup:
    """A row a tier and stage."""
    rows = spending_rows(run)
    if not rows:
        return el("p", "Nothing was planned, and nothing bought: all answers are recorded ones.")
    cells: list[tuple[Child, ...]] = []
    before = ""
    for row in rows:
        calls = row["planned_calls"]
        ratio = row["usd"] / row["planned_usd"] if row["planned_usd"] else None
        cells.append(
            (
                row["tier"] if row["tier"] != before else "",
                row["stage"] or "all stages",
                n.NOTHING if calls is None else f"{calls:,}",
                f"{row['calls']:,}",
                n.usd(row["planned_usd"]),
                n.usd(row["usd"]),
                n.ratio(ratio),
                n.usd(row["worst_usd"]),
            )
        )
        before = row["tier"]
    kept = "" if run.plan else " This run kept no plan: it is of an older version."
    return joined(
        [
            el(
                "p",
                "What ",
                el("code", "tierwise plan"),
                " said before the first purchase, and what "
                "each stage bought. A plan without calibration knows the prompts but not how long "
                "answers are, and takes a sixth of each token cap; the worst case takes all of it. A "
                "stage that the plan does not have is bought only where it is needed; one that bought "
                "nothing was there already, or its tier ended before." + kept,
            ),
            table(
                (
                    "tier",
                    "stage",
                    "calls planned",
                    "bought",
                    "$ planned",
                    "$ spent",
                    "spent / planned",
                    "$ at worst",
                ),
                cells,
                text=2,
                caption="Plan against actual, by stage",
            ),
        ]
    )
