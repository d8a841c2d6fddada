"""``tierwise pool``: stored completions."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import ANY_PATH, FILE_PATH, plain_table
from tierwise.errors import printable

if TYPE_CHECKING:
    from tierwise.pool.maintenance import Rewritten

_DAMAGED = 1

_path = click.argument("path", type=ANY_PATH)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("pool")
def command() -> None:
    """Look at stored completions, check them, and move them.

    PATH is a pool.sqlite or a run directory.
    """


@command.command("check")
@_path
@_json
def _check(path: Path, as_json: bool) -> None:
    """Say whether a pool is as it was stored; exit 1 where it is not."""
    from tierwise.pool.maintenance import check_pool

    file = _file(path)
    damage = check_pool(file)
    rows = sum(damage.rows.values())
    if as_json:
        found = {"sound": damage.sound, "structure": damage.structure, "rows": dict(damage.rows)}
        click.echo(json.dumps(found, indent=2))
    elif damage.sound:
        click.echo(f"{file} is sound")
    else:
        for line in (*damage.structure, *damage.examples):
            click.echo(printable(line))
        if rows:
            said = ", ".join(f"{n} of {table}" for table, n in damage.rows.items())
            click.echo(f"{rows} rows are not as they were stored ({said})")
        click.echo(
            f"`tierwise pool salvage {path}` keeps the rest; what is lost is bought again by the "
            "next run"
        )
    if not damage.sound:
        raise SystemExit(_DAMAGED)


@command.command("salvage")
@_path
def _salvage(path: Path) -> None:
    """Make a damaged pool anew from all rows that are as they were stored."""
    from tierwise.pool.maintenance import salvage_pool

    _say(salvage_pool(_file(path)))


@command.command("gc")
@_path
@click.option("--drop-model", default="", metavar="MODEL", help="Forget this model's completions.")
def _collect(path: Path, drop_model: str) -> None:
    """Make a pool smaller: drop requests that brought nothing and failures that were made good."""
    from tierwise.pool.maintenance import collect_garbage

    file = _file(path)
    before = file.stat().st_size if file.exists() else 0
    _say(collect_garbage(file, drop_model))
    click.echo(f"{before / 1e6:.1f} MB before, {file.stat().st_size / 1e6:.1f} MB now")


@command.command("export")
@_path
@click.argument("out", type=FILE_PATH)
@click.option("--model", default="", help="Only this model's completions.")
def _export(path: Path, out: Path, model: str) -> None:
    """Write all completions to OUT, a JSONL (or .jsonl.gz): a line each, with its exact request.

    Of a run directory it is a recording too: with its items, and the names of prompts and modes, so
    that a tier's `recordings:` can be this file.
    """
    from tierwise.pool import RunDir, SamplePool
    from tierwise.pool.maintenance import export_lines
    from tierwise.runs.tiers import request_names

    names = request_names(RunDir.open(path)) if path.is_dir() else {}
    with SamplePool.open(_file(path), read_only=True) as pool:
        n = export_lines(pool, out, model, names)
        unnamed = sum(r[0] not in names for r in pool.requests(model)) if names else 0
    click.echo(f"{n:,} completions in {out}")
    if unnamed:
        click.echo(
            f"{unnamed:,} requests are no first turn of the run's variants: `pool import` reads "
            "them, and a recording leaves them out"
        )


class _ImportCommand(click.Command):
    """A command whose help names the tools that logs are read of, when it is shown."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """With the names in the place of TOOLS: they are not imported before somebody asks."""
        from tierwise.runs.imports.logs import READERS

        *names, last = READERS
        self.help = str(self.help).replace("TOOLS", "|".join(READERS))
        for param in self.params:
            if isinstance(param, click.Option) and param.help:
                param.help = param.help.replace("TOOLS", f"{', '.join(names)} or {last}")
        super().format_help(ctx, formatter)


@command.command("import", cls=_ImportCommand)
@click.argument("paths", nargs=-1, required=True, metavar="PATH FILE", type=ANY_PATH)
@click.option("--from", "kind", help="FILES are logs of another tool: TOOLS.")
@click.option("--out", type=ANY_PATH, help="With --from: the folder to write.")
@click.option("--score", help="With --from: which of the log's scores counts.")
@click.option("--items", type=ANY_PATH, help="With --from litellm: your items.")
@click.option("--input", "inputs", multiple=True, help="A column of --items that prompts use.")
@click.option("--target", default="target", help="The column of the right answers in --items.")
def _import(
    paths: tuple[Path, ...],
    kind: str | None,
    out: Path | None,
    score: str | None,
    items: Path | None,
    inputs: tuple[str, ...],
    target: str,
) -> None:
    """Take in what `pool export` wrote, or, with --from, the logs of another tool.

    \b
    tierwise pool import POOL FILE
    tierwise pool import --from TOOLS FILE… --out FOLDER

    A sample that is there already stays as it is. Of logs a folder is made with a recording, its
    task and a job, which `tierwise tune FOLDER/job.yaml` tunes without a call.
    """
    if kind is not None:
        from tierwise.runs.imports.logs import LogOptions, import_logs

        if out is None:
            raise click.UsageError("--from needs the folder to write: --out FOLDER")
        options = LogOptions(score, items, inputs, target)
        made = import_logs(kind, paths, out, options)
        click.echo(f"{made.items:,} items, samples of them:")
        for variant, n in made.samples.items():
            click.echo(f"  {variant}: {n:,}")
        for note in made.notes:
            click.echo(f"note: {printable(note)}")
        click.echo(f"\ntierwise tune {made.job}")
        return
    from tierwise.pool import SamplePool
    from tierwise.pool.maintenance import load_lines

    if len(paths) != 2:
        raise click.UsageError("name a pool and a file, or the tool of the logs by --from")
    path, file = paths
    with SamplePool.open(_file(path)) as pool:
        new, there = load_lines(pool, file)
    click.echo(f"{new:,} completions are new, {there:,} were there")


def _file(path: Path) -> Path:
    return path / "pool.sqlite" if path.is_dir() else path


def _say(rewritten: Rewritten) -> None:
    kept, dropped, old = rewritten
    click.echo(f"{kept['samples']:,} samples of {kept['requests']:,} requests are kept")
    lost = {table: n for table, n in dropped.items() if n}
    if lost:
        click.echo("left out: " + ", ".join(f"{n:,} of {table}" for table, n in lost.items()))
    click.echo(f"the pool as it was: {old}")


@command.command("stats")
@_path
@_json
def _stats(path: Path, as_json: bool) -> None:
    """Count what a pool holds."""
    from tierwise.pool import SamplePool

    file = _file(path)
    with SamplePool.open(file, read_only=True) as pool:
        found = pool.overview()
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    from rich.console import Console

    from tierwise.pool.reading import ModelOverview

    _, *counts = (field.name for field in fields(ModelOverview))
    table = plain_table("model", *(f"{name.replace('_', ' ')}>" for name in counts))
    for row in found.models:
        table.add_row(row.model, *(f"{getattr(row, name):,}" for name in counts))
    console = Console()
    console.print(table)
    if found.possibly_billed.calls:
        from tierwise.cli._results import possibly_billed

        said = possibly_billed(found.possibly_billed)
        console.print(said, style="yellow", highlight=False)
    console.print(
        f"spent ${found.usd:.4g} in {found.calls:,} calls · test split looked at "
        f"{found.looks} times · {file.stat().st_size / 1e6:.1f} MB",
        style="dim",
        highlight=False,
    )
