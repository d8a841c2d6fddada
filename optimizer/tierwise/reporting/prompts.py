"""Every prompt on every tier at one draw, and which of them are not separable from the best."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.table import ArmTable
from tierwise.recipe import Arm
from tierwise.reporting.run import TierRun
from tierwise.stats import bootstrap_mean, paired_difference

RESAMPLES = 2000
Floats = npt.NDArray[np.float64]


class OneDraw(NamedTuple):
    """An arm at one draw: (n_items,) means over its draws, NaN for an item without any."""

    arm: Arm
    score: Floats
    usd: Floats
    draws: int


def one_draw(arm: Arm, table: ArmTable) -> OneDraw:
    """What a single draw scores and costs, on average over the stored ones."""
    known = ~np.isnan(table.score)
    count = known.sum(axis=1)
    usd = table.prompt_usd + table.completion_usd
    means = [
        np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
        for values in (table.score, usd)
    ]
    return OneDraw(arm, means[0], means[1], int(count.max(initial=0)))


def one_draws(tier: TierRun) -> list[OneDraw]:
    """All arms of the tier's comparison of prompts that have a draw, the best first."""
    found = [one_draw(arm, table) for arm, table in tier.prompts.arms.items()]
    found = [one for one in found if not np.isnan(one.score).all()]
    return sorted(found, key=lambda one: -float(np.nanmean(one.score)))


def prompt_rows(tier: TierRun) -> list[dict[str, Any]]:
    """A row an arm, the best first.

    ``separable``: on the items that both have, the paired 95% interval of the best arm's lead is
    above 0. ``chosen``: an arm of the policy that was exported.
    """
    ranked = one_draws(tier)
    used = tier.policy.policy.arms
    rows = []
    for one in ranked:
        known = ~np.isnan(one.score)
        interval = bootstrap_mean(one.score[known], bounds=(0.0, 1.0), resamples=RESAMPLES)
        both = known & ~np.isnan(ranked[0].score)
        lead = paired_difference(ranked[0].score[both], one.score[both], resamples=RESAMPLES)
        best = one is ranked[0]
        rows.append({
            "tier": tier.name, "prompt": one.arm.prompt, "mode": one.arm.mode,
            "temperature": one.arm.temperature, "items": int(known.sum()), "draws": one.draws,
            "score": interval.mean, "score_low": interval.low, "score_high": interval.high,
            "usd_per_item": float(np.nanmean(one.usd)),
            "behind_best": 0.0 if best else lead.mean,
            "separable": not best and lead.low > 0, "best": best, "chosen": one.arm in used,
        })  # fmt: skip
    return rows
