"""Whether stronger tiers are less sensitive to the paraphrase (ProSA found larger models to be)."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from tierwise.report._base import NOTE, Row, Section, interval
from tierwise.report.reading import RunFiles
from tierwise.stats import spearman

RESAMPLES = 500
EVERYTHING = "*"
"""The family of all prompts."""
FEWEST = 3
"""Families of paraphrases; with fewer a correlation within them says nothing."""


class Point(NamedTuple):
    """A family of paraphrases on a tier: the tier's place in the job, its PSS and score."""

    place: int
    pss: float
    score: float


def by_tier_rows(run: RunFiles) -> list[Row]:
    """Spearman of PSS with the tier's place in the job and with the score, one row each.

    Within families of paraphrases: of each family, mode and temperature that several tiers have, the
    mean over the tiers is taken away first. Intervals resample families.
    """
    families: dict[tuple[str, str, float], list[Point]] = defaultdict(list)
    for place, tier in enumerate(run.tiers.values()):
        for found in tier.summary.prompt_sensitivity:
            if found.pss is not None and found.family != EVERYTHING:
                key = found.family, found.mode, found.temperature
                families[key].append(Point(place, found.pss, found.mean_score))
    shared = [np.array(points) for points in families.values() if len(points) > 1]
    if len(shared) < FEWEST:
        return [{NOTE: "not supported: fewer than three families of paraphrases that tiers share"}]
    centred = [points - points.mean(axis=0) for points in shared]
    rng = np.random.default_rng(run.seed)
    picks = rng.integers(len(centred), size=(RESAMPLES, len(centred)))
    rows = []
    for name, column in (("place of the tier", 0), ("score", 2)):
        whole = np.concatenate(centred)
        again = [np.concatenate([centred[i] for i in pick]) for pick in picks]
        values = [spearman(points[:, column], points[:, 1]) for points in again]
        low, high = np.nanquantile(values, [0.025, 0.975])
        rows.append(
            {
                "with": name,
                "families": len(shared),
                "points": len(whole),
                "spearman": spearman(whole[:, column], whole[:, 1]),
                "spearman_low": float(low),
                "spearman_high": float(high),
            }
        )
    return rows


def _cells(row: Row) -> tuple[str, ...]:
    return (row["with"], f"{row['families']}", f"{row['points']}", interval(row, "spearman", "+"))


SECTION = Section(
    "does a stronger tier hang less on the paraphrase? (rank correlation of PSS, within families)",
    by_tier_rows,
    ("PSS with", "families>", "points>", "Spearman>"),
    _cells,
)
