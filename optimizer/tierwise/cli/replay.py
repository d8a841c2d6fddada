"""``tierwise replay RUN_DIR``: from the pool alone."""

from __future__ import annotations

from pathlib import Path

import click

from tierwise.cli._shared import FOLDER_PATH, run_code_option


@click.command("replay")
@click.argument("run_dir", type=FOLDER_PATH)
@run_code_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Print only where the files are.")
def command(run_dir: Path, as_json: bool, quiet: bool) -> None:
    """Rebuild policies, summary and report of RUN_DIR from its pool: the same bytes, no call."""
    from tierwise.cli._progress import listening
    from tierwise.cli._results import show_results
    from tierwise.report.html import write_report
    from tierwise.runs.tune import replay

    with listening((), quiet=quiet or as_json) as listener:
        result = replay(run_dir, listener=listener)
    write_report(result.run.path)
    show_results(result, quiet=quiet, as_json=as_json)
