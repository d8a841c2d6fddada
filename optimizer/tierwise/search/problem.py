"""What is searched: one tier of a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import (
    LEVEL,
    Difficulty,
    Policy,
    PromptTemplate,
    Recipe,
    Tier,
    UsageLimits,
    Variant,
)
from tierwise.schema.space import SearchSpace
from tierwise.search.earlier import Before
from tierwise.search.parameters import Dimensions
from tierwise.search.search_size import SampleCost, SearchSize
from tierwise.search.variants import Variants
from tierwise.tasks import Item, Task

BOUNDED = "bounded"
"""Name of the operating point that a job's own bound makes."""

CACHE_BYTES = 12_000_000
"""Of each evaluator: tiers are searched side by side, and their tables are small."""


@dataclass(frozen=True)
class EscalationTarget:
    """A stronger tier that requests may be escalated to, known from its own search.

    A job's tiers stand from the weakest to the strongest, and those of ``escalate_to`` are searched
    before the tiers that may escalate to them. So a tier does not search a stronger one again: it
    takes over the variants that did well there, whose samples are in the pool, on the same items.

    Attributes:
        prompts: those of its variants.
        variants: named with the tier.
        n_samples: of a variant, that its study looked at.
        one_sample: its best prompt at one sample by balanced utility: "always the strong tier".
        tuned: the policy that its own search chose.
    """

    tier: Tier
    prompts: Mapping[str, PromptTemplate]
    variants: tuple[Variant, ...]
    n_samples: int
    one_sample: Policy
    tuned: Policy


def keeps_to_itself(policy: Policy) -> bool:
    """Whether a policy samples from its own tier alone."""
    return all(variant.tier is None for variant in policy.variants)


def escalated_share(policy: Policy, shares: Sequence[float]) -> float:
    """Share of the requests that fall into a bucket with variants of another tier."""
    pairs = zip(policy.buckets, shares, strict=True)
    return sum(share for recipe, share in pairs if any(variant.tier for variant in recipe.variants))


def of_tier(policy: Policy, tier: Tier) -> Policy:
    """``policy`` of ``tier`` as another tier's policy names it."""

    def variants(of: Iterable[Variant]) -> tuple[Variant, ...]:
        return tuple(variant._replace(tier=tier.name) for variant in of)

    difficulty, probe = policy.difficulty, policy.difficulty.probe
    buckets = tuple(Recipe(variants(recipe.variants), recipe.strategy) for recipe in policy.buckets)
    if probe is not None:
        probe = probe._replace(variants=variants(probe.variants))
    return replace(policy, buckets=buckets, difficulty=replace(difficulty, probe=probe))


def own_variants(table: SampleTable) -> SampleTable:
    """``table`` without the variants of other tiers."""
    own = {variant: rows for variant, rows in table.variants.items() if not variant.tier}
    return replace(table, variants=own)


@dataclass(frozen=True)
class TierProblem:
    """One tier of a job. Stages hand it on with what they learned.

    Attributes:
        search_size: how much a search looks at; scaled to the budget by the first stage.
        assumed: what a sample costs, before the first is bought.
        study_rounds: those of earlier rounds, which these are counted on from.
        scores: names of the scores that samples have; None: log-probabilities, if the tier has them.
        told: signals that ask the model or are fitted -> how they are told, from the first stages.
        before: what the search begins from, where the folder holds an earlier one.
        targets: the tiers that requests may be escalated to, the weakest first.
    """

    task: Task
    tier: Tier
    space: SearchSpace
    variants: Variants
    seed: int
    trials: int
    margin: float
    operating_point: str | Mapping[str, float]
    search_size: SearchSize
    cap: UsageLimits
    assumed: SampleCost
    study_rounds: int = 0
    scores: frozenset[str] | None = None
    told: Mapping[str, tuple[Difficulty, ...]] = field(default_factory=dict)
    before: Before = Before()
    targets: tuple[EscalationTarget, ...] = ()

    @property
    def escalated_to(self) -> dict[Variant, int]:
        """The targets' variants, with the samples of each that a study may look at."""
        return {variant: target.n_samples for target in self.targets for variant in target.variants}

    @property
    def point(self) -> str:
        """Name of the job's operating point; ``level`` only with escalation targets."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return self.plain_point if not self.targets else self.operating_point

    @property
    def plain_point(self) -> str:
        """The same where nothing is escalated: in place of ``level`` it is ``balanced``."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return "balanced" if self.operating_point == LEVEL else self.operating_point

    @property
    def tiers(self) -> dict[str, Tier]:
        """The tier and its escalation targets, by name."""
        return {tier.name: tier for tier in (self.tier, *(target.tier for target in self.targets))}

    @property
    def prompts(self) -> dict[str, PromptTemplate]:
        """The prompts of all variants, those of the escalation targets among them."""
        theirs = {name: p for target in self.targets for name, p in target.prompts.items()}
        return {**theirs, **self.variants.prompts}

    @property
    def families(self) -> dict[str, str]:
        """Prompt -> its family, which its other paraphrases share."""
        return {name: prompt.family for name, prompt in self.variants.prompts.items()}

    def items(self, split: str) -> list[Item]:
        """The split, ``in_random_order``."""
        return in_random_order(self.task.splits[split], self.seed)

    @property
    def permutations(self) -> Permutations:
        """The sample orders that policies are judged on, common to all trials."""
        return Permutations(self.search_size.permutations, self.seed)

    def dimensions(self, variants: tuple[Variant, ...], n_samples: int) -> Dimensions:
        """What a study may choose from, with ``n_samples`` samples of each of ``variants``."""
        of = [self.tiers[variant.tier or self.tier.name] for variant in variants]
        return Dimensions(
            self.space,
            variants,
            all(tier.logprobs for tier in of),
            n_samples,
            self.scores,
            self.told,
            min(self.escalated_to.values(), default=n_samples),
        )

    def evaluator(self, table: SampleTable, *, exact: bool = True) -> Evaluator:
        """Judges policies on ``table``; on held-out items all go through the orders (not exact)."""
        return Evaluator(table, self.permutations, exact=exact, cache_bytes=CACHE_BYTES)


def in_random_order(items: Sequence[Item], seed: int) -> list[Item]:
    """Items in a random order that does not depend on the order of the file."""
    by_content = sorted(items, key=lambda item: item.content_sha256)
    order = np.random.default_rng([seed, 17]).permutation(len(by_content))
    return [by_content[i] for i in order]
