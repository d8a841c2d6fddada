"""``tierwise compare RUN_DIR…``: tiers side by side, or what changed between runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import FOLDER_PATH, console, plain_table
from tierwise.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from tierwise.report.compare import Table
    from tierwise.runs.artifacts import RunFiles

LOG_WIDTH = 120
"""Columns where the output is no terminal and its width is not set."""


@click.command("compare")
@click.argument("run_dirs", metavar="RUN_DIR...", nargs=-1, required=True, type=FOLDER_PATH)
@click.option(
    "--section",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this part, such as prompts or frontier; repeat for more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a section as CSV (prompts, if not said)."
)
def command(
    run_dirs: tuple[Path, ...], names: tuple[str, ...], as_json: bool, as_csv: bool
) -> None:
    """Compare the tiers of RUN_DIR, or several runs, from their own files alone.

    Of one: each tier's recipe, every prompt on every tier with its interval, what thinking, votes
    and buckets add, the cheapest tier for each score, the policies on each other's tiers, how much
    the paraphrase matters, what was spent. Of several: what changed from the first to each of the
    others, paired where they share items and samples. What is missing is said, and the rest shown.
    """
    from tierwise.report.between import comparison_tables
    from tierwise.report.compare import frames, plain_rows
    from tierwise.runs.artifacts import read_run

    if as_csv and len(names) > 1:
        raise InputError("--csv prints one table: give one --section")
    runs = [read_run(path) for path in run_dirs]
    tables = comparison_tables(runs, names or (("prompts",) if as_csv else ()))
    said = [sentence for run in runs for sentence in _missing(run, named=len(runs) > 1)]
    if as_csv or as_json:
        for sentence in said:
            click.echo(sentence, err=True)
    if as_csv:
        (table,) = frames(plain_rows(tables)).values()
        click.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    elif as_json:
        found = frames(plain_rows(tables))
        plain = {n: json.loads(table.to_json(orient="records")) for n, table in found.items()}
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        _show(tables, said)


def _missing(run: RunFiles, *, named: bool) -> list[str]:
    """Sentences on what is not there, with the run's folder where there are several."""
    from tierwise.stats.intervals import SMALL_SAMPLE

    said = [*run.missing, *(f"{tier} failed: {why}" for tier, why in run.failed.items())]
    said += [
        f"{name}: a small sample of {items} held-out items, so all intervals are wide"
        for name, tier in run.tiers.items()
        if (items := tier.summary.items.test) < SMALL_SAMPLE
    ]
    return [f"{run.run.path}: {sentence}" if named else sentence for sentence in said]


def _show(tables: Sequence[Table], said: Iterable[str]) -> None:
    """Print every table, after the sentences of `said`."""
    out = console(log_width=LOG_WIDTH)
    for sentence in said:
        out.print(sentence, markup=False, soft_wrap=True, style="yellow")
    for table in tables:
        _show_table(out, table)
    out.print(
        "Intervals are 95%, over items; differences are paired by item where they can be. "
        "A variant is prompt/mode/temperature. --json and --csv have everything.",
        style="dim",
        soft_wrap=True,
    )


def _show_table(out: Console, shown: Table) -> None:
    from rich.text import Text

    from tierwise.analysis.tier_files import NotShown

    section = shown.section
    title = ", ".join((*shown.labels.values(), section.title))
    out.print(Text.assemble((shown.name.replace("_", " "), "bold"), "  ", (title, "dim")))
    if not shown.rows:
        out.print("  nothing to compare", style="dim")
    table = plain_table(*(heading for heading, _ in section.columns))
    for column in table.columns:
        column.no_wrap = column.justify == "right"
    notes = [row for row in shown.rows if isinstance(row, NotShown)]
    for row in shown.rows:
        if not isinstance(row, NotShown) and section.in_terminal(row):
            best = getattr(row, "best", False) is True
            table.add_row(*map(Text, section.cells(row)), style="bold" if best else None)
    if table.row_count:
        out.print(table)
    for note in notes:
        who = " ".join(note.labels.values())
        said = f"  {who}: {note.note}" if who else f"  {note.note}"
        out.print(said, markup=False, soft_wrap=True)
    out.print()
