"""What each freedom adds on a tier: thinking, the prompt, votes, the joint choice, buckets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tierwise.report._base import NOTE, Row, Section, by_tier, interval, needed, ratio
from tierwise.report.prompts import RESAMPLES, Floats, OneSample, one_samples
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.stats import paired_difference

STEPS = (
    ("prompt", "baseline_prompt_one_sample", "best_prompt_one_sample"),
    ("votes, today's prompt", "baseline_prompt_one_sample", "baseline_prompt_best_strategy"),
    ("votes, best prompt", "best_prompt_one_sample", "disjoint"),
    ("prompt and strategy together", "disjoint", "joint_fixed_n"),
    ("adaptive stopping", "joint_fixed_n", "joint_adaptive_stop"),
    ("buckets", "joint_adaptive_stop", "full_policy"),
    ("all", "baseline_prompt_one_sample", "full_policy"),
)
"""Name, and the ablation_steps of the ablation before and after."""

DIRECT = "direct"


def gain_rows(tier: TierFiles) -> list[Row]:
    """A row a step: the paired gain with its 95% interval, and the ratio of dollars.

    Thinking is judged at one sample on the items of the comparison of prompts, whose best variants were
    chosen on the same items; the other steps on held-out items.
    """
    rows = _thinking(tier)
    if tier.tested is None:
        missing = f"not shown: tested.{tier.name}.npz is missing"
        return [*rows, {"tier": tier.name, "adds": "prompt, votes, buckets", NOTE: missing}]
    tested = tier.tested
    for name, before, after in STEPS:
        a, b = tested.names[after], tested.names[before]
        gain = _gain(tested.score[a], tested.score[b], tested.usd[a], tested.usd[b])
        if a == b:  # nothing was added: known to be 0, with no interval around it
            gain |= {"gain_low": 0.0, "gain_high": 0.0}
        rows.append(
            {
                "tier": tier.name,
                "adds": name,
                "from": tested.policies[b],
                "to": tested.policies[a],
                "split": "test",
                "same": a == b,
                **gain,
            }
        )
    return rows


def _thinking(tier: TierFiles) -> list[Row]:
    ranked = one_samples(needed(tier.prompts, f"tables.{tier.name}.prompts.npz"))
    direct = [one for one in ranked if one.variant.mode == DIRECT]
    think = [one for one in ranked if one.variant.mode != DIRECT]
    rows = []
    if direct and think:
        rows.append(_row(tier, "thinking, best prompt of each", direct[:1], think[:1]))
    pairs = [
        (d, t)
        for t in think
        for d in direct
        if (d.variant.prompt, d.variant.temperature) == (t.variant.prompt, t.variant.temperature)
    ]
    if pairs:
        before, after = [d for d, _ in pairs], [t for _, t in pairs]
        rows.append(_row(tier, "thinking, same prompt", before, after))
    if not rows:
        rows.append(
            {
                "tier": tier.name,
                "adds": "thinking",
                NOTE: "not supported: there are no samples of both direct and thinking modes",
            }
        )
    return rows


def _row(tier: TierFiles, name: str, before: list[OneSample], after: list[OneSample]) -> Row:
    scores = [np.mean([one.score for one in some], axis=0) for some in (after, before)]
    usd = [np.mean([one.usd for one in some], axis=0) for some in (after, before)]
    return {
        "tier": tier.name,
        "adds": name,
        "from": _labels(before),
        "to": _labels(after),
        "split": "prompts",
        **_gain(scores[0], scores[1], usd[0], usd[1]),
    }


def _gain(after: Floats, before: Floats, usd_after: Floats, usd_before: Floats) -> dict[str, Any]:
    known = ~(np.isnan(after) | np.isnan(before))
    if known.sum() < 2:
        return {NOTE: "not supported: too few items have both"}
    gain = paired_difference(after[known], before[known], resamples=RESAMPLES)
    paid = float(usd_before[known].sum())
    return {
        "items": int(known.sum()),
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "cost_ratio": float(usd_after[known].sum()) / paid if paid else None,
    }


def _labels(ones: list[OneSample]) -> str:
    return ones[0].variant.label if len(ones) == 1 else f"{len(ones)} variants"


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, gain_rows)


def _cells(row: Row) -> tuple[str, ...]:
    if row.get("same") is True:
        return row["tier"], row["adds"], "nothing: the same policy", "", row["split"]
    return row["tier"], row["adds"], interval(row, "gain", "+"), ratio(row), row["split"]


SECTION = Section(
    "what thinking, votes and buckets add",
    _rows,
    ("tier", "adds", "gain>", "at cost>", "judged on"),
    _cells,
)
