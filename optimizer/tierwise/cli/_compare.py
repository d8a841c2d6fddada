"""Sections of a comparison as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tierwise.analysis.tier_files import NotShown
from tierwise.report.compare import Table

if TYPE_CHECKING:
    from rich.console import Console

_LOG_WIDTH = 120
"""Columns where the output is no terminal and its width is not set."""


def show_tables(tables: Sequence[Table], said: Iterable[str] = ()) -> None:
    """Print every table, after the sentences of `said`."""
    console = _console()
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True, style="yellow")
    for table in tables:
        _show(console, table)
    console.print(
        "Intervals are 95%, over items; differences are paired by item where they can be. "
        "A variant is prompt/mode/temperature. --json and --csv have everything.",
        style="dim",
        soft_wrap=True,
    )


def _show(console: Console, shown: Table) -> None:
    from rich import table as rich_table
    from rich.text import Text

    title = ", ".join((*shown.labels.values(), shown.section.title))
    console.print(Text.assemble((shown.name.replace("_", " "), "bold"), "  ", (title, "dim")))
    if not shown.rows:
        console.print("  nothing to compare", style="dim")
    table = rich_table.Table(box=None, header_style="dim", pad_edge=False)
    for column in shown.section.columns:
        right = column.endswith(">")
        table.add_column(
            Text(column.rstrip(">")), justify="right" if right else "left", no_wrap=right
        )
    notes = [row for row in shown.rows if isinstance(row, NotShown)]
    for row in shown.rows:
        cells = None if isinstance(row, NotShown) else shown.section.cells(row)
        if cells is not None:
            best = getattr(row, "best", False) is True
            table.add_row(*map(Text, cells), style="bold" if best else None)
    if table.row_count:
        console.print(table)
    for note in notes:
        who = " ".join(note.labels.values())
        said = f"  {who}: {note.note}" if who else f"  {note.note}"
        console.print(said, markup=False, soft_wrap=True)
    console.print()


def _console() -> Console:
    import os
    import sys

    from rich.console import Console

    unknown = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=_LOG_WIDTH if unknown else None)
