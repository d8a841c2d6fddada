"""Each tier's recipe, bucket by bucket."""

from __future__ import annotations

from typing import Any

from tierwise.reporting.run import TierRun


def recipe_rows(tier: TierRun) -> list[dict[str, Any]]:
    """A row a bucket of the policy that was exported, easiest first."""
    file = tier.policy
    expected, difficulty = file.expected, file.policy.difficulty
    rows = []
    for i, recipe in enumerate(file.policy.buckets):
        rows.append({
            "tier": tier.name, "model": file.tier.model, "operating_point": tier.summary["chosen"],
            "gate": tier.summary["gate"], "bucket": i + 1,
            "share": file.shares[i] if file.shares else None,
            "arms": " + ".join(arm.label for arm in recipe.arms),
            "strategy": str(recipe.strategy), "signal": difficulty.signal,
            "thresholds": ", ".join(f"{cut:g}" for cut in difficulty.thresholds),
            "score": expected.get("score"), "usd_per_item": expected.get("usd_per_item"),
        })  # fmt: skip
    return rows
