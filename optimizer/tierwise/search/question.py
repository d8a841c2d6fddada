"""What is searched: one tier of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tierwise.evaluation import Evaluator, Orders, SampleTable
from tierwise.pool import Cap
from tierwise.recipe import Arm, Difficulty, Tier
from tierwise.recipe.space import SearchSpace
from tierwise.search.arms import Arms
from tierwise.search.effort import DrawCost, Effort
from tierwise.search.parameters import Dimensions
from tierwise.task import Item, Task

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

    @property
    def families(self) -> dict[str, str]:
        """Prompt -> its family, which its other wordings share."""
        return {name: prompt.family for name, prompt in self.arms.prompts.items()}

    def items(self, split: str) -> list[Item]:
        """The split in a random order that does not depend on the order of the file."""
        by_content = sorted(self.task.splits[split], key=lambda item: item.content_sha256)
        order = np.random.default_rng([self.seed, 17]).permutation(len(by_content))
        return [by_content[i] for i in order]

    @property
    def orders(self) -> Orders:
        """The draw orders that policies are judged on, common to all trials."""
        return Orders(self.effort.orders, self.seed)

    def dimensions(self, arms: tuple[Arm, ...], depth: int) -> Dimensions:
        """What a study may choose from, with ``depth`` draws of each of ``arms``."""
        return Dimensions(
            self.space, arms, self.tier.logprobs, depth, self.pss, self.scores, self.told
        )

    def evaluator(self, table: SampleTable, *, exact: bool = True) -> Evaluator:
        """Judges policies on ``table``; on held-out items all go through the orders (not exact)."""
        return Evaluator(table, self.orders, exact=exact, cache_bytes=CACHE_BYTES)
