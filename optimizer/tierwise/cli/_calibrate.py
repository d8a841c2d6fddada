"""Whether a plan may make a few calls, and the calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.runs.calibrate import Pace
    from tierwise.runs.prepare import Prepared


def calibrated(
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
    run = RunDir.start(folder, prepared.job, fresh=not resume, addresses=addresses_of(prepared))
    paces = calibrate(prepared, run, names)
    if not run.plan.exists():
        run.write_json(run.plan.name, plan_file(at_lengths_seen(whole, run)))
    return paces


def _allowed(paid: list[str], whole: object, items: int, wanted: bool | None, *, yes: bool) -> bool:
    from tierwise.runs.plan import Plan

    assert isinstance(whole, Plan)
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
