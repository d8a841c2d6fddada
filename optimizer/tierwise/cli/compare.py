"""``tierwise compare RUN_DIR``: tiers side by side."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("compare")
@click.argument("run_dir", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--section", "names", multiple=True, metavar="NAME",
    help="Only this part, such as prompts or frontier; repeat for more.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a section as CSV (prompts, if not said)."
)
def command(run_dir: Path, names: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    """Compare the tiers of RUN_DIR, from its own files alone.

    Each tier's recipe, every prompt on every tier with its interval, what thinking, votes and
    buckets add, the cheapest tier for each score, the policies on each other's tiers, and how much
    the wording matters. What is missing in RUN_DIR is said, and the rest shown.
    """
    from tierwise.errors import InputError, unknown_name
    from tierwise.reporting import SECTIONS, compared, frames, read

    for name in names:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    if as_csv and len(names) > 1:
        raise InputError("--csv prints one table: give one --section")
    run = read(run_dir)
    rows = compared(run, names or (("prompts",) if as_csv else ()))
    said = [*run.missing, *(f"{tier} failed: {why}" for tier, why in run.failed.items())]
    if as_csv or as_json:
        for sentence in said:
            click.echo(sentence, err=True)
    if as_csv:
        (table,) = frames(rows).values()
        click.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    elif as_json:
        import json

        plain = {n: json.loads(f.to_json(orient="records")) for n, f in frames(rows).items()}
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        from tierwise.cli._compare import show

        show(SECTIONS, rows, said)
