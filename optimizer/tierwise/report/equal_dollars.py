"""A cheaper tier's policy against a dearer tier's single call, at no more dollars."""

from __future__ import annotations

from functools import partial

import numpy as np

from tierwise.report._base import NOTE, Row, Section, attempted, interval, needed, usd
from tierwise.report.common_items import common
from tierwise.report.prompts import RESAMPLES
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.search.tested import Tested
from tierwise.stats import paired_difference, paired_differences

MARGIN = 0.02
"""As good means: the lower bound of the difference is above this much less."""

SINGLE_CALL = "best_prompt_one_sample"


def equal_dollars_rows(run: RunFiles) -> list[Row]:
    """A cheaper tier's policy against a single call to a dearer one, at no more dollars.

    Of what was tested on the cheaper tier, the policy is the best on its study's samples among those
    that cost no more than the dearer tier's best prompt at one sample; both are then compared on the
    held-out items that they share.
    """
    rows = []
    for small in run.tiers.values():
        for large in run.tiers.values():
            who: Row = {"tier": small.name, "against": large.name}
            if small is not large:
                row = attempted(who, partial(_at_equal_dollars, small, large))
                rows += [row] if len(row) > len(who) else []
    return rows


def _call_usd(tested: Tested) -> float:
    return float(tested.usd[tested.names[SINGLE_CALL]].mean())


def _at_equal_dollars(small: TierFiles, large: TierFiles) -> Row:
    """Nothing where ``small`` is not the cheaper of the two."""
    of_small, of_large = (needed(tier.tested, f"tested.{tier.name}.npz") for tier in (small, large))
    if _call_usd(of_small) >= _call_usd(of_large):
        return {}
    single = of_large.names[SINGLE_CALL]
    row: Row = {"single_call": of_large.policies[single], "single_call_usd": _call_usd(of_large)}
    at_small, at_large = common(of_small.item_ids, of_large.item_ids)
    if len(at_small) < 2:
        return {**row, NOTE: "not supported: no held-out items in common"}
    theirs = of_large.score[single][at_large]
    best = _best_within(of_small, _call_usd(of_large))
    if best is None:
        return {**row, NOTE: f"not supported: nothing tested on {small.name} is as cheap"}
    ours = of_small.score[best][at_small]
    scores = of_small.score[:, at_small]
    behind = paired_differences(theirs, scores, resamples=RESAMPLES)
    lead = paired_difference(ours, theirs, resamples=RESAMPLES)
    return {
        **row,
        "policy": of_small.policies[best],
        "items": len(at_small),
        "usd_per_item": float(of_small.usd[best].mean()),
        "score": float(ours.mean()),
        "single_call_score": float(theirs.mean()),
        "lead": lead.mean,
        "lead_low": lead.low,
        "lead_high": lead.high,
        "verdict": _verdict(lead.low, lead.high),
        "reaches_at_any_budget_tried": any(found.low < 0 for found in behind),
    }


def _best_within(tested: Tested, usd: float) -> int | None:
    within = [
        i
        for i, paid in enumerate(tested.usd.mean(axis=1))
        if paid <= usd and not np.isnan(tested.on_study[i])
    ]
    return max(within, key=lambda i: tested.on_study[i], default=None)


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "as good" if low > -MARGIN else "not told apart"


def _cells(row: Row) -> tuple[str, ...]:
    reaches = "" if row["reaches_at_any_budget_tried"] else ", at any budget tried"
    return (
        row["tier"],
        row["against"],
        f"{row['score']:.3f}",
        usd(row["usd_per_item"]),
        f"{row['single_call_score']:.3f}",
        usd(row["single_call_usd"]),
        interval(row, "lead", "+"),
        row["verdict"] + reaches,
    )


SECTION = Section(
    "a cheaper tier's policy against a dearer tier's single call",
    equal_dollars_rows,
    ("tier", "against", "score>", "$/1,000>", "single call>", "$/1,000>", "lead>", "verdict"),
    _cells,
)
