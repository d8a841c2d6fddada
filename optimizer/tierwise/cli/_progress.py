"""What a run shows while it goes on: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from tierwise.search import Event, Listener

STAGES = ("screen", "race", "study", "select", "test")

WIDE = 105
"""Columns of a terminal from which on the board shows all that it has."""

ONLY_WIDE = ("", "calls", "samples/s")


@contextmanager
def listening(
    tiers: Sequence[str], *, quiet: bool = False, log_json: bool = False
) -> Iterator[Listener]:
    """A listener for as long as a run takes."""
    if log_json:
        yield _log_json
    elif quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with Board(tiers) as board:
            yield board.hear
    else:
        yield _Lines().hear


def _log_json(event: Event) -> None:
    record = {"event": type(event).__name__.lower(), **asdict(event), "at": time.time()}
    progress = record.get("progress")
    if progress is not None:
        record["progress"] = dict(zip(("done", "planned", "calls", "usd"), progress, strict=True))
    click.echo(json.dumps(record), err=True)


class _Lines:
    """A line a stage: what a log file wants."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def hear(self, event: Event) -> None:
        from tierwise.search import Finished, Started

        took = f"{time.monotonic() - self._start:6.1f} s"
        if isinstance(event, Started):
            click.echo(f"{took}  {event.tier}: {event.stage}", err=True)
        elif isinstance(event, Finished):
            click.echo(f"{took}  {event.tier}: {event.message or 'done'}", err=True)


@dataclass
class _Row:
    stage: str = "waiting"
    done: int = 0
    planned: int = 0
    calls: int = 0
    usd: float = 0.0
    rate: float = 0.0
    best: str = ""
    recipe: str = ""
    since: float = 0.0


class Board:
    """A row a tier, redrawn a few times a second."""

    def __init__(self, tiers: Sequence[str], console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.rows = {tier: _Row() for tier in tiers}
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console, refresh_per_second=4, transient=True, get_renderable=self.table
        )

    def __enter__(self) -> Board:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def hear(self, event: Event) -> None:
        from tierwise.search import Best, Bought, Finished, Started

        with self._lock:
            row = self.rows.setdefault(event.tier, _Row())
            if isinstance(event, Started):
                row.stage, row.done, row.planned, row.rate = event.stage, 0, 0, 0.0
                row.since = time.monotonic()
            elif isinstance(event, Bought):
                row.done, row.planned = event.progress.samples_done, event.progress.samples_planned
                row.calls, row.usd = event.calls, event.usd
                row.rate = row.done / max(time.monotonic() - row.since, 1e-3)
            elif isinstance(event, Best):
                row.best = f"{event.score:.3f} at ${event.usd:.2g}"
                row.recipe = event.recipe
            elif isinstance(event, Finished):
                row.stage = "done" if event.ok else "failed"

    def table(self) -> Table:
        """The board as it is now."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        wide = self._console.width >= WIDE
        table = Table(box=None, header_style="dim", pad_edge=False, expand=True)
        for name in ("tier", "stage", "", "samples", "calls", "dollars", "samples/s", "stage left"):
            if wide or name not in ONLY_WIDE:
                numeric = name in ("samples", "calls", "dollars", "samples/s", "stage left")
                table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
        table.add_column("best so far", ratio=1, no_wrap=True)
        with self._lock:
            for tier, row in self.rows.items():
                step = STAGES.index(row.stage) + 1 if row.stage in STAGES else 0
                left = (row.planned - row.done) / row.rate if row.rate and step else 0.0
                bar = ProgressBar(total=max(row.planned, 1), completed=row.done, width=12)
                cells: dict[str, str | ProgressBar] = {
                    "tier": tier,
                    "stage": f"{row.stage} {step}/{len(STAGES)}" if step else row.stage,
                    "": bar,
                    "samples": f"{row.done:,}/{row.planned:,}",
                    "calls": f"{row.calls:,}",
                    "dollars": f"${row.usd:.4f}",
                    "samples/s": f"{row.rate:,.0f}",
                    "stage left": f"{left:.0f} s" if step else "",
                }
                shown = [cell for name, cell in cells.items() if wide or name not in ONLY_WIDE]
                table.add_row(*shown, f"{row.best}  {row.recipe}" if wide else row.best)
        return table
