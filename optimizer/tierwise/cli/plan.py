"""``tierwise plan [JOB.yaml]``: what a job would buy and cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tierwise.cli._job import asked, job_options, run_folder, run_options

BUDGET_TOO_SMALL = 3


@click.command("plan")
@job_options
@run_options
@click.option(
    "--calibrate/--dry",
    "calibrating",
    default=None,
    help="Make the search's first few calls, to know how long answers are; or none. Left out: asks "
    "on a terminal, else none.",
)
@click.option("--yes", is_flag=True, help="Do not ask before calls that cost money.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def command(
    job: str | None,
    out: Path | None,
    resume: bool,
    calibrating: bool | None,
    yes: bool,
    as_json: bool,
    as_csv: bool,
    tiers: dict[str, str],
    **options: Any,
) -> None:
    """Say what `tierwise tune` with the same options would buy, before it does.

    For each tier and stage: variants, samples, calls, tokens, dollars and minutes, as expected and at
    worst, what the budget cuts, and what a smaller one would give up. Where the run has begun
    already, what is left. A few calibration calls, the first that the search would make and kept
    for it, say how long answers are. Exits with 3 where a budget is too small for the smallest
    search.
    """
    from tierwise.cli._calibrate import calibrated
    from tierwise.cli._plan import COLUMNS, giving_up, planned, remarks, rows, show, show_sizes
    from tierwise.runs.calibrate import timed
    from tierwise.runs.plan import sizes
    from tierwise.runs.prepare import prepare

    wanted = asked(job, tiers, options)
    prepared, folder = prepare(wanted), run_folder(out, wanted)
    paces = calibrated(prepared, folder, wanted=calibrating, yes=yes, resume=resume)
    found = timed(planned(prepared, folder, resume=resume), paces)
    smaller = sizes(prepared, found)
    if as_json:
        import json

        shown = {
            "stages": rows(found),
            "smaller": giving_up(smaller),
            "remarks": remarks(found),
            "paid": list(found.paid),
        }
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif as_csv:
        import csv

        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(found))
    else:
        show(found)
        show_sizes(smaller)
    if any(tier.fault for tier in found.tiers.values()):
        raise SystemExit(BUDGET_TOO_SMALL)
