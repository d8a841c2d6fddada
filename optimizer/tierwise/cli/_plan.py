"""A plan as a table, and the question whether to go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.runs.plan import Plan, Size
    from tierwise.runs.prepare import Prepared
    from tierwise.schema import Usage

PLAN_COLUMNS = (
    "tier",
    "stage",
    "variants",
    "items",
    "samples",
    "lookups",
    "calls",
    "tokens",
    "usd",
    "worst_calls",
    "worst_tokens",
    "worst_usd",
    "minutes",
    "worst_minutes",
)


LOG_WIDTH = 100


def planned(prepared: Prepared, folder: Path, *, resume: bool) -> Plan:
    """What `tierwise tune` would buy: what is left, where ``folder`` has a run of the job."""
    from tierwise.runs.plan import plan, remaining
    from tierwise.search import RunDir

    found = plan(prepared)
    known = RunDir.of(folder, prepared.job) if resume else None
    return found if known is None else remaining(found, known, prepared.job)


def rows(plan: Plan) -> list[dict[str, Any]]:
    """A row a tier and stage, and one a tier for the total, within its budget."""
    found: list[dict[str, Any]] = []
    for name, tier in plan.tiers.items():
        for stage in tier.stages:
            found.append(
                {
                    "tier": name,
                    "stage": stage.stage,
                    "variants": stage.variants,
                    "items": stage.items,
                    "samples": stage.samples,
                    "lookups": stage.lookups,
                    **_amounts(stage.expected, stage.worst),
                    "minutes": None,
                    "worst_minutes": None,
                }
            )
        samples = sum(stage.samples for stage in tier.stages)
        lookups = sum(stage.lookups for stage in tier.stages)
        total = {
            "tier": name,
            "stage": "total",
            "variants": None,
            "items": None,
            "samples": samples,
            "lookups": lookups,
        }
        minutes, worst_minutes = tier.minutes or (None, None)
        amounts = _amounts(tier.expected, tier.worst)
        found.append({**total, **amounts, "minutes": minutes, "worst_minutes": worst_minutes})
    return found


def show(plan: Plan, *, err: bool = False) -> None:
    """Print the plan as a table, and what the budget cuts."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=err, highlight=False, width=_width(err))
    table = Table(box=None, header_style="dim", pad_edge=False)
    found = rows(plan)
    counted = {key: key for key in ("variants", "items", "samples", "calls")}
    if any(row["lookups"] for row in found):
        counted["lookups"] = "look-ups"
    for name in ("tier", "stage"):
        table.add_column(name, no_wrap=True)
    for name in (*counted.values(), "tokens", "dollars", "at worst", "minutes"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        total = row["stage"] == "total"
        table.add_row(
            "" if not total and row["stage"] != "screen" else row["tier"],
            row["stage"],
            *("" if row[k] is None else f"{row[k]:,}" for k in counted),
            _short(row["tokens"]),
            f"${row['usd']:.3g}",
            f"${row['worst_usd']:.3g}",
            _minutes(row),
            style="bold" if total else None,
        )
    console.print(table)
    console.print()
    for line in remarks(plan):
        console.print(line, markup=False, soft_wrap=True)


def _width(err: bool) -> int | None:
    """That of the terminal; where there is none, as in a log, one that the tables fit."""
    stream = sys.stderr if err else sys.stdout
    return LOG_WIDTH if not stream.isatty() and "COLUMNS" not in os.environ else None


def _short(count: float) -> str:
    """``335k``, ``4.72M``: tokens are estimates, and many digits would not fit a terminal."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def _minutes(row: dict[str, Any]) -> str:
    if row["minutes"] is None:
        return "?" if row["stage"] == "total" else ""
    return f"{row['minutes']:.2g}–{row['worst_minutes']:.2g}"


def giving_up(sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """What smaller budgets give up, as plain data."""
    return [
        {"budget_usd": s.budget_usd, "expected_usd": s.expected_usd, **s.items, "tells": s.tells}
        for s in sizes
    ]


def show_sizes(sizes: Sequence[Size]) -> None:
    """Print what smaller budgets give up."""
    from rich.console import Console
    from rich.table import Table

    if len(sizes) < 2:
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    stages = list(sizes[0].items)
    for name in ("with a budget of", "spends", *stages, "tells"):
        table.add_column(name, justify="right")
    for s in sizes:
        table.add_row(
            f"${s.budget_usd:.3g}",
            f"${s.expected_usd:.3g}",
            *(f"{s.items.get(stage, 0):,}" for stage in stages),
            f"±{100 * s.tells:.1f} points",
        )
    console = Console(highlight=False, width=_width(err=False))
    console.print("\nWhat a smaller budget gives up: items of each stage, and what can be told")
    console.print(table)
    console.print(
        "tells: the smallest difference that the held-out items tell from 0, where two policies "
        "differ on one item in five.",
        style="dim",
        soft_wrap=True,
    )


def remarks(plan: Plan) -> list[str]:
    """What the table does not say."""
    said = []
    for name, tier in plan.tiers.items():
        cuts = [
            f"{s.stage} {s.uncut_items} to {s.items}"
            for s in tier.stages
            if s.items < s.uncut_items
        ]
        if tier.recorded:
            said.append(f"{name}: recorded answers; nothing is bought")
        if tier.fault:
            said.append(f"{name}: {tier.fault}")
        elif cuts:
            said.append(f"{name}: the budget cuts items: {', '.join(cuts)}")
        if tier.bought:
            said.append(
                f"{name}: {tier.bought.samples:,} samples are there already, for "
                f"${tier.bought.usd:.3g}; the table is what is left, at the lengths seen"
            )
        said += [f"{name}: {text}" for text in tier.cut]
        if tier.seconds_a_call:
            rate = 60 / tier.seconds_a_call
            said.append(f"{name}: about {rate:,.0f} calls a minute, as its first calls went")
        if tier.stages and tier.tier.price.simulated:
            said.append(f"{name}: dollars are simulated, not billed")
    if any(stage.lookups for tier in plan.tiers.values() for stage in tier.stages):
        said.append(
            "Samples are those of chains to their last round, look-ups one for each query of "
            "these; "
            "three in ten are expected, since chains end, and a query is looked up once. Their "
            "price is in the dollars"
        )
    assumed = (
        ""
        if all(t.bought or t.recorded for t in plan.tiers.values())
        else ("Dollars are expected with answers of a sixth of their token cap. ")
    )
    worst = "At worst every answer fills its cap and every byte of a prompt is a token. "
    said.append(f"{assumed}{worst}A budget is never passed.")
    return said


def confirm(plan: Plan, *, yes: bool, quiet: bool) -> None:
    """Show what a paid run would cost, and ask; what costs nothing is not asked about.

    Raises:
        InputError: it must be asked and nobody is there to answer.
        click.Abort: the answer is no.
    """
    if not plan.paid or plan.paid_usd[1] == 0:
        return
    if not quiet:
        show(plan, err=True)
    if yes:
        return
    expected, worst = plan.paid_usd
    names = ", ".join(plan.paid)
    if not sys.stdin.isatty():
        raise InputError(
            f"this would spend about ${expected:.3g}, at worst ${worst:.3g}, on {names}; add --yes "
            "to do so (`tierwise plan` shows what for)"
        )
    click.confirm(
        f"Spend about ${expected:.3g}, at worst ${worst:.3g}, on {names}?", abort=True, err=True
    )


def _amounts(expected: Usage, worst: Usage) -> dict[str, float]:
    return {
        "calls": expected.calls,
        "tokens": round(expected.tokens),
        "usd": expected.usd,
        "worst_calls": worst.calls,
        "worst_tokens": round(worst.tokens),
        "worst_usd": worst.usd,
    }
