"""The cross-tier frontier: the cheapest tier and policy for each score that one may want."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tierwise.report import numbers as n
from tierwise.report._base import NOTE, Row, Section, usd
from tierwise.report.prompts import RESAMPLES
from tierwise.report.reading import RunFiles
from tierwise.stats import Interval, bootstrap_means

TARGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


class Offer(NamedTuple):
    """A policy that was tested on a tier: its held-out score, and dollars an item."""

    tier: str
    policy: str
    score: Interval
    usd: float


def offers(run: RunFiles) -> list[Offer]:
    """Everything that was tested on any tier, the cheapest first.

    All of it was chosen before the held-out items were looked at, so each score is free of the luck
    of its choice.
    """
    found = []
    for tier in run.tiers.values():
        tested = tier.tested
        if tested is None:
            continue
        scores = bootstrap_means(tested.score, resamples=RESAMPLES)
        usd_of = tested.usd.mean(axis=1)
        found += [
            Offer(tier.name, policy, score, float(paid))
            for policy, score, paid in zip(tested.policies, scores, usd_of, strict=True)
            if not np.isnan(score.mean)
        ]
    return sorted(found, key=lambda offer: offer.usd)


def frontier_rows(run: RunFiles) -> list[Row]:
    """A row a target: the cheapest policy whose score reaches it, and the cheapest that surely is.

    Surely: the lower end of its 95% interval reaches the target. Targets are round scores from the
    highest that the cheapest policy reaches to the lowest that none does.
    """
    missing = [name for name, tier in run.tiers.items() if tier.tested is None]
    rows: list[Row] = [
        {"tier": name, NOTE: f"not shown: tested.{name}.npz is missing"} for name in missing
    ]
    found = offers(run)
    if not found:
        return rows
    for target in _targets(found):
        row: Row = {"target": target}
        reached = next((o for o in found if o.score.mean >= target), None)
        surely = next((o for o in found if o.score.low >= target), None)
        row |= _said("", reached) | _said("surely_", surely)
        within = {o.tier for o in found if o.score.mean >= target}
        row["not_reached_by"] = ", ".join(
            name for name in run.tiers if name not in {*within, *missing}
        )
        rows.append(row)
    return rows


def _targets(found: list[Offer]) -> list[float]:
    """From the highest that the cheapest reaches to the lowest that nobody does."""
    least, most = found[0].score.mean, max(offer.score.mean for offer in found)
    below = [t for t in TARGETS if t <= least][-1:]
    above = [t for t in TARGETS if t > most][:1]
    return [*below, *(t for t in TARGETS if least < t <= most), *above]


def _said(prefix: str, offer: Offer | None) -> Row:
    names = ("tier", "policy", "score", "score_low", "score_high", "usd_per_item")
    values = (offer.tier, offer.policy, *offer.score, offer.usd) if offer else (None,) * len(names)
    return {prefix + name: value for name, value in zip(names, values, strict=True)}


def _cells(row: Row) -> tuple[str, ...]:
    def cheapest(prefix: str) -> tuple[str, str, str]:
        if row[f"{prefix}tier"] is None:
            return "not reached", "", ""
        return (
            row[f"{prefix}tier"],
            n.score(row[f"{prefix}score"]),
            usd(row[f"{prefix}usd_per_item"]),
        )

    return f"{row['target']:g}", *cheapest(""), *cheapest("surely_"), row["not_reached_by"]


SECTION = Section(
    "the cheapest tier for each score (policies: --json)",
    frontier_rows,
    (
        "target>",
        "cheapest",
        "score>",
        "$/1,000>",
        "surely (95%)",
        "score>",
        "$/1,000>",
        "out of reach of",
    ),
    _cells,
)
