"""How tiers share a budget: in fixed parts.

Parts are fixed before the first call: were they what the others leave, a result would depend on
which tier was faster.
"""

from __future__ import annotations

from collections.abc import Mapping

from tierwise.schema import Job, Tier, UsageLimits


def share_of(job: Job, tier: Tier, tiers: Mapping[str, Tier]) -> UsageLimits:
    """A tier's part of the budget: calls and tokens alike, dollars by price.

    A tier that may hand requests on pays for what it buys of the tiers above, and so counts with
    their prices beside its own.
    """
    budget, n = job.tiers_budget, len(tiers)

    def price(name: str) -> float:
        of = (name, *job.above(name))
        return sum(tiers[one].price.completion_usd_per_mtok or 1.0 for one in of)

    part = price(tier.name) / sum(price(name) for name in tiers)
    return UsageLimits(
        usd=None if budget.usd is None else budget.usd * part,
        calls=None if budget.calls is None else max(1, budget.calls // n),
        tokens=None if budget.tokens is None else max(1, budget.tokens // n),
        seconds=budget.seconds,
    )
