"""``tierwise init NAME``: a task's folder to begin with."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("name")
@click.option("--from", "source", default="_template", help="A shipped task, such as gsm8k.")
@click.option(
    "--items",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your items (.csv, .jsonl, .json), copied into the folder.",
)
@click.option("--input", "inputs", multiple=True, help="A column that prompts use; repeatable.")
@click.option("--target", help="The column of the right answers.")
def command(
    name: str, source: str, items: Path | None, inputs: tuple[str, ...], target: str | None
) -> None:
    """Make tasks/NAME: task.yaml, prompts.yaml, items and a README that explains them.

    Without --items there is a sample, which the embedded tiers can be tuned on at once. Nothing is
    overwritten.
    """
    from tierwise.content.scaffold import scaffold

    made = scaffold(name, source=source, items=items, inputs=inputs, target=target)
    for path in sorted(made.iterdir()):
        click.echo(str(path))
    click.echo(f"\nread {made / 'README.md'}, then:")
    click.echo(f"  tierwise check {made}")
    click.echo(f"  tierwise tune --task {name} --tier NAME=MODEL")
