"""The first round of a tier: the proposed instructions, and demonstrations from its own answers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tierwise.errors import ProviderError
from tierwise.pool import Buyer
from tierwise.proposals import CandidateRegistry, Demonstration
from tierwise.schema import PromptTemplate, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.rounds.caps import STAGE
from tierwise.search.rounds.desk import Desk
from tierwise.search.rounds.loop import Rounds
from tierwise.search.rounds.record import Round

BOOTSTRAP = "bootstrap"
SIZES = (2, 4)
"""Demonstrations of a set, by turns."""
PROBED_ITEMS = 16
"""Tune items that a proposed prompt must answer, or fail to, before it may take part."""


@dataclass(frozen=True)
class Start:
    """Begins the rounds of a tier.

    ``baseline`` is the prompt that sets of demonstrations are shown with; ``train_items`` are tried
    for them at most.
    """

    desk: Desk
    buyer: Buyer
    space: SearchSpace
    baseline: PromptTemplate
    train_items: int

    def rounds(self) -> Rounds:
        """With the prompts of the first round; those whose calls fail are refused."""
        registry = self.desk.proposer.registry()
        proposed = self.desk.first()
        proposed.added_to(registry)
        prompts = list(proposed.prompts)
        if self.desk.spec.demonstrations:
            sets = self.desk.demonstrations(self.buyer.tier.name, self._bootstrapped)
            sets.added_to(registry)
            prompts += sets.prompts
        kept = [prompt for prompt in prompts if self._answers(prompt, registry)]
        first = Round(1, kept, list(registry.refused))
        return Rounds(self.desk, self.buyer, registry, [first])

    def _modes(self, prompt: PromptTemplate) -> list[str]:
        modes = [mode for mode in self.space.modes if mode in self.buyer.tier.modes]
        return [mode for mode in modes if not prompt.modes or mode in prompt.modes]

    def _variant(self, prompt: PromptTemplate, mode: str) -> Variant:
        return Variant(prompt.id, mode, self.space.temperatures[0])

    def _answers(self, prompt: PromptTemplate, registry: CandidateRegistry) -> bool:
        """Whether samples arrive: a prompt that exceeds the context would end the whole search."""
        self.buyer.prompts[prompt.id] = prompt
        items = self.buyer.task.splits["tune"][:PROBED_ITEMS]
        variants = {self._variant(prompt, mode): 1 for mode in self._modes(prompt)[:1]}
        try:
            self.buyer.table(items, variants, "screen")
        except ProviderError as error:
            registry.refuse(prompt.origin, f"its calls failed: {error}")
            return False
        return True

    def _bootstrapped(self, registry: CandidateRegistry) -> list[PromptTemplate]:
        """Sets of demonstrations in each mode, from answers that the metric likes."""
        made = []
        for mode in self._modes(self.baseline):
            right = self._right(mode)
            for i in range(self.desk.spec.demonstrations):
                size, origin = SIZES[i % len(SIZES)], f"{BOOTSTRAP}/{mode}/{i}"
                shown = list(right)
                random.Random(f"{self.desk.job.seed}/{mode}/{i}").shuffle(shown)
                demos = shown[:size]
                said = [{**inputs, "answer": text} for inputs, text in demos]
                candidate = registry.admit_demos(origin, said)
                if candidate is not None:
                    made.append(
                        replace(
                            self.baseline.with_demonstrations(demos),
                            modes=(mode,),
                            origin=origin,
                            id=f"{self.baseline.id}+{candidate.id}",
                        )
                    )
        return made

    def _right(self, mode: str) -> list[tuple[Demonstration, str]]:
        """Inputs and answer of train items that the tier itself gets right, with a word each."""
        task = self.buyer.task
        items = task.splits["train"][: self.train_items]
        variant = self._variant(self.baseline, mode)
        with contextlib.suppress(ProviderError):  # too few calls arrived: what did is there
            self.buyer.table(items, {variant: 1}, STAGE)
        texts: Sequence[list[str]] = self.buyer.texts(variant, items, 1)
        return [
            (item.inputs, text)
            for item, said in zip(items, texts, strict=True)
            for text in said
            if task.score(task.answer.extract(text), item) >= 1
        ]
