"""What a finished run shows: a table of tiers, their recipes in words, and where the files are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import console as new_console
from tierwise.cli._shared import plain_table
from tierwise.report import text as n
from tierwise.report.text import recipe_in_words
from tierwise.schema.measured import NONE_FAILED, BucketSummary, Measured, Paired
from tierwise.schema.policy import bucket_names
from tierwise.schema.result import TierSummary, UsageTotals, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tierwise.runs.tune import TuneResult
    from tierwise.schema import Policy

_SCORES = ("baseline prompt>", "policy found>", "difference>", "cost>")
_NARROWER = (
    ("tier", *_SCORES, "samples>", "gate"),
    ("tier", *_SCORES, "gate"),
    ("tier", *_SCORES[1:], "gate"),
    ("tier", "difference>", "gate"),
)
"""Sets of columns, from the widest: the first that fits is shown, so that no number is broken."""


def show_results(
    result: TuneResult,
    *,
    quiet: bool = False,
    as_json: bool = False,
    console: Console | None = None,
) -> None:
    """Print the summary of a run."""
    if as_json:
        click.echo(to_json(result.summary), nl=False)
        return
    if quiet:
        for name in result.policies:
            click.echo(result.run.policies / f"{name}.yaml")
        return
    from rich.padding import Padding
    from rich.text import Text

    from tierwise.stats.intervals import SMALL_SAMPLE

    console = console or new_console()
    tiers = result.summary.tiers
    console.print(fitting_table(tiers, console))
    for name, tier in tiers.items():
        found = result.found[name]
        taken = found.points[found.chosen].policy if tier.exports_chosen else found.baseline
        console.print()
        console.print(Text.assemble((name, "bold"), "  ", verdict(tier)))
        for what, got in (("baseline prompt", tier.baseline), ("policy found", tier.chosen)):
            if got.failed != NONE_FAILED:  # in a line, since a narrow table leaves columns out
                line = f"{what}: {scored(got)} on {got.items} items"
                console.print(Padding(Text(line), (0, 0, 0, 2)), style="yellow")
        for line in in_words(taken, tier.chosen.buckets):
            console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
        for when, said in (("at the screening", tier.headroom.said), ("at the end", tier.end.said)):
            console.print(Padding(Text(f"{when}: {said}"), (0, 0, 0, 2)), style="dim")
        for remark in tier.remarks:
            console.print(Padding(Text(remark), (0, 0, 0, 2)), style="yellow")
        if possibly := tier.possibly_billed:
            console.print(Padding(Text(possibly_billed(possibly)), (0, 0, 0, 2)), style="yellow")
    for name, error in result.failed.items():
        console.print(f"\n[bold red]{name}[/] failed: ", Text(str(error)), sep="")
        console.print("  its samples are kept: the same command tries this tier again")
    simulated = all(f.tier.price.simulated for f in result.policies.values())
    first = next(iter(tiers.values()))
    items, split = first.chosen.items, "held-out" if first.items.test else "validation"
    few = " (a small sample)" if items < SMALL_SAMPLE else ""
    console.print(
        f"\nScores: {items} {split} items{few}, 95% intervals. Cost: against the baseline prompt, "
        + (
            "in simulated dollars (computed from parameter and token counts)."
            if simulated
            else "in dollars at the tiers' prices."
        )
        + " A variant is prompt/mode/temperature.",
        style="dim",
    )
    for what, where in _files(result):
        console.print(f"{what:<10} {where}", style="dim", soft_wrap=True)


def fitting_table(tiers: Mapping[str, TierSummary], console: Console) -> Table:
    """A row a tier, with the most columns that fit ``console``."""
    anything = console.options.update(width=1000)
    for columns in _NARROWER:
        table = _table(tiers, columns)
        if console.measure(table, options=anything).maximum <= console.width:
            break
    return table


def _table(tiers: Mapping[str, TierSummary], columns: Sequence[str]) -> Table:
    table = plain_table(*columns, no_wrap=True)
    for name, tier in tiers.items():
        against = tier.chosen.against_baseline
        cells = {
            "tier": name,
            "baseline prompt>": scored(tier.baseline),
            "policy found>": scored(tier.chosen),
            "difference>": signed(against),
            "cost>": n.ratio(against.cost_ratio),
            "samples>": f"{tier.chosen.samples_per_item:.1f}",
            "gate": f"[{'green' if tier.passed else 'yellow'}]{tier.gate}[/]",
        }
        table.add_row(*(cells[column] for column in columns))
    return table


def scored(got: Measured) -> str:
    """``0.812 [0.78, 0.84]``, and how many items failed, where some did."""
    return n.beside(f"{got.score:.3f} {_ends(got.score_ci95, '.2f')}", got.failed)


def signed(against: Paired) -> str:
    """``+0.031 [+0.01, +0.05]``."""
    return f"{against.score_difference:+.3f} {_ends(against.score_difference_ci95, '+.2f')}"


def _ends(interval: Sequence[float | None], form: str, scale: float = 1.0) -> str:
    """``[low, high]``, or ``[?, ?]`` where the items are too few for an interval."""
    return f"[{', '.join('?' if v is None else format(scale * v, form) for v in interval)}]"


def verdict(tier: TierSummary) -> str:
    """One sentence on what came of a tier."""
    against = tier.chosen.against_baseline
    low, cost = against.score_difference_ci95[0], n.ratio(against.cost_ratio)
    ends = _ends(against.score_difference_ci95, "+.1f", 100)
    points = f"{n.points(against.score_difference)} points {ends}"
    alone = low is not None and low > 0
    if tier.exports_chosen and not tier.passed:
        return (
            f"exported as asked (gate: advise), not proven: {points} against the baseline prompt, "
            f"{cost} the cost"
        )
    if not tier.passed:
        return (
            f"the baseline prompt stays: the best policy found ({points}, {cost} the cost) was "
            "not shown to be better, or as good and cheaper"
            + (", once corrected for all comparisons of this job" if alone else "")
        )
    if alone:
        return f"{points} over the baseline prompt, {cost} the cost"
    return f"as good as the baseline prompt ({points}), {cost} the cost"


def possibly_billed(most: UsageTotals) -> str:
    """What a provider may have billed without an answer that arrived."""
    return (
        f"possibly billed beside: {most.calls:,} call{'s'[: most.calls != 1]} without an answer "
        f"(time-outs, cuts, errors), at most {most.tokens:,} tokens, ${most.usd:.2g}"
    )


def in_words(policy: Policy, buckets: Sequence[BucketSummary]) -> list[str]:
    """The recipe of each bucket in words; ``buckets`` say their shares."""
    names = bucket_names(len(policy.buckets))
    if len(names) == 1:
        return [f"every request: {recipe_in_words(policy.buckets[0])}"]
    lines = [
        f"{name} ({bucket.share:.0%}): {recipe_in_words(recipe)}"
        for name, bucket, recipe in zip(names, buckets, policy.buckets, strict=True)
    ]
    cuts = ", ".join(f"{cut:.3g}" for cut in policy.difficulty.thresholds)
    return [*lines, f"told apart by {policy.difficulty.signal}, cut at {cuts} (higher is easier)"]


def _files(result: TuneResult) -> list[tuple[str, str]]:
    """Where everything is, and a command that can be tried as it stands."""
    run = result.run
    files = [
        ("policies", f"{run.policies}/"),
        ("summary", str(run.summary)),
        ("trials", str(run.path / "trials.csv")),
        ("report", str(run.path / "report.html")),
    ]
    first = next(iter(result.policies), None)
    if first is None:
        return files
    item = result.found[first].problem.task.splits["test"][0]
    inputs = list(item.inputs.items())
    said = inputs[0][1] if len(inputs) == 1 and len(inputs[0][1]) <= 60 else "…"
    path = shlex.quote(str(run.policies / f"{first}.yaml"))
    return [*files, ("try", f"{_program()} run {path} --input {shlex.quote(said)}")]


def _program() -> str:
    """How this program was called, where its name alone would not find it."""
    called = Path(sys.argv[0])
    if shutil.which("tierwise") or called.name != "tierwise":
        return "tierwise"
    return os.path.relpath(called)
