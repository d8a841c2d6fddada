"""A plan as a table, and the question whether to go on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import console, plain_table
from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.runs.plan import Plan, Size
    from tierwise.runs.prepare import Prepared
    from tierwise.schema import Usage

TOTAL = "total"
"""The stage of a tier's last row."""


@dataclass(frozen=True)
class PlanRow:
    """A stage of a tier, or the total within its budget, with the columns of `plan --csv`."""

    tier: str
    stage: str
    variants: int | None
    items: int | None
    samples: int
    lookups: int
    calls: int
    tokens: int
    usd: float
    worst_calls: int
    worst_tokens: int
    worst_usd: float
    minutes: float | None = None
    worst_minutes: float | None = None


def planned(prepared: Prepared, folder: Path, *, resume: bool) -> Plan:
    """What `tierwise tune` would buy: what is left, where ``folder`` has a run of the job."""
    from tierwise.runs.plan import plan, remaining
    from tierwise.search import RunDir

    found = plan(prepared)
    known = RunDir.of(folder, prepared.job) if resume else None
    return found if known is None else remaining(found, known, prepared.job)


def rows(plan: Plan) -> list[PlanRow]:
    """A row a tier and stage, and one a tier for the total, within its budget."""
    found: list[PlanRow] = []
    for name, tier in plan.tiers.items():
        for s in tier.stages:
            amounts = (*_amounts(s.expected), *_amounts(s.worst))
            row = PlanRow(name, s.stage, s.variants, s.items, s.samples, s.lookups, *amounts)
            found.append(row)
        samples = sum(stage.samples for stage in tier.stages)
        lookups = sum(stage.lookups for stage in tier.stages)
        amounts = (*_amounts(tier.expected), *_amounts(tier.worst))
        minutes = tier.minutes or (None, None)
        found.append(PlanRow(name, TOTAL, None, None, samples, lookups, *amounts, *minutes))
    return found


def _amounts(usage: Usage) -> tuple[int, int, float]:
    return usage.calls, round(usage.tokens), usage.usd


def show(plan: Plan, *, err: bool = False) -> None:
    """Print the plan as a table, and what the budget cuts."""
    out, found = console(err=err), rows(plan)
    lookups = ("look-ups>",) if any(row.lookups for row in found) else ()
    counts = ("variants>", "items>", "samples>", "calls>", *lookups)
    amounts = ("tokens>", "dollars>", "at worst>", "minutes>")
    table = plain_table("tier", "stage", *counts, *amounts, no_wrap=True)
    for row in found:
        total = row.stage == TOTAL
        counted = (row.variants, row.items, row.samples, row.calls, row.lookups)
        table.add_row(
            row.tier if total or row.stage == "screen" else "",
            row.stage,
            *("" if count is None else f"{count:,}" for count in counted[: len(counts)]),
            _short(row.tokens),
            f"${row.usd:.3g}",
            f"${row.worst_usd:.3g}",
            _minutes(row),
            style="bold" if total else None,
        )
    out.print(table)
    out.print()
    for line in remarks(plan):
        out.print(line, markup=False, soft_wrap=True)


def _short(count: float) -> str:
    """``335k``, ``4.72M``: tokens are estimates, and many digits would not fit a terminal."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def _minutes(row: PlanRow) -> str:
    if row.minutes is None:
        return "?" if row.stage == TOTAL else ""
    return f"{row.minutes:.2g}–{row.worst_minutes:.2g}"


def show_sizes(sizes: Sequence[Size]) -> None:
    """Print what smaller budgets give up."""
    if len(sizes) < 2:
        return
    stages = list(sizes[0].items)
    headings = ("with a budget of", "spends", *stages, "tells")
    table = plain_table(*(f"{heading}>" for heading in headings))
    for s in sizes:
        table.add_row(
            f"${s.budget_usd:.3g}",
            f"${s.expected_usd:.3g}",
            *(f"{s.items.get(stage, 0):,}" for stage in stages),
            f"±{100 * s.tells:.1f} points",
        )
    out = console()
    out.print("\nWhat a smaller budget gives up: items of each stage, and what can be told")
    out.print(table)
    out.print(
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
            counted = "; they count against the budget as if bought, at their recorded lengths"
            said.append(
                f"{name}: recorded answers; nothing is bought{counted if tier.metered else ''}"
            )
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
            "these; three in ten are expected, since chains end, and a query is looked up once. "
            "Their price is in the dollars"
        )
    last = "At worst every answer fills its cap and every byte of a prompt is a token. "
    if not all(t.bought or t.recorded for t in plan.tiers.values()):
        last = f"Dollars are expected with answers of a sixth of their token cap. {last}"
    return [*said, f"{last}A budget is never passed."]


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
