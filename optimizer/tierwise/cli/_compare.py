"""A comparison of tiers as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tierwise.reporting import SECTIONS, FinishedRun

if TYPE_CHECKING:
    import pandas as pd

MOST_PROMPTS = 8
_TEXT = (
    "tier", "other", "on", "against", "policy_of", "adds", "arms", "strategy", "gate", "policy",
    "verdict", "split", "prompt", "note", "signal",
)  # fmt: skip
_WHO = ("tier", "policy_of", "other", "on", "against", "adds")

_COLUMNS: dict[str, tuple[str, ...]] = {
    "prompts": ("tier", "prompt", "score", "items", "dollars", "behind best", ""),
    "recipes": ("tier", "share", "arms", "strategy", "signal", "gate"),
    "gains": ("tier", "adds", "gain", "cost", "split"),
    "transfer": ("policy_of", "on", "score", "against own", "cost", "split"),
    "difficulty": ("tier", "other", "spearman", "items"),
    "equal_dollars": ("tier", "against", "policy", "score", "dollars", "single call", "lead",
                      "verdict"),
}  # fmt: skip


def show(run: FinishedRun, frames: Mapping[str, pd.DataFrame]) -> None:
    """Print every section."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name, frame in frames.items():
        console.print(f"[bold]{name.replace('_', ' ')}[/]  [dim]{SECTIONS[name]}[/]")
        if frame.empty:
            console.print("  nothing to compare: there is one tier, or all cost the same\n")
            continue
        table = Table(box=None, header_style="dim", pad_edge=False)
        for column in _COLUMNS[name]:
            table.add_column(column.replace("_", " "),
                             justify="left" if column in (*_TEXT, "") else "right")  # fmt: skip
        notes = []
        for row in _shown(name, frame):
            if isinstance(row.get("note"), str):
                who = " ".join(row[key] for key in _WHO if isinstance(row.get(key), str))
                notes.append(f"  {who}: {row['note']}")
            else:
                table.add_row(*_CELLS[name](row), style="bold" if row.get("best") is True else None)
        if table.row_count:
            console.print(table)
        for note in notes:
            console.print(note, markup=False, soft_wrap=True)
        console.print()
    console.print(
        "Intervals are 95%, paired by item where two are compared. ≈: not separable from the "
        "best. •: in the policy.", style="dim", soft_wrap=True,
    )  # fmt: skip


def _shown(name: str, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Of many prompts the best, and those of the policy; --csv has all."""
    rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]
    if name != "prompts":
        return rows
    rank: dict[str, int] = {}
    kept = []
    for row in rows:
        rank[row["tier"]] = rank.get(row["tier"], 0) + 1
        if rank[row["tier"]] <= MOST_PROMPTS or row["chosen"]:
            kept.append(row)
    return kept


def _prompt(row: Mapping[str, Any]) -> tuple[str, ...]:
    mark = ("" if row["separable"] else "≈") + ("•" if row["chosen"] else "")
    label = f"{row['prompt']}/{row['mode']}/{row['temperature']:g}"
    return (
        row["tier"], label, _interval(row, "score"), f"{row['items']:.0f}",
        f"{row['usd_per_item']:.3g}", "" if row["best"] else f"{-row['behind_best']:+.3f}", mark,
    )  # fmt: skip


def _recipe(row: Mapping[str, Any]) -> tuple[str, ...]:
    share = "" if row["share"] is None else f"{row['share']:.0%}"
    return row["tier"], share, row["arms"], row["strategy"], row["signal"], row["gate"]


def _gain(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row.get("same") is True:
        return row["tier"], row["adds"], "nothing: the same policy", "", row["split"]
    return row["tier"], row["adds"], _interval(row, "gain", "+"), _ratio(row), row["split"]


def _transfer(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["policy_of"], row["on"], _interval(row, "score"), _interval(row, "against_own", "+"),
        _ratio(row), row["split"],
    )  # fmt: skip


def _difficulty(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["tier"], row["other"], _interval(row, "spearman"), f"{row['items']:.0f}"


def _equal_dollars(row: Mapping[str, Any]) -> tuple[str, ...]:
    reaches = "" if row["reaches_at_any_budget_tried"] else ", at any budget tried"
    return (
        row["tier"], row["against"], row["policy"], f"{row['score']:.3f}",
        f"{row['usd_per_item']:.3g}", f"{row['single_call_score']:.3f} at "
        f"{row['single_call_usd']:.3g}", _interval(row, "lead", "+"), row["verdict"] + reaches,
    )  # fmt: skip


_CELLS = {
    "prompts": _prompt, "recipes": _recipe, "gains": _gain, "transfer": _transfer,
    "difficulty": _difficulty, "equal_dollars": _equal_dollars,
}  # fmt: skip


def _interval(row: Mapping[str, Any], name: str, sign: str = "") -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:{sign}.3f} \\[{low:{sign}.2f}, {high:{sign}.2f}]"


def _ratio(row: Mapping[str, Any]) -> str:
    return f"×{row['cost_ratio']:.2g}" if row["cost_ratio"] == row["cost_ratio"] else ""
