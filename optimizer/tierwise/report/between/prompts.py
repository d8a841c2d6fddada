"""Every prompt that two runs have, at one sample: where a model changed behind its name, it shows."""

from __future__ import annotations

import numpy as np

from tierwise.report import numbers as n
from tierwise.report._base import Row, Section, needed
from tierwise.report.between._two import Side, Two, changed, difference, identities
from tierwise.report.prompts import OneSample, one_samples
from tierwise.report.reading import TierFiles
from tierwise.schema import Variant

MOST_SHOWN = 6


def prompt_rows(two: Two) -> list[Row]:
    """A row a variant of both, the largest change first; variants of one run only are named in a note."""
    return two.by_tier(_tier)


def _tier(old: TierFiles, new: TierFiles) -> list[Row]:
    before, after = (_by_variant(tier) for tier in (old, new))
    rows = []
    for variant in before:
        if variant in after:
            change = difference(before[variant], after[variant])
            rows.append({"variant": variant.label, **change})
    rows.sort(key=lambda row: -abs(row["change"]))
    for i, row in enumerate(rows):
        row["rank"] = i + 1
    for said, variants in (("new", set(after) - set(before)), ("gone", set(before) - set(after))):
        if variants:
            names = ", ".join(sorted(variant.label for variant in variants)[:MOST_SHOWN])
            rows.append({"variant": said, "note": f"{said}: {len(variants)} variants ({names} …)"})
    return rows


def _by_variant(tier: TierFiles) -> dict[Variant, Side]:
    table = needed(tier.prompts, f"tables.{tier.name}.prompts.npz")
    return {
        one.variant: _side(identities(table.item_ids, table), one) for one in one_samples(table)
    }


def _side(item_ids: tuple[str, ...], one: OneSample) -> Side:
    at = np.flatnonzero(~np.isnan(one.score))
    return Side(tuple(item_ids[i] for i in at), one.score[at], one.usd[at])


def _cells(row: Row) -> tuple[str, ...] | None:
    if row["rank"] > MOST_SHOWN:
        return None
    return (
        row["tier"],
        row["variant"],
        n.score(row["before_score"]),
        n.score(row["after_score"]),
        changed(row),
        n.ratio(row["cost_ratio"]),
        row["shown"],
        f"{row['items']}",
        row["how"],
    )


SECTION = Section(
    "every prompt at one sample, the largest changes first (of many, one in twenty seems to change)",
    prompt_rows,
    (
        "tier",
        "variant",
        "before>",
        "after>",
        "change>",
        "at cost>",
        "shown",
        "items>",
        "compared on",
    ),
    _cells,
)
