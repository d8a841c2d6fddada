"""Pictures of what `tierwise tune` shows, from a real run: the live board, and what is printed.

    .venv/bin/python tools/pictures/tune.py

Tunes the three embedded tiers and writes docs/images/tune_board.svg, docs/images/tune_result.svg
and docs/policy_example.yaml, which the pages explain (their test says which lines no longer are
those of the file). No network, one or two minutes.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from tierwise.cli._progress import Board
from tierwise.cli._results import show_results
from tierwise.runs.tune import tune
from tierwise.schema import default_job
from tierwise.search import Bought, Event

DOCS = Path(__file__).parents[2] / "docs"
RUN = Path("runs/arithmetic")
WIDTH = 116


def main() -> None:
    job = default_job()
    board = Board(tuple(job.tiers), console=recorder())
    shots: list[Console] = []

    def listen(event: Event) -> None:
        board.hear(event)
        if not shots and isinstance(event, Bought) and worth_a_picture(board):
            shots.append(recorder())
            shots[0].print(board.table())

    result = tune(job, RUN, listener=listen)
    if not shots:
        raise SystemExit(
            "no tier was still buying once all had a policy: run it on a quieter machine"
        )
    last = recorder()
    show_results(result, console=last)
    shutil.copyfile(RUN / "policies" / "small.yaml", DOCS / "policy_example.yaml")
    (DOCS / "images").mkdir(exist_ok=True)
    for console, name, title in (
        (shots[0], "tune_board", "tierwise tune, under way"),
        (last, "tune_result", "tierwise tune, done"),
    ):
        picture = DOCS / "images" / f"{name}.svg"
        picture.write_text(without_web_fonts(console, title), encoding="utf-8")
        print(picture)


def worth_a_picture(board: Board) -> bool:
    """Every tier has a best policy so far, and one is still buying."""
    rows = board.rows.values()
    return all(row.best for row in rows) and any(row.planned > row.done for row in rows)


def recorder() -> Console:
    return Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False
    )


def without_web_fonts(console: Console, title: str) -> str:
    """Rich's SVG asks the web for a font; the reader's own monospaced one does as well."""
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI)
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", svg.replace("Fira Code", "ui-monospace"), flags=re.MULTILINE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the paths that are shown are short
        main()
