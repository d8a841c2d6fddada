"""How tiers share a budget: in fixed parts.

Parts are fixed before the first call: were they what the others leave, a result would depend on
which tier was faster.
"""

from __future__ import annotations

from collections.abc import Mapping

from tierwise.content import Budget
from tierwise.pool import Cap
from tierwise.recipe import Tier


def share_of(budget: Budget, tier: Tier, tiers: Mapping[str, Tier]) -> Cap:
    """A tier's part of the budget: calls and tokens alike, dollars by price."""
    n = len(tiers)
    prices = {t.name: t.price.completion_usd_per_mtok or 1.0 for t in tiers.values()}
    part = prices[tier.name] / sum(prices.values())
    return Cap(
        usd=None if budget.usd is None else budget.usd * part,
        calls=None if budget.calls is None else max(1, budget.calls // n),
        tokens=None if budget.tokens is None else max(1, budget.tokens // n),
        seconds=budget.seconds,
    )
