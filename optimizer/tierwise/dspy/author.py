"""Instructions for a DSPy program in the rounds after its first, laid out by its adapter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tierwise.dspy.proposing import Setting
from tierwise.dspy.rendering import STUDENT, template
from tierwise.proposals import (
    CandidateRegistry,
    Demonstration,
    ReflectionBrief,
    propose_by_reflection,
    propose_from_catalogue,
    proposer_context,
)
from tierwise.schema import PromptTemplate


@dataclass(frozen=True)
class ProgramProposer:
    """Goes on from the candidates of ``first``, the round that was made with the program itself.

    A prompt's id is that of its instructions, and after a ``+`` that of its demonstrations.
    """

    setting: Setting
    first: CandidateRegistry
    own_demos: tuple[Demonstration, ...]

    def registry(self) -> CandidateRegistry:
        """What the first round knows."""
        return replace(
            self.first,
            candidates=list(self.first.candidates),
            refused=[],
            existing=dict(self.first.existing),
        )

    def open(
        self, registry: CandidateRegistry, lm: Any, *, n: int, seed: int
    ) -> list[PromptTemplate]:
        """Nothing: the first round is made."""
        return []

    def instruction(self, registry: CandidateRegistry, prompt: PromptTemplate) -> str:
        """The instructions that it was laid out with."""
        paraphrase = prompt.id.partition("+")[0]
        if paraphrase == STUDENT:
            return str(self.setting.signature.instructions)
        return next(c.text for c in registry.candidates if c.id == paraphrase)

    def revise(
        self,
        registry: CandidateRegistry,
        brief: ReflectionBrief,
        prompt: PromptTemplate,
        lm: Any,
        *,
        n: int,
        seed: int,
    ) -> list[PromptTemplate]:
        """Other instructions with the prompt's demonstrations.

        They are GEPA's, or, for an embedded tier, the next paraphrases of its catalogue.
        """
        before = len(registry.candidates)
        if self.setting.embedded:
            propose_from_catalogue(registry, n=len(registry.of_kind(demos=False)) + n)
        elif lm is not None:
            with proposer_context(lm):
                propose_by_reflection(registry, brief, lm, n=n, seed=seed)
        _, _, shown = prompt.id.partition("+")
        demos = next((c.demos for c in registry.candidates if c.id == shown), self.own_demos)
        made = []
        for new in registry.candidates[before:]:
            signature = self.setting.signature.with_instructions(new.text)
            prompt_id = f"{new.id}+{shown}" if shown else new.id
            made.append(template(prompt_id, new.origin, signature, demos, self.setting.adapter))
        return made
