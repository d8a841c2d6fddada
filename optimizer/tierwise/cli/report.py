"""``tierwise report RUN_DIR``: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from tierwise.cli._shared import FILE_PATH, FOLDER_PATH


@click.command("report")
@click.argument("run_dir", type=FOLDER_PATH)
@click.option("--out", type=FILE_PATH, help="The file; left out: report.html in RUN_DIR.")
def command(run_dir: Path, out: Path | None) -> None:
    """Write what the run in RUN_DIR found as one HTML file that needs nothing else.

    It reads the run directory and buys nothing. What is missing there is said, and the rest shown.
    """
    from tierwise.report.html import write_report

    click.echo(write_report(run_dir, out))
