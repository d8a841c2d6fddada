"""Items that are hard for two tiers: how their difficulty is correlated."""

from __future__ import annotations

from functools import partial

import numpy as np

from tierwise.report._base import NOTE, Row, Section, attempted, interval, needed
from tierwise.report.common_items import common
from tierwise.report.prompts import one_sample
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.stats import spearman


def difficulty_rows(run: RunFiles) -> list[Row]:
    """Spearman's correlation of how easy items are for two tiers, with a 95% bootstrap interval.

    An item's easiness is its mean score over the stored samples of the variants that both tiers have, on
    held-out items; noise in it samples the correlation towards 0.
    """
    tiers = list(run.tiers.values())
    return [
        attempted({"tier": a.name, "other": b.name}, partial(_correlation, a, b, run.seed))
        for i, a in enumerate(tiers)
        for b in tiers[i + 1 :]
    ]


def _correlation(a: TierFiles, b: TierFiles, seed: int) -> Row:
    of_a, of_b = (needed(tier.test, f"tables.{tier.name}.test.npz") for tier in (a, b))
    variants = [variant for variant in of_a.variants if variant in of_b.variants]
    at_a, at_b = common(of_a.item_ids, of_b.item_ids)
    if not variants or len(at_a) < 3:
        return {NOTE: "not supported: no variant, or too few items, in common"}
    easy = [
        np.nanmean(
            [one_sample(variant, table.variants[variant]).score[at] for variant in variants], axis=0
        )
        for table, at in ((of_a, at_a), (of_b, at_b))
    ]
    found = spearman(easy[0], easy[1])
    if np.isnan(found):
        return {NOTE: "not supported: all items are equally easy for a tier"}
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(at_a), size=(500, len(at_a)))
    again = np.array([spearman(easy[0][pick], easy[1][pick]) for pick in picks])
    low, high = np.nanquantile(again, [0.025, 0.975])
    return {
        "items": len(at_a),
        "variants": len(variants),
        "spearman": found,
        "spearman_low": float(low),
        "spearman_high": float(high),
    }


def _cells(row: Row) -> tuple[str, ...]:
    return row["tier"], row["other"], interval(row, "spearman"), f"{row['items']:.0f}"


SECTION = Section(
    "rank correlation of item difficulty between tiers",
    difficulty_rows,
    ("tier", "other", "Spearman>", "items>"),
    _cells,
)
