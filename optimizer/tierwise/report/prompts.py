"""Every prompt on every tier at one sample, and which of them are not separable from the best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import SampleTable
from tierwise.evaluation.table import VariantTable
from tierwise.report._base import Row, Section, by_tier, interval, needed, usd
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema import Variant
from tierwise.stats import Interval, bootstrap_means, paired_differences

RESAMPLES = 2000
MOST_SHOWN = 8
"""Prompts of a tier in a terminal, beside those of its policy; --csv has all."""

Floats = npt.NDArray[np.float64]


class OneSample(NamedTuple):
    """A variant at one sample: (n_items,) means over its samples, NaN for an item without any."""

    variant: Variant
    score: Floats
    usd: Floats
    samples: int


class Ranked(NamedTuple):
    """A variant among all of its tier; ``lead`` is the best variant's, on the items that both have."""

    one: OneSample
    score: Interval
    lead: Interval
    best: bool

    @property
    def separable(self) -> bool:
        """Whether the best variant's lead is shown."""
        return not self.best and self.lead.low > 0

    @property
    def items(self) -> int:
        """Items that have a sample."""
        return int((~np.isnan(self.one.score)).sum())

    @property
    def usd(self) -> float:
        """Dollars an item."""
        return float(np.nanmean(self.one.usd))


def one_sample(variant: Variant, table: VariantTable) -> OneSample:
    """What a single sample scores and costs, on average over the stored ones."""
    known = ~np.isnan(table.score)
    count = known.sum(axis=1)
    usd_of = table.prompt_usd + table.completion_usd
    means = [
        np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
        for values in (table.score, usd_of)
    ]
    return OneSample(variant, means[0], means[1], int(count.max(initial=0)))


def one_samples(prompts: SampleTable) -> list[OneSample]:
    """All variants of a comparison of prompts that have a sample, the best first."""
    found = [one_sample(variant, table) for variant, table in prompts.variants.items()]
    found = [one for one in found if not np.isnan(one.score).all()]
    return sorted(found, key=lambda one: -float(np.nanmean(one.score)))


def ranked(prompts: SampleTable) -> list[Ranked]:
    """The same with 95% intervals, of each variant and of the best one's lead over it."""
    ones = one_samples(prompts)
    if not ones:
        return []
    scores = np.array([one.score for one in ones])
    means = bootstrap_means(scores, resamples=RESAMPLES)
    leads = paired_differences(scores[0], scores, resamples=RESAMPLES)
    return [
        Ranked(one, mean, lead, i == 0)
        for i, (one, mean, lead) in enumerate(zip(ones, means, leads, strict=True))
    ]


def prompt_rows(tier: TierFiles) -> list[Row]:
    """A row a variant, the best first.

    ``separable``: the paired 95% interval of the best variant's lead is above 0; else it ties with the
    best. ``chosen``: a variant of the policy that was exported (None where that cannot be read).
    """
    found = ranked(needed(tier.prompts, f"tables.{tier.name}.prompts.npz"))
    used = tier.policy.policy.variants if tier.policy else None
    return [
        {
            "tier": tier.name,
            "prompt": r.one.variant.prompt,
            "mode": r.one.variant.mode,
            "temperature": r.one.variant.temperature,
            "items": r.items,
            "samples": r.one.samples,
            "score": r.score.mean,
            "score_low": r.score.low,
            "score_high": r.score.high,
            "usd_per_item": r.usd,
            "behind_best": 0.0 if r.best else r.lead.mean,
            "separable": r.separable,
            "best": r.best,
            "chosen": None if used is None else r.one.variant in used,
            "rank": i + 1,
        }
        for i, r in enumerate(found)
    ]


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, prompt_rows)


def _cells(row: Row) -> tuple[str, ...] | None:
    if row["rank"] > MOST_SHOWN and not row["chosen"]:
        return None
    mark = ("●" if row["best"] else "" if row["separable"] else "○") + (
        "*" if row["chosen"] else ""
    )
    label = f"{row['prompt']}/{row['mode']}/{row['temperature']:g}"
    return (
        row["tier"],
        label,
        interval(row, "score"),
        f"{row['items']:.0f}",
        f"{row['samples']:.0f}",
        usd(row["usd_per_item"]),
        "" if row["best"] else f"{-row['behind_best']:+.3f}",
        mark,
    )


SECTION = Section(
    "every prompt on every tier at one sample (● best, ○ not separable from it, * in the policy)",
    _rows,
    ("tier", "prompt", "score>", "items>", "samples>", "$/1,000>", "to best>", ""),
    _cells,
)
