"""``tierwise plan [JOB.yaml]``: what a job would buy and cost."""

from __future__ import annotations

import sys
from typing import Any

import click

from tierwise.cli._job import asked, job_options

BUDGET_TOO_SMALL = 3


@click.command("plan")
@job_options
@click.option("--dry", is_flag=True, help="As always: nothing is bought by a plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def command(
    job: str | None, dry: bool, as_json: bool, as_csv: bool, tiers: dict[str, str], **options: Any
) -> None:
    """Say what `tierwise tune` with the same options would buy: no call is made.

    For each tier and stage: arms, draws, calls, tokens and dollars, as expected and at worst, and
    what the budget cuts. Exits with 3 where a budget is too small for the smallest search.
    """
    from tierwise.cli._plan import COLUMNS, remarks, rows, show
    from tierwise.search.plan import plan
    from tierwise.search.tune import prepare

    found = plan(prepare(asked(job, tiers, options)))
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
