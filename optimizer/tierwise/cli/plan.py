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
@click.option("--dry", is_flag=True, help="As always: nothing is bought by a plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def command(
    job: str | None, out: Path | None, resume: bool, dry: bool, as_json: bool, as_csv: bool,
    tiers: dict[str, str], **options: Any,
) -> None:  # fmt: skip
    """Say what `tierwise tune` with the same options would buy: no call is made.

    For each tier and stage: arms, draws, calls, tokens and dollars, as expected and at worst, and
    what the budget cuts. Where the run has begun already, what is left. Exits with 3 where a budget
    is too small for the smallest search.
    """
    from tierwise.cli._plan import COLUMNS, planned, remarks, rows, show
    from tierwise.search.tune import prepare

    wanted = asked(job, tiers, options)
    found = planned(prepare(wanted), run_folder(out, wanted), resume=resume)
    if as_json:
        import json

        shown = {"stages": rows(found), "remarks": remarks(found), "paid": list(found.paid)}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif as_csv:
        import csv

        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(found))
    else:
        show(found)
    if any(tier.fault for tier in found.tiers.values()):
        raise SystemExit(BUDGET_TOO_SMALL)
