"""What is searched: one tier of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import LEVEL, Difficulty, PromptTemplate, Tier, UsageLimits, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.above import Above
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
class TierProblem:
    """One tier of a job. Stages hand it on with what they learned.

    Attributes:
        effort: how much a search looks at; scaled to the budget by the first stage.
        assumed: what a sample costs, before the first is bought.
        generations: those of earlier rounds, which these are counted on from.
        scores: names of the scores that samples have; None: log-probabilities, if the tier has them.
        told: signals that ask the model or are fitted -> how they are told, from the first stages.
        before: what the search begins from, where the folder holds an earlier one.
        above: the tiers that requests may be handed to, the weakest first.
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
    above: tuple[Above, ...] = ()

    @property
    def handed_to(self) -> dict[Variant, int]:
        """The variants of the tiers above, with the samples of each that a study may look at."""
        return {variant: tier.n_samples for tier in self.above for variant in tier.variants}

    @property
    def point(self) -> str:
        """Name of the job's operating point; ``level`` only where there are tiers above."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return self.plain_point if not self.above else self.operating_point

    @property
    def plain_point(self) -> str:
        """The same where nothing is handed on: in place of ``level`` it is ``balanced``."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return "balanced" if self.operating_point == LEVEL else self.operating_point

    @property
    def tiers(self) -> dict[str, Tier]:
        """The tier and those above it, by name."""
        return {tier.name: tier for tier in (self.tier, *(above.tier for above in self.above))}

    @property
    def prompts(self) -> dict[str, PromptTemplate]:
        """The prompts of all variants, those of the tiers above among them."""
        of_above = {name: p for above in self.above for name, p in above.prompts.items()}
        return {**of_above, **self.variants.prompts}

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
            min(self.handed_to.values(), default=n_samples),
        )

    def evaluator(self, table: SampleTable, *, exact: bool = True) -> Evaluator:
        """Judges policies on ``table``; on held-out items all go through the orders (not exact)."""
        return Evaluator(table, self.permutations, exact=exact, cache_bytes=CACHE_BYTES)


def in_random_order(items: Sequence[Item], seed: int) -> list[Item]:
    """Items in a random order that does not depend on the order of the file."""
    by_content = sorted(items, key=lambda item: item.content_sha256)
    order = np.random.default_rng([seed, 17]).permutation(len(by_content))
    return [by_content[i] for i in order]
