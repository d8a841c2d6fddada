"""Consoles and tables of the commands, on a terminal and in a log."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(*, err: bool = False, log_width: int = 100) -> Console:
    """A console as wide as the terminal, or ``log_width`` where there is none."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    unknown = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=err, highlight=False, width=log_width if unknown else None)


def plain_table(*headings: str, no_wrap: bool = False) -> Table:
    """A table without borders; a heading that ends in ``>`` is over numbers, set to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in headings:
        name, right = Text(heading.removesuffix(">")), heading.endswith(">")
        table.add_column(name, justify="right" if right else "left", no_wrap=no_wrap)
    return table
