"""Sections of a comparison as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tierwise.report import Row, Section

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 120
"""Columns where the output is no terminal and nobody says how wide it is."""

_WHO = ("tier", "policy_of", "other", "on", "against", "adds")


def show(
    sections: Mapping[str, Section[Any]],
    rows: Mapping[str, Sequence[Row]],
    said: Iterable[str] = (),
) -> None:
    """Print every section, after the sentences of ``said``."""
    console = _console()
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True, style="yellow")
    for name, found in rows.items():
        _show(console, name, sections[name], found)
    console.print(
        "Intervals are 95%, over items; differences are paired by item where they can be. A variant "
        "is prompt/mode/temperature. --json and --csv have everything.",
        style="dim",
        soft_wrap=True,
    )


def _show(console: Console, name: str, section: Section[Any], rows: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text.assemble((name.replace("_", " "), "bold"), "  ", (section.title, "dim")))
    if not rows:
        console.print("  nothing to compare", style="dim")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in section.columns:
        right = column.endswith(">")
        table.add_column(
            Text(column.rstrip(">")), justify="right" if right else "left", no_wrap=right
        )
    for row in rows:
        cells = None if "note" in row else section.cells(row)
        if cells is not None:
            table.add_row(*map(Text, cells), style="bold" if row.get("best") is True else None)
    if table.row_count:
        console.print(table)
    for row in rows:
        if "note" in row:
            who = " ".join(str(row[key]) for key in _WHO if row.get(key))
            console.print(
                f"  {who}: {row['note']}" if who else f"  {row['note']}",
                markup=False,
                soft_wrap=True,
            )
    console.print()


def _console() -> Console:
    import os
    import sys

    from rich.console import Console

    unknown = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=LOG_WIDTH if unknown else None)
