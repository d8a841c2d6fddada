"""What a run shows while it goes on: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from tierwise.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from tierwise.search import Event, Listener

STAGES = ("screen", "race", "study", "test")

WIDE = 105
"""Columns of a terminal from which on the board shows all that it has."""

ONLY_WIDE = ("", "calls", "samples/s")

STOP_S = 5.0
"""How long a run has to store what arrived, once it was asked twice to stop."""


@contextmanager
def stopping() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end a purchase in order, for as long as the context lasts.

    The first asks: nothing more is sent, and what still arrives is stored. The second gives up the
    calls under way, and keeps what has arrived. A signal that the process was started to ignore
    (``nohup``) stays ignored.
    """
    from tierwise.pool.supervision import GRACE_S, INTERRUPTION

    def ask(number: int, frame: object) -> None:
        times = INTERRUPTION.ask()
        if times == 1:
            say(f"stopping: what arrives within {GRACE_S:.0f} s is stored; again to stop at once")
            raise KeyboardInterrupt
        if times == 2:
            leave = threading.Timer(STOP_S, os._exit, (130,))
            leave.daemon = True
            leave.start()

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in wanted}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


@contextmanager
def lasting() -> Iterator[None]:
    """Go on where nobody reads what is said any more (a closed pipe or terminal)."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _Lasting(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str) -> None:
    """Write a line to stderr, if it can be written to."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


class _Lasting(io.TextIOBase):
    """A terminal that may go away: what cannot be written any more is dropped."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        return self._terminal.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # a plain attribute there
        return self._terminal.errors

    def isatty(self) -> bool:
        try:
            return self._terminal.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        return self._terminal.fileno()

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._terminal.flush()


def _log_json(event: Event) -> None:
    record = {"event": type(event).__name__.lower(), **asdict(event), "at": time.time()}
    progress = record.get("progress")
    if progress is not None:
        names = ("done", "planned", "calls", "usd", "waiting")
        record["progress"] = dict(zip(names, progress, strict=True))
    say(json.dumps(record))


class _Lines:
    """A line a stage: what a log file wants."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._waiting: dict[str, bool] = {}

    def hear(self, event: Event) -> None:
        from tierwise.search import Bought, Finished, Remarked, Started

        took = f"{time.monotonic() - self._start:6.1f} s"
        if isinstance(event, Started):
            say(f"{took}  {event.tier}: {event.stage}")
        elif isinstance(event, Remarked):
            say(f"{took}  {event.tier}: {event.text}")
        elif isinstance(event, Finished):
            say(f"{took}  {event.tier}: {printable(event.message, one_line=True) or 'done'}")
        elif isinstance(event, Bought):
            waiting = event.progress.waiting
            if bool(waiting) != self._waiting.get(event.tier, False):  # once an outage
                say(f"{took}  {event.tier}: {waiting or 'answers again'}")
            self._waiting[event.tier] = bool(waiting)


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
    waiting: str = ""


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
        from tierwise.search import Best, Bought, Finished, Remarked, Started

        if isinstance(event, Remarked):  # above the board, where it stays
            self._console.print(f"{event.tier}: {event.text}", style="yellow", highlight=False)
            return

        with self._lock:
            row = self.rows.setdefault(event.tier, _Row())
            if isinstance(event, Started):
                row.stage, row.done, row.planned, row.rate = event.stage, 0, 0, 0.0
                row.since = time.monotonic()
            elif isinstance(event, Bought):
                row.done, row.planned = event.progress.samples_done, event.progress.samples_planned
                row.calls, row.usd, row.waiting = event.calls, event.usd, event.progress.waiting
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
        from rich.text import Text

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
                best = row.waiting or (f"{row.best}  {row.recipe}" if wide else row.best)
                # As texts, for which square brackets in a name are no markup.
                texts = [
                    Text(printable(c, one_line=True)) if isinstance(c, str) else c
                    for c in (*shown, best)
                ]
                table.add_row(*texts)
        return table
