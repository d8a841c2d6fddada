"""``tierwise check PATH``: every fault, with file, line and what would be right; and notes."""

from __future__ import annotations

import json

import click


@click.command("check")
@click.argument("path", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def command(path: str, as_json: bool) -> None:
    """Check a task, prompt file, search space, job or policy at PATH.

    Exits with 2 where there are faults. Of a job it also says what a tier will go without: signals
    and strategies that read log-probabilities, where the provider returns none.
    """
    from tierwise.runs import check, job_notes

    faults = check(path)
    notes = [] if faults else job_notes(path)
    if as_json:
        rows = [
            {"kind": "fault", "path": str(f.path or path), "line": f.line, "message": f.message}
            for f in faults
        ]
        rows += [{"kind": "note", "path": path, "line": None, "message": n} for n in notes]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for fault in faults:
            click.echo(str(fault), err=True)
        if not faults:
            click.echo(f"{path}: no faults")
        for note in notes:
            click.echo(f"note: {note}")
    if faults:
        raise SystemExit(2)
