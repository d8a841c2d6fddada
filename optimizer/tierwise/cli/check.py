"""``tierwise check PATH``: every fault, with file, line and what would be right."""

from __future__ import annotations

import click


@click.command("check")
@click.argument("path", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def command(path: str, as_json: bool) -> None:
    """Check a task, prompt file, search space, job or policy at PATH.

    Exits with 2 where there are faults.
    """
    from tierwise.content import check

    faults = check(path)
    if as_json:
        import json

        rows = [{"path": str(f.path or path), "line": f.line, "message": f.message} for f in faults]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for fault in faults:
            click.echo(str(fault), err=True)
        if not faults:
            click.echo(f"{path}: no faults")
    if faults:
        raise SystemExit(2)
