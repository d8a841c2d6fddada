"""Which mode answers in which bucket, and whether a thinking switch has stuck in one position."""

from __future__ import annotations

from collections import Counter

from tierwise.difficulty import SIGNALS
from tierwise.evaluation import SampleTable, replay_item
from tierwise.schema import Policy


def mode_shares(policy: Policy, table: SampleTable) -> list[dict[str, float]]:
    """For each bucket, easiest first, mode -> share of its answers' samples; {} for an empty one.

    Over the items of ``table`` in stored order; what a probe drew beside the answers is left out.
    """
    sampled: list[Counter[str]] = [Counter() for _ in policy.buckets]
    for item in range(table.n_items):
        outcome = replay_item(policy, table, item)
        variants = policy.buckets[outcome.bucket].variants
        sampled[outcome.bucket].update(
            variant.mode for variant in outcome.variants if variant in variants
        )
    return [
        {mode: n / sum(counts.values()) for mode, n in sorted(counts.items())} for counts in sampled
    ]


def stuck_in(policy: Policy, shares: list[dict[str, float]]) -> str | None:
    """The one mode of all buckets where the signal is a thinking switch; None where it switches."""
    modes = {mode for bucket in shares for mode in bucket}
    if (
        getattr(SIGNALS[policy.difficulty.signal], "chooses_mode", False)
        and len(policy.buckets) > 1
        and len(modes) == 1
    ):
        return modes.pop()
    return None
