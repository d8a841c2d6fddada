"""The heat map: every prompt on every tier at one sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tierwise.evaluation import SampleTable
from tierwise.report import numbers as n
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import behind, table
from tierwise.report.prompts import one_sample
from tierwise.report.reading import RunFiles
from tierwise.schema import Variant
from tierwise.stats import Interval, bootstrap_means, paired_differences

RESAMPLES = 2000
MOST_ROWS = 40


class Cell(NamedTuple):
    """A prompt on a tier."""

    score: Interval
    usd: float
    items: int
    mark: str


def prompt_map(run: RunFiles) -> Markup:
    """Prompts down, tiers across; a cell's depth is its score."""
    columns = {
        name: measured(tier.prompts) for name, tier in run.tiers.items() if tier.prompts is not None
    }
    if not columns:
        return el("p", "No stored samples of the comparison of prompts were found.")
    variants = _ranked(columns)
    finite = [c.score.mean for column in columns.values() for c in column.values()]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    rows = [
        el(
            "tr",
            el("th", variant.label, scope="row"),
            *(
                _cell(columns[name].get(variant), run.tiers[name].tone, low, high)
                for name in columns
            ),
        )
        for variant in variants[:MOST_ROWS]
    ]
    head = el(
        "tr",
        el("th", "prompt / mode / temperature", scope="col"),
        *(el("th", name, scope="col") for name in columns),
    )
    heat = el("table", el("thead", head), el("tbody", *rows), class_="heat")
    numbers: list[tuple[Child, ...]] = [
        (
            name,
            variant.label,
            n.score(c.score.mean),
            n.bounds((c.score.low, c.score.high)),
            n.usd_per(c.usd),
            c.items,
        )
        for name, column in columns.items()
        for variant, c in column.items()
    ]
    left_out = len(variants) - MOST_ROWS
    return joined(
        [
            el(
                "p",
                "One sample each, on the same items of the tune split. ● marks a tier's best prompt, "
                "○ those that its interval cannot tell apart from it. Hover for intervals."
                + (f" The {left_out} lowest rows are in the numbers." if left_out > 0 else ""),
            ),
            el("div", heat, class_="scroll", tabindex=0, role="group", aria_label="Prompt by tier"),
            behind(
                "The numbers",
                table(
                    (
                        "tier",
                        "prompt / mode / temperature",
                        "score",
                        "95% interval",
                        "$ / 1,000",
                        "items",
                    ),
                    numbers,
                    text=2,
                ),
            ),
        ]
    )


def measured(prompts: SampleTable) -> dict[Variant, Cell]:
    """Score, cost and the number of items of each variant at one sample."""
    ones = [one_sample(variant, rows) for variant, rows in prompts.variants.items()]
    ones = [one for one in ones if not np.isnan(one.score).all()]
    if not ones:
        return {}
    scores = np.array([one.score for one in ones])
    found = bootstrap_means(scores, resamples=RESAMPLES)
    best = int(np.nanargmax([interval.mean for interval in found]))
    leads = paired_differences(scores[best], scores, resamples=RESAMPLES)
    return {
        one.variant: Cell(
            interval,
            float(np.nanmean(one.usd)),
            int((~np.isnan(one.score)).sum()),
            "●" if i == best else "○" if leads[i].low <= 0 else "",
        )
        for i, (one, interval) in enumerate(zip(ones, found, strict=True))
    }


def _ranked(columns: Mapping[str, Mapping[Variant, Cell]]) -> list[Variant]:
    """By their mean over the tiers that have them."""
    scores: dict[Variant, list[float]] = {}
    for column in columns.values():
        for variant, cell in column.items():
            scores.setdefault(variant, []).append(cell.score.mean)
    return sorted(scores, key=lambda variant: (-float(np.mean(scores[variant])), variant.label))


def _cell(cell: Cell | None, tone: str, low: float, high: float) -> Markup:
    if cell is None:
        return el("td", n.NOTHING, title="not compared on this tier")
    n_samples = (cell.score.mean - low) / ((high - low) or 1.0)
    title = (
        f"{n.score(cell.score.mean)} {n.bounds((cell.score.low, cell.score.high))} on {cell.items} "
        f"items, {n.usd_per(cell.usd)} per 1,000 requests"
    )
    return el(
        "td",
        f"{cell.score.mean:.2f}" + (f" {cell.mark}" if cell.mark else ""),
        title=title,
        class_=f"cell {tone}",
        style=f"--depth:{round(100 * n_samples)}%",
    )
