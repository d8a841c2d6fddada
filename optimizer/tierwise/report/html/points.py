"""Operating points, and what the next dollar buys on the way from one to the next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tierwise.report import numbers as n
from tierwise.report.html.dollars import RESAMPLES
from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.html.page import table
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema.result import HeldOut, OperatingPoint
from tierwise.search.tested import Tested
from tierwise.stats import paired_difference

ORDER = ("economy", "balanced", "quality")


def points(run: RunFiles) -> Markup:
    """A table of the points of all tiers, and one of the steps between them."""
    rows, steps = [], []
    for tier in run.tiers.values():
        found = _in_order(tier.summary.operating_points)
        rows += [_row(tier, name, point) for name, point in found]
        steps += _steps(tier, found)
    return joined(
        [
            el(
                "p",
                "Economy is the cheapest policy that is not worse than today's prompt, balanced "
                "gives one point of score for each doubling of dollars, quality is the best score. "
                "They were chosen on items of their own (the select split) and are judged here on "
                "held-out ones. The exported point is marked ★; points that did not pass the gate are "
                "not exported.",
            ),
            table(
                ("tier", "point", "score", "95% interval", "$ / 1,000", "samples", "gate"),
                rows,
                text=2,
                caption="Where the operating points lie",
            ),
            el(
                "p",
                "What the next dollar buys: the paired difference between one point and the "
                "cheaper one before it. Where its interval holds 0, the dollars were not shown to buy "
                "anything.",
            ),
            table(
                (
                    "tier",
                    "from → to",
                    "points of score",
                    "95% interval",
                    "more $ / 1,000",
                    "$ for each further right answer",
                    "shown",
                ),
                steps,
                text=2,
                caption="From one point to the next",
            ),
        ]
    )


def _in_order(points: Mapping[str, OperatingPoint]) -> list[tuple[str, OperatingPoint]]:
    def place(entry: tuple[str, OperatingPoint]) -> tuple[float, int]:
        name = entry[0]
        return entry[1].usd_per_item, ORDER.index(name) if name in ORDER else len(ORDER)

    return sorted(points.items(), key=place)


def _row(tier: TierFiles, name: str, point: OperatingPoint) -> tuple[Child, ...]:
    chosen = name == tier.summary.operating_point and tier.summary.passed
    return (
        tier.name,
        f"{name}\u00a0★" if chosen else name,
        n.score(point.score),
        n.bounds(point.score_ci95),
        n.usd_per(point.usd_per_item),
        f"{point.samples_per_item:.1f}",
        "is today's prompt" if point.policy == tier.summary.baseline.policy else point.gate,
    )


def _steps(tier: TierFiles, found: list[tuple[str, OperatingPoint]]) -> list[tuple[Child, ...]]:
    rows: list[tuple[Child, ...]] = []
    before: tuple[str, HeldOut] = ("today's prompt", tier.summary.baseline)
    for after in found:
        if after[1].policy == before[1].policy:
            continue
        gain = after[1].score - before[1].score
        usd = after[1].usd_per_item - before[1].usd_per_item
        interval = _interval(tier.tested, str(after[1].policy), str(before[1].policy))
        shown = "" if interval is None else _shown(*interval)
        each = n.usd(usd / gain) if gain > 0 and usd > 0 and shown == "gain" else n.NOTHING
        rows.append(
            (
                tier.name,
                f"{before[0]} → {after[0]}",
                n.points(gain),
                n.point_bounds(interval),
                n.usd_per(usd),
                each,
                shown or n.NOTHING,
            )
        )
        before = after
    return rows


def _shown(low: float, high: float) -> str:
    if low > 0:
        return "gain"
    return "loss" if high < 0 else "no"


def _interval(tested: Tested | None, policy: str, other: str) -> tuple[float, float] | None:
    if tested is None or policy not in tested.policies or other not in tested.policies:
        return None
    a, b = (tested.score[tested.policies.index(p)] for p in (policy, other))
    if np.isnan(a).any() or np.isnan(b).any():
        return None
    found = paired_difference(a, b, resamples=RESAMPLES)
    return found.low, found.high
