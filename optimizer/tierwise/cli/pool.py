"""``tierwise pool``: stored completions."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("pool")
def command() -> None:
    """Look at stored completions."""


@command.command("stats")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def stats(path: Path, as_json: bool) -> None:
    """Count what a pool holds; PATH is a pool.sqlite or a run directory."""
    import json

    from tierwise.pool import SamplePool

    file = path / "pool.sqlite" if path.is_dir() else path
    with SamplePool.open(file, read_only=True) as pool:
        rows = pool.overview()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("model", "requests", "samples", "failures", "prompt tokens", "completion tokens"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows["models"]:
        numbers = [
            f"{row[k]:,}"
            for k in ("requests", "samples", "failures", "prompt_tokens", "completion_tokens")
        ]
        table.add_row(row["model"], *numbers)
    console = Console()
    console.print(table)
    if rows["possibly_billed"]["calls"]:
        from tierwise.cli._results import possibly_billed

        console.print(possibly_billed(rows["possibly_billed"]), style="yellow", highlight=False)
    console.print(
        f"spent ${rows['usd']:.4g} in {rows['calls']:,} calls · test split looked at "
        f"{rows['looks']} times · {file.stat().st_size / 1e6:.1f} MB",
        style="dim",
        highlight=False,
    )
