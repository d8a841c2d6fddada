"""What a compile proposes before its study: instructions and demonstrations, within a cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy
from tierwise.dspy.examples import Examples
from tierwise.dspy.rendering import STUDENT
from tierwise.llm import Completion, build_request
from tierwise.llm.models import EMBEDDED, address_of, kind_of
from tierwise.pool import PooledModel
from tierwise.proposals import (
    CandidateRegistry,
    FailedItem,
    ReflectionBrief,
    bootstrap_demonstrations,
    propose_by_reflection,
    propose_from_catalogue,
    propose_grounded,
    proposer_context,
    seen_in,
)
from tierwise.proposals.dspy_lm import proposers_lm
from tierwise.schema import PromptTemplate, ProposalSpec, Tier, TierSpec, Variant

VOTES = 3
"""Samples an item that the reflection sees: enough for a disagreement to show."""


@dataclass(frozen=True)
class Proposing:
    """What to propose, and who.

    Attributes:
        model: the proposer, a model string or a ``TierSpec``; None: no instructions are written
            (embedded tiers take them from the catalogue of their paraphrases).
        grounded, reflected: instructions to ask for from each source, before the study.
        rounds: at most, that one among them; each further one asks for ``grounded`` instructions
            that mend what the policy found so far gets wrong, tier by tier.
        demo_sets: sizes of the sets to bootstrap.
        usd: the most that proposals and bootstrapping may cost, out of the job's budget; None: a
            tenth of it.
        most_prompts: of all combinations, how many prompts enter the study.
        train_items: train examples that bootstrapping and reflection look at, at most.
    """

    model: str | TierSpec | None = None
    grounded: int = 4
    reflected: int = 2
    rounds: int = 2
    demo_sets: tuple[int, ...] = (2, 4)
    usd: float | None = None
    most_prompts: int = 12
    train_items: int = 32
    longest_chars: int = 4000

    @property
    def spec(self) -> ProposalSpec:
        """As a job has it."""
        model = TierSpec(self.model) if isinstance(self.model, str) else self.model
        return ProposalSpec(model, self.rounds, instructions=self.grounded, usd=self.usd)


@dataclass(frozen=True)
class Setting:
    """What proposals are made for."""

    program: Any
    signature: Any
    metric: Callable[..., Any]
    examples: Examples
    adapter: Any
    tier: Tier
    seed: int

    @property
    def embedded(self) -> bool:
        """Whether the tiers cannot write instructions, and choose from a catalogue instead."""
        return kind_of(self.tier.model) == EMBEDDED

    def registry(self, longest_chars: int) -> CandidateRegistry:
        """Knows the train examples and the student's instructions, which must not come back."""
        known = seen_in(self.examples.task.splits["train"])
        return CandidateRegistry(known, longest_chars, {STUDENT: str(self.signature.instructions)})


def propose(
    setting: Setting,
    proposing: Proposing,
    student: PromptTemplate,
    tier_model: PooledModel,
    proposer: PooledModel | None,
) -> CandidateRegistry:
    """The first round's candidates; what fails or is refused is in the registry with its reason.

    ``tier_model`` and ``proposer`` buy within one cap, so that what does not fit is a failure.
    """
    registry = setting.registry(proposing.longest_chars)
    examples = setting.examples.of("train")[: proposing.train_items]
    if setting.embedded:
        propose_from_catalogue(registry, n=proposing.grounded)
    elif proposer is not None:
        lm = proposers_lm(proposer.tier, proposer, setting.seed)
        with proposer_context(lm):
            propose_grounded(
                registry, setting.program, examples, lm, n=proposing.grounded, seed=setting.seed
            )
            brief = _first_brief(setting, proposing, student, tier_model)
            propose_by_reflection(registry, brief, lm, n=proposing.reflected, seed=setting.seed)
    if proposing.demo_sets and examples:
        lm = proposers_lm(tier_model.tier, tier_model, setting.seed)
        with dspy.context(lm=lm, adapter=setting.adapter):
            bootstrap_demonstrations(
                registry,
                setting.program,
                examples,
                setting.metric,
                sizes=proposing.demo_sets,
                seed=setting.seed,
            )
    return registry


def _first_brief(
    setting: Setting, proposing: Proposing, student: PromptTemplate, model: PooledModel
) -> ReflectionBrief:
    """Train items that a vote with the student's prompt gets wrong, with what its samples said."""
    task, tier = setting.examples.task, setting.tier
    variant = Variant(STUDENT, next(iter(tier.modes)), 0.8)
    found = []
    for item in task.splits["train"][: proposing.train_items]:
        request = build_request(tier, student, variant, item.inputs, address_of(tier))
        samples = [d for d in model.samples(request, VOTES) if isinstance(d, Completion)]
        answers = [task.answer.extract(d.text) for d in samples]
        said = [a for a in answers if a is not None]
        score = task.score(max(said, key=said.count, default=None), item)
        if samples and score < 1:
            found.append(FailedItem(item.inputs, answers, item.target, score))
    run_as = f"a plurality vote over several samples in mode {variant.mode!r}"
    return ReflectionBrief(STUDENT, str(setting.signature.instructions), run_as, found)
