"""What is searched: one tier of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tierwise.content import LEVEL
from tierwise.evaluation import Evaluator, Orders, SampleTable
from tierwise.pool import Cap
from tierwise.recipe import Arm, Difficulty, PromptTemplate, Tier
from tierwise.recipe.space import SearchSpace
from tierwise.search.above import Above
from tierwise.search.arms import Arms
from tierwise.search.earlier import Before
from tierwise.search.effort import DrawCost, Effort
from tierwise.search.parameters import Dimensions
from tierwise.search.wordings import RobustEvaluator
from tierwise.task import Item, Task

BOUNDED = "bounded"
"""Name of the operating point that a job's own bound makes."""

CACHE_BYTES = 12_000_000
"""Of each evaluator: tiers are searched side by side, and their tables are small."""


@dataclass(frozen=True)
class Question:
    """One tier of a job. Stages hand it on with what they learned.

    Attributes:
        effort: how much a search looks at; scaled to the budget by the first stage.
        assumed: what a draw costs, before the first is bought.
        pss: how much an arm's score hangs on its wording, from the first stage.
        generations: those of earlier rounds, which these are counted on from.
        scores: names of the scores that draws have; None: log-probabilities, if the tier has them.
        told: signals that ask the model or are fitted -> how they are told, from the first stages.
        before: what the search begins from, where the folder holds an earlier one.
        above: the tiers that requests may be handed to, the weakest first.
    """

    task: Task
    tier: Tier
    space: SearchSpace
    arms: Arms
    seed: int
    trials: int
    margin: float
    operating_point: str | Mapping[str, float]
    effort: Effort
    cap: Cap
    assumed: DrawCost
    pss: Mapping[Arm, float] = field(default_factory=dict)
    generations: int = 0
    scores: frozenset[str] | None = None
    told: Mapping[str, tuple[Difficulty, ...]] = field(default_factory=dict)
    before: Before = Before()
    above: tuple[Above, ...] = ()

    @property
    def handed_to(self) -> dict[Arm, int]:
        """The arms of the tiers above, with the draws of each that a study may look at."""
        return {arm: tier.depth for tier in self.above for arm in tier.arms}

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
        """The prompts of all arms, those of the tiers above among them."""
        of_above = {name: p for above in self.above for name, p in above.prompts.items()}
        return {**of_above, **self.arms.prompts}

    @property
    def families(self) -> dict[str, str]:
        """Prompt -> its family, which its other wordings share."""
        return {name: prompt.family for name, prompt in self.arms.prompts.items()}

    def items(self, split: str) -> list[Item]:
        """The split, ``in_random_order``."""
        return in_random_order(self.task.splits[split], self.seed)

    @property
    def orders(self) -> Orders:
        """The draw orders that policies are judged on, common to all trials."""
        return Orders(self.effort.orders, self.seed)

    def dimensions(self, arms: tuple[Arm, ...], depth: int) -> Dimensions:
        """What a study may choose from, with ``depth`` draws of each of ``arms``."""
        of = [self.tiers[arm.tier or self.tier.name] for arm in arms]
        return Dimensions(
            self.space, arms, all(tier.logprobs for tier in of), depth, self.pss, self.scores,
            self.told, min(self.handed_to.values(), default=depth),
        )  # fmt: skip

    def evaluator(
        self, table: SampleTable, *, exact: bool = True, robust: bool = True
    ) -> Evaluator:
        """Judges policies on ``table``; on held-out items all go through the orders (not exact).

        In a robust space by all wordings, unless ``robust`` says as they are.
        """
        if not (robust and self.arms.wordings):
            return Evaluator(table, self.orders, exact=exact, cache_bytes=CACHE_BYTES)
        return RobustEvaluator(
            table, self.orders, self.arms.wordings, exact=exact, cache_bytes=CACHE_BYTES
        )


def in_random_order(items: Sequence[Item], seed: int) -> list[Item]:
    """Items in a random order that does not depend on the order of the file."""
    by_content = sorted(items, key=lambda item: item.content_sha256)
    order = np.random.default_rng([seed, 17]).permutation(len(by_content))
    return [by_content[i] for i in order]
