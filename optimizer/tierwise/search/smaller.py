"""What a smaller budget would give up: fewer items at every stage, and so wider intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tierwise.schema import Budget
from tierwise.search.plan import plan
from tierwise.search.planned import Plan
from tierwise.search.prepared import Prepared
from tierwise.search.problem import SearchSize
from tierwise.search.shares import share_of

SCALES = (1.0, 0.5, 0.22, 0.08)
DIFFER = 0.2
"""Part of the items on which two policies score differently, about: what an interval is wide by."""


@dataclass(frozen=True)
class Size:
    """A search of some size.

    Attributes:
        budget_usd: of the whole job, that lets every tier's search be as large.
        expected_usd: what it would spend.
        items: stage -> items.
        tells: a difference of scores that the 95% interval on held-out items can just tell from 0,
            where policies differ on ``DIFFER`` of them.
    """

    budget_usd: float
    expected_usd: float
    items: Mapping[str, int]
    tells: float


def sizes(prepared: Prepared, seen: Plan, search_size: SearchSize | None = None) -> list[Size]:
    """Searches from the full one to the smallest; ``seen`` is the job's plan, with what is known of
    the lengths of answers.
    """
    unbounded = replace(prepared, job=replace(prepared.job, budget=Budget()))
    full = (search_size or SearchSize()).within(prepared.loaded.task, prepared.space.signals)
    found: list[Size] = []
    for scale in SCALES:
        whole = plan(unbounded, full.scaled(scale))
        size = _size(whole, seen, prepared)
        if size is not None and (not found or size.budget_usd < found[-1].budget_usd):
            found.append(size)
    return found


def _size(whole: Plan, seen: Plan, prepared: Prepared) -> Size | None:
    of_job = {name: whole.tiers[name] for name in prepared.tiers}
    tiers = {name: tier for name, tier in of_job.items() if tier.stages}
    if not tiers:
        return None
    longer = {name: seen.tiers[name].lengths_seen or 1.0 for name in tiers}
    budget = max(
        tier.enough_usd * longer[name] / _part(prepared, name) for name, tier in tiers.items()
    )
    items: dict[str, int] = {}
    for tier in tiers.values():
        for stage in tier.stages:
            items[stage.stage] = min(items.get(stage.stage, stage.items), stage.items)
    spent = sum(tier.expected.usd * longer[name] for name, tier in tiers.items())
    tells = 1.96 * math.sqrt(DIFFER / items["test"]) if items.get("test") else math.nan
    return Size(budget, spent, items, tells)


def _part(prepared: Prepared, name: str) -> float:
    """Of a budget in dollars, the tier's."""
    job = replace(prepared.job, budget=Budget(usd=1.0))
    return share_of(job, prepared.tiers[name], prepared.tiers).usd or 1.0
