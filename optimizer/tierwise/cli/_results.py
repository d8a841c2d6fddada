"""What a finished run shows: a table of tiers, their recipes in words, and where the files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tierwise.search import TuneResult


def show(result: TuneResult, *, quiet: bool = False, as_json: bool = False) -> None:
    """Print the summary of a run."""
    if as_json:
        click.echo(json.dumps(result.summary, indent=2, ensure_ascii=False))
        return
    if quiet:
        for name in result.policies:
            click.echo(result.run.policies / f"{name}.yaml")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_tiers(result.summary))
    for name, tier in result.summary["tiers"].items():
        console.print()
        console.print(Text(name, style="bold"), verdict(tier), sep="  ", soft_wrap=True)
        for line in in_words(tier):
            console.print(Text(f"  {line}"), soft_wrap=True)
    for name, error in result.failed.items():
        console.print(f"\n[bold red]{name}[/] failed: ", Text(str(error)), sep="")
    nominal = all(f.tier.price.nominal for f in result.policies.values())
    items = next(iter(result.summary["tiers"].values()))["items"]["test"]
    console.print(
        f"\nScores are of {items} held-out items, with 95% intervals; "
        + ("dollars are nominal (parameters × tokens)." if nominal else "dollars as priced."),
        style="dim",
    )
    console.print(f"policies   {result.run.policies}/", style="dim")
    console.print(f"summary    {result.run.summary}", style="dim")
    console.print(f"trials     {result.run.path / 'trials.csv'}", style="dim")
    first = next(iter(result.policies), None)
    if first:
        path = result.run.policies / f"{first}.yaml"
        console.print(f'try        tierwise run {path} --input "…"', style="dim")


def _tiers(summary: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("tier", "today's prompt", "policy", "difference", "cost", "draws", "gate"):
        table.add_column(name, justify="left" if name in ("tier", "gate") else "right")
    for name, tier in summary["tiers"].items():
        point = exported(tier)
        against = tier["operating_points"][tier["chosen"]]["against_baseline"]
        table.add_row(
            name, scored(tier["baseline"]), scored(point),
            signed(against), f"×{point['usd_per_item'] / tier['baseline']['usd_per_item']:.2g}",
            f"{point['draws_per_item']:.1f}",
            "[green]passed[/]" if tier["gate"] == "passed" else "[yellow]not passed[/]",
        )  # fmt: skip
    return table


def exported(tier: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was exported: the chosen point where it passed the gate, else the baseline."""
    point: Mapping[str, Any] = tier["operating_points"][tier["chosen"]]
    return point if tier["gate"] == "passed" else tier["baseline"]


def scored(got: Mapping[str, Any]) -> str:
    """``.812 [.78, .84]``."""
    low, high = got["score_ci95"]
    return f"{got['score']:.3f} [{low:.2f}, {high:.2f}]"


def signed(against: Mapping[str, Any]) -> str:
    """``+.031 [+.01, +.05]``."""
    low, high = against["score_difference_ci95"]
    return f"{against['score_difference']:+.3f} [{low:+.2f}, {high:+.2f}]"


def verdict(tier: Mapping[str, Any]) -> str:
    """One sentence on what came of a tier."""
    point = tier["operating_points"][tier["chosen"]]
    against = point["against_baseline"]
    low, high = (100 * v for v in against["score_difference_ci95"])
    gain, ratio = 100 * against["score_difference"], against["cost_ratio"]
    if tier["gate"] != "passed":
        return (
            "today's prompt stays: the best policy found "
            f"({gain:+.1f} points [{low:+.1f}, {high:+.1f}] at ×{ratio:.2g} the cost) was not "
            "shown to be better, or as good and cheaper"
        )
    dearer = f"×{ratio:.2g} the cost"
    if low > 0:
        return f"{gain:+.1f} points [{low:+.1f}, {high:+.1f}] over today's prompt, at {dearer}"
    return f"as good as today's prompt ({gain:+.1f} points [{low:+.1f}, {high:+.1f}]), at {dearer}"


def in_words(tier: Mapping[str, Any]) -> list[str]:
    """The recipe of each bucket in words."""
    point = tier["operating_points"][tier["chosen"]]
    if tier["gate"] != "passed":
        return [f"{tier['baseline']['policy']}"]
    lines = []
    names = bucket_names(len(point["buckets"]))
    for name, bucket in zip(names, point["buckets"], strict=True):
        arms = " and ".join(bucket["arms"])
        who = f"{name} ({bucket['share']:.0%})" if len(names) > 1 else "every item"
        lines.append(f"{who}: {arms}, {bucket['strategy']}")
    if len(names) > 1:
        cuts = ", ".join(f"{cut:.3g}" for cut in point["thresholds"])
        lines.append(f"told apart by {point['signal']}, cut at {cuts} (higher is easier)")
    return lines


def bucket_names(n: int) -> list[str]:
    """easy, (medium,) hard."""
    known = {1: ["all"], 2: ["easy", "hard"], 3: ["easy", "medium", "hard"]}
    return known.get(n, [f"b{i + 1}" for i in range(n)])
