"""What the run spent beside what was planned, by tier and stage."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report._base import Row, Section
from tierwise.report.purchases import Spending, spent
from tierwise.report.reading import RunFiles
from tierwise.schema.result import PlannedStage

PLANNED = (
    "planned_calls",
    "planned_tokens",
    "planned_usd",
    "worst_calls",
    "worst_tokens",
    "worst_usd",
)


def spending_rows(run: RunFiles) -> list[Row]:
    """A row a tier and stage, from the pool's own book, which is there before a run has finished.

    What was planned is of before the first purchase, None where the plan did not know the stage; a
    stage that was planned and not bought has zeros.
    """
    bought = {(s.tier, s.stage): s for s in spent(run.run.pool, run.run.run)}
    planned = {
        (tier, stage): amounts
        for tier, plan in run.plan.items()
        for stage, amounts in plan.stages.items()
    }
    tiers = dict.fromkeys([*run.plan, *(tier for tier, _ in bought)])
    keys = [key for tier in tiers for key in {**bought, **planned} if key[0] == tier]
    order = {stage: i for i, stage in enumerate(dict.fromkeys(stage for _, stage in planned))}
    bought_at = {key: i for i, key in enumerate(bought)}
    keys.sort(
        key=lambda key: (list(tiers).index(key[0]), bought_at.get(key, 99), order.get(key[1], 0))
    )
    return [_row(key, bought.get(key), planned.get(key)) for key in keys]


def _row(key: tuple[str, str], bought: Spending | None, planned: PlannedStage | None) -> Row:
    row: Row = {"tier": key[0], "stage": key[1]}
    row |= {name: getattr(bought, name) if bought else 0 for name in ("calls", "tokens", "usd")}
    row |= dict.fromkeys(PLANNED)
    if planned:
        for said, amounts in (("planned", planned.expected), ("worst", planned.worst)):
            row |= {f"{said}_{name}": value for name, value in vars(amounts).items()}
    return row


def _cells(row: Row) -> tuple[str, ...]:
    planned = row["planned_calls"]
    return (
        row["tier"],
        row["stage"],
        f"{row['calls']:,}",
        f"{row['tokens']:,}",
        n.usd(row["usd"]),
        "" if planned is None else f"{planned:,}",
        n.usd(row["planned_usd"]),
        n.usd(row["worst_usd"]),
    )


SECTION = Section(
    "what the run spent, beside what was planned",
    spending_rows,
    (
        "tier",
        "stage",
        "calls>",
        "tokens>",
        "dollars>",
        "calls planned>",
        "dollars planned>",
        "at worst>",
    ),
    _cells,
)
