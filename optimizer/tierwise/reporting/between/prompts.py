"""Every prompt that two runs have, at one draw: where a model changed behind its name, it shows."""

from __future__ import annotations

import numpy as np

from tierwise.recipe import Arm
from tierwise.reporting import numbers as n
from tierwise.reporting._base import Row, Section, needed
from tierwise.reporting.between._two import Side, Two, changed, difference, identities
from tierwise.reporting.prompts import OneDraw, one_draws
from tierwise.reporting.reading import TierFiles

MOST_SHOWN = 6


def prompt_rows(two: Two) -> list[Row]:
    """A row an arm of both, the largest change first; arms of one run only are named in a note."""
    return two.by_tier(_tier)


def _tier(old: TierFiles, new: TierFiles) -> list[Row]:
    before, after = (_by_arm(tier) for tier in (old, new))
    rows = []
    for arm in before:
        if arm in after:
            change = difference(before[arm], after[arm])
            rows.append({"arm": arm.label, **change})
    rows.sort(key=lambda row: -abs(row["change"]))
    for i, row in enumerate(rows):
        row["rank"] = i + 1
    for said, arms in (("new", set(after) - set(before)), ("gone", set(before) - set(after))):
        if arms:
            names = ", ".join(sorted(arm.label for arm in arms)[:MOST_SHOWN])
            rows.append({"arm": said, "note": f"{said}: {len(arms)} arms ({names} …)"})
    return rows


def _by_arm(tier: TierFiles) -> dict[Arm, Side]:
    table = needed(tier.prompts, f"tables.{tier.name}.prompts.npz")
    return {one.arm: _side(identities(table.item_ids, table), one) for one in one_draws(table)}


def _side(item_ids: tuple[str, ...], one: OneDraw) -> Side:
    at = np.flatnonzero(~np.isnan(one.score))
    return Side(tuple(item_ids[i] for i in at), one.score[at], one.usd[at])


def _cells(row: Row) -> tuple[str, ...] | None:
    if row["rank"] > MOST_SHOWN:
        return None
    return (
        row["tier"], row["arm"], n.score(row["before_score"]), n.score(row["after_score"]),
        changed(row), n.ratio(row["cost_ratio"]), row["shown"],
        f"{row['items']}", row["how"],
    )  # fmt: skip


SECTION = Section(
    "every prompt at one draw, the largest changes first (of many, one in twenty seems to change)",
    prompt_rows,
    ("tier", "arm", "before>", "after>", "change>", "at cost>", "shown", "items>", "compared on"),
    _cells,
)  # fmt: skip
