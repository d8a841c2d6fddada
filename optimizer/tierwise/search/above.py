"""Tiers above: what a tier may hand its requests to, known from their own searches.

A job's tiers stand from the weakest to the strongest, and those of ``escalate_to`` are searched
before the tiers that may hand requests to them. So a tier does not search a stronger one again: it
takes over the variants that did well there, whose samples are in the pool already, on the same items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tierwise.evaluation import SampleTable
from tierwise.schema import Policy, PromptTemplate, Recipe, StrategySpec, Tier, Variant, uniform
from tierwise.search.selection import in_doublings

if TYPE_CHECKING:
    from tierwise.search.found import TierResult

MOST_VARIANTS = 4
"""Variants of a tier above that a study may use: those of its best policies, in this order."""


@dataclass(frozen=True)
class Above:
    """A tier that requests may be handed to.

    Attributes:
        prompts: those of its variants.
        variants: named with the tier.
        depth: samples of a variant that its study looked at.
        one_sample: its best prompt at one sample, a point of score for each doubling of dollars: what
            "always the strong tier" means.
        tuned: the policy that its own search chose.
    """

    tier: Tier
    prompts: Mapping[str, PromptTemplate]
    variants: tuple[Variant, ...]
    n_samples: int
    one_sample: Policy
    tuned: Policy


def above_of(found: TierResult) -> Above:
    """A tier as those below it see it. What it hands on itself is not passed through."""
    tier = found.problem.tier
    one_sample = _best_prompt(found)
    points = [found.points[found.chosen], *(found.points[name] for name in sorted(found.points))]
    own = [p.policy for p in points if keeps_to_itself(p.policy)]
    tuned = own[0] if own else one_sample
    variants = dict.fromkeys(
        variant for policy in (one_sample, tuned, *own) for variant in policy.variants
    )
    kept = tuple(variant for variant in variants if variant in found.study_table.variants)[
        :MOST_VARIANTS
    ]
    return Above(
        tier,
        {variant.prompt: found.problem.variants.prompts[variant.prompt] for variant in variants},
        tuple(variant._replace(tier=tier.name) for variant in kept),
        found.study_rounds[-1].dimensions.max_samples,
        named(one_sample, tier),
        named(tuned, tier),
    )


def _best_prompt(found: TierResult) -> Policy:
    """Judged on the study's samples."""
    evaluator = found.study_rounds[-1].evaluator
    single = [
        uniform(variant, StrategySpec.of("single"))
        for variant in found.study_rounds[-1].dimensions.own
    ]
    judged = [evaluator.evaluate(policy) for policy in single]
    worth = [in_doublings(e.mean_score, e.mean_usd) for e in judged]
    return single[int(np.argmax(worth))]


def keeps_to_itself(policy: Policy) -> bool:
    """Whether a policy samples from its own tier alone."""
    return all(variant.tier is None for variant in policy.variants)


def handed_on(policy: Policy, shares: Sequence[float]) -> float:
    """Share of the requests that fall into a bucket with variants of another tier."""
    pairs = zip(policy.buckets, shares, strict=True)
    return sum(share for recipe, share in pairs if any(variant.tier for variant in recipe.variants))


def named(policy: Policy, tier: Tier) -> Policy:
    """``policy`` of ``tier`` as another tier's policy would say it."""

    def variants(of: Iterable[Variant]) -> tuple[Variant, ...]:
        return tuple(variant._replace(tier=tier.name) for variant in of)

    probe = policy.difficulty.probe
    return replace(
        policy,
        buckets=tuple(
            Recipe(variants(recipe.variants), recipe.strategy) for recipe in policy.buckets
        ),
        difficulty=replace(
            policy.difficulty, probe=probe and probe._replace(variants=variants(probe.variants))
        ),
    )


def own_variants(table: SampleTable) -> SampleTable:
    """``table`` without the variants of other tiers."""
    return replace(
        table,
        variants={variant: rows for variant, rows in table.variants.items() if not variant.tier},
    )
