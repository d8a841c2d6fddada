"""Tiers above: what a tier may hand its requests to, known from their own searches.

A job's tiers stand from the weakest to the strongest, and those of ``escalate_to`` are searched
before the tiers that may hand requests to them. So a tier does not search a stronger one again: it
takes over the arms that did well there, whose draws are in the pool already, on the same items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tierwise.evaluation import SampleTable
from tierwise.recipe import Arm, Policy, PromptTemplate, Recipe, StrategySpec, Tier, uniform
from tierwise.search.selection import in_doublings

if TYPE_CHECKING:
    from tierwise.search.found import Found

MOST_ARMS = 4
"""Arms of a tier above that a study may use: those of its best policies, in this order."""


@dataclass(frozen=True)
class Above:
    """A tier that requests may be handed to.

    Attributes:
        prompts: those of its arms.
        arms: named with the tier.
        depth: draws of an arm that its study looked at.
        one_draw: its best prompt at one draw, a point of score for each doubling of dollars: what
            "always the strong tier" means.
        tuned: the policy that its own search chose.
    """

    tier: Tier
    prompts: Mapping[str, PromptTemplate]
    arms: tuple[Arm, ...]
    depth: int
    one_draw: Policy
    tuned: Policy


def above_of(found: Found) -> Above:
    """A tier as those below it see it. What it hands on itself is not passed through."""
    tier = found.question.tier
    one_draw = _best_prompt(found)
    points = [found.points[found.chosen], *(found.points[name] for name in sorted(found.points))]
    own = [p.policy for p in points if keeps_to_itself(p.policy)]
    tuned = own[0] if own else one_draw
    arms = dict.fromkeys(arm for policy in (one_draw, tuned, *own) for arm in policy.arms)
    kept = tuple(arm for arm in arms if arm in found.study_table.arms)[:MOST_ARMS]
    return Above(
        tier, {arm.prompt: found.question.arms.prompts[arm.prompt] for arm in arms},
        tuple(arm._replace(tier=tier.name) for arm in kept),
        found.generations[-1].dimensions.max_draws, named(one_draw, tier), named(tuned, tier),
    )  # fmt: skip


def _best_prompt(found: Found) -> Policy:
    """Judged on the study's draws."""
    evaluator = found.generations[-1].evaluator
    single = [
        uniform(arm, StrategySpec.of("single")) for arm in found.generations[-1].dimensions.own
    ]
    judged = [evaluator.evaluate(policy) for policy in single]
    worth = [in_doublings(e.mean_score, e.mean_usd) for e in judged]
    return single[int(np.argmax(worth))]


def keeps_to_itself(policy: Policy) -> bool:
    """Whether a policy draws from its own tier alone."""
    return all(arm.tier is None for arm in policy.arms)


def handed_on(policy: Policy, shares: Sequence[float]) -> float:
    """Share of the requests that fall into a bucket with arms of another tier."""
    pairs = zip(policy.buckets, shares, strict=True)
    return sum(share for recipe, share in pairs if any(arm.tier for arm in recipe.arms))


def named(policy: Policy, tier: Tier) -> Policy:
    """``policy`` of ``tier`` as another tier's policy would say it."""

    def arms(of: Iterable[Arm]) -> tuple[Arm, ...]:
        return tuple(arm._replace(tier=tier.name) for arm in of)

    probe = policy.difficulty.probe
    return replace(
        policy,
        buckets=tuple(Recipe(arms(recipe.arms), recipe.strategy) for recipe in policy.buckets),
        difficulty=replace(
            policy.difficulty, probe=probe and probe._replace(arms=arms(probe.arms))
        ),
    )


def own_arms(table: SampleTable) -> SampleTable:
    """``table`` without the arms of other tiers."""
    return replace(table, arms={arm: rows for arm, rows in table.arms.items() if not arm.tier})
