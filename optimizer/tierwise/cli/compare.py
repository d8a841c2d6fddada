"""``tierwise compare RUN_DIR``: tiers side by side."""

from __future__ import annotations

from pathlib import Path

import click

SECTIONS = ("prompts", "recipes", "gains", "transfer", "difficulty", "equal_dollars")


@click.command("compare")
@click.argument("run_dir", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--section", "sections", multiple=True, type=click.Choice(SECTIONS),
    help="Only this part; repeat for more.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a section as CSV (prompts, if not said)."
)
def command(run_dir: Path, sections: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    """Compare the tiers of RUN_DIR, from its own files alone.

    Every prompt on every tier with its interval, each tier's recipe, what each freedom adds, the
    policies on each other's tiers, and what a dearer tier's single call is worth.
    """
    from tierwise.errors import InputError
    from tierwise.reporting import compare, load_run

    if as_csv and len(sections) > 1:
        raise InputError("--csv prints one table: give one --section")
    chosen = sections or (("prompts",) if as_csv else SECTIONS)
    run = load_run(run_dir)
    frames = {name: frame for name, frame in compare(run).items() if name in chosen}
    if as_csv:
        click.echo(frames[chosen[0]].to_csv(index=False, lineterminator="\n"), nl=False)
    elif as_json:
        import json

        shown = {n: json.loads(f.to_json(orient="records")) for n, f in frames.items()}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        from tierwise.cli._compare import show

        show(run, frames)
