"""Two runs, and their tiers of the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.errors import UnsupportedError
from tierwise.evaluation import SampleTable
from tierwise.report._base import NOTE, Row, interval
from tierwise.report.common_items import common
from tierwise.report.prompts import RESAMPLES
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.stats import Interval, bootstrap_ratio, paired_difference, unpaired_difference

Floats = npt.NDArray[np.float64]

SAMPLES = "same items and samples"
ITEMS = "same items"
UNPAIRED = "unpaired: other items"

FEWEST_COMMON = 10
"""Items in common, with fewer of which a comparison is not paired."""


class Two(NamedTuple):
    """The run that others are held against, and one of the others."""

    before: RunFiles
    after: RunFiles

    @property
    def name(self) -> str:
        """Of the later run, in tables."""
        return self.after.run.path.name

    def by_tier(self, rows: Callable[[TierFiles, TierFiles], list[Row]]) -> list[Row]:
        """Rows of every tier that both have; a note for one that only one has."""
        found: list[Row] = []
        for name in dict.fromkeys([*self.before.tiers, *self.after.tiers]):
            who = {"run": self.name, "tier": name}
            old, new = self.before.tiers.get(name), self.after.tiers.get(name)
            if old is None or new is None:
                where = self.before if new is None else self.after
                found.append({**who, NOTE: f"only in {where.run.path}"})
                continue
            try:
                got = rows(old, new)
            except UnsupportedError as error:
                got = [{NOTE: f"not shown: {error}"}]
            found += [{**who, **row} for row in got]
        return found


class Side(NamedTuple):
    """Something on one side, by item: scores and dollars."""

    item_ids: tuple[str, ...]
    score: Floats
    usd: Floats


def identities(item_ids: Sequence[str], table: SampleTable | None) -> tuple[str, ...]:
    """What tells items apart between runs: id and inputs, where ``table`` has the same items.

    A task that was made anew may use an id for another question.
    """
    if table is None or table.item_ids != tuple(item_ids):
        return tuple(item_ids)
    pairs = zip(table.item_ids, table.inputs, strict=True)
    return tuple(f"{item}: {sorted(inputs.items())}" for item, inputs in pairs)


def difference(before: Side, after: Side, how: str = ITEMS) -> dict[str, Any]:
    """After less before with its 95% interval, paired by item where enough items are the same."""
    at_before, at_after = common(before.item_ids, after.item_ids)
    if len(at_before) >= FEWEST_COMMON:
        old, new = (
            Side(before.item_ids, before.score[at_before], before.usd[at_before]),
            Side(after.item_ids, after.score[at_after], after.usd[at_after]),
        )
        found: Interval = paired_difference(new.score, old.score, resamples=RESAMPLES)
        cost = bootstrap_ratio(new.usd, old.usd, resamples=RESAMPLES)
        items = len(at_before)
    else:
        old, new, how = before, after, UNPAIRED
        found = unpaired_difference(new.score, old.score)
        paid = float(old.usd.mean())
        cost = Interval(float(new.usd.mean()) / paid if paid else np.nan, np.nan, np.nan)
        items = len(new.score)
    return {
        "how": how,
        "items": items,
        "before_score": float(old.score.mean()),
        "after_score": float(new.score.mean()),
        "change": found.mean,
        "change_low": found.low,
        "change_high": found.high,
        "cost_ratio": cost.mean,
        "cost_ratio_low": cost.low,
        "cost_ratio_high": cost.high,
        "shown": "better" if found.low > 0 else "worse" if found.high < 0 else "",
        "identical": bool(how != UNPAIRED and (old.score == new.score).all()),
    }


def changed(row: Row) -> str:
    """The change with its interval; or that every item scored as before."""
    return "none on any item" if row["identical"] else interval(row, "change", "+")
