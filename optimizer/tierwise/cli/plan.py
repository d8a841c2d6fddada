"""``tierwise plan [JOB.yaml]``: what a job would buy and cost."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tierwise.cli._shared import asked, job_options, run_folder, run_options
from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.runs.calibrate import Pace
    from tierwise.runs.plan import Plan
    from tierwise.runs.prepare import Prepared

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

    For each tier and stage: variants, samples, calls, tokens, dollars and minutes, as expected and
    at worst, what the budget cuts, and what a smaller one would give up. Where the run has begun
    already, what is left. A few calibration calls, the first that the search would make and kept
    for it, say how long answers are. Exits with 3 where a budget is too small for the smallest
    search.
    """
    from tierwise.cli._plan import PlanRow, planned, remarks, rows, show, show_sizes
    from tierwise.runs.calibrate import timed
    from tierwise.runs.plan import sizes
    from tierwise.runs.prepare import prepare

    wanted = asked(job, tiers, options)
    prepared, folder = prepare(wanted), run_folder(out, wanted)
    paces = _calibrated(prepared, folder, wanted=calibrating, yes=yes, resume=resume)
    found = timed(planned(prepared, folder, resume=resume), paces)
    smaller = sizes(prepared, found)
    if as_json:
        from tierwise.schema.result import to_data

        shown = {
            "stages": [asdict(row) for row in rows(found)],
            "smaller": [
                {
                    "budget_usd": size.budget_usd,
                    "expected_usd": size.expected_usd,
                    **size.items,
                    "tells": size.tells,
                }
                for size in smaller
            ],
            "remarks": remarks(found),
            "headroom": {name: to_data(pace.headroom) for name, pace in paces.items()},
            "paid": list(found.paid),
        }
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif as_csv:
        columns = [field.name for field in fields(PlanRow)]
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows(found))
    else:
        show(found)
        show_sizes(smaller)
        for name, pace in paces.items():
            click.echo(f"{name}: {pace.headroom.said}")
    if any(tier.fault for tier in found.tiers.values()):
        raise SystemExit(BUDGET_TOO_SMALL)


def _calibrated(
    prepared: Prepared, folder: Path, *, wanted: bool | None, yes: bool, resume: bool
) -> dict[str, Pace]:
    """The pace of the tiers that were called; none where nobody wanted calls.

    Money is asked about, and nothing is bought where nobody can be asked.

    Raises:
        InputError: calls were wanted, and the folder holds another job; or they cost money, and
            nobody is there to be asked.
    """
    from tierwise.runs.calibrate import ITEMS, calibrate
    from tierwise.runs.plan import at_lengths_seen, plan, plan_file
    from tierwise.runs.prepare import addresses_of
    from tierwise.search import RunDir

    if wanted is False or (wanted is None and not sys.stdin.isatty()):
        return {}
    whole = plan(prepared)
    known = RunDir.of(folder, prepared.job) if resume else None
    names = [n for n in prepared.tiers if whole.tiers[n].stages and not whole.tiers[n].fault]
    if not names or (wanted is None and known is not None):  # its samples say what is to be known
        return {}
    try:
        RunDir.check(folder, prepared.job, addresses_of(prepared))
    except InputError:
        if wanted is None:
            return {}
        raise
    if not _allowed([n for n in names if whole.tiers[n].paid], whole, ITEMS, wanted, yes=yes):
        return {}
    with RunDir.started(
        folder, prepared.job, fresh=not resume, addresses=addresses_of(prepared)
    ) as run:
        paces = calibrate(prepared, run, names)
        if not run.plan.exists():
            run.write_json(run.plan.name, plan_file(at_lengths_seen(whole, run)))
    return paces


def _allowed(paid: list[str], whole: Plan, items: int, wanted: bool | None, *, yes: bool) -> bool:
    if (not paid and wanted) or yes:
        return True
    if not paid:
        question = (
            "Make the search's first few calls, to know how long answers are? (They are kept.)"
        )
        return click.confirm(question, default=True, err=True)
    usd = [0.0, 0.0]
    for name in paid:
        screen = whole.tiers[name].stages[0]
        part = items / max(screen.items, 1)
        usd = [usd[0] + screen.expected.usd * part, usd[1] + screen.worst.usd * part]
    said = f"about ${usd[0]:.2g}, at worst ${usd[1]:.2g}, on {', '.join(paid)}"
    if not sys.stdin.isatty():
        raise InputError(
            f"calibration calls cost money ({said}); add --yes to make them, or --dry for none"
        )
    return click.confirm(
        f"Make the search's first few calls ({said})? They are kept for it.", err=True
    )
