"""What a compile proposes before its study: instructions and demonstrations, within a cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy
from tierwise.content import TierSpec
from tierwise.dspy.engine import TierEngine, lm_of
from tierwise.dspy.examples import Examples
from tierwise.dspy.pooled import PooledModel
from tierwise.dspy.rendering import STUDENT
from tierwise.llm import Completion, build_request
from tierwise.llm.models import EMBEDDED, address_of, kind_of
from tierwise.proposals import Failing, Known, Registry, bootstrapped, catalogue, grounded, reflect
from tierwise.recipe import Arm, PromptTemplate, Tier

VOTES = 3
"""Draws an item that the reflection sees: enough for a disagreement to show."""


@dataclass(frozen=True)
class Proposing:
    """What to propose, and who.

    Attributes:
        model: the proposer, a model string or a ``TierSpec``; None: no instructions are written
            (embedded tiers take them from the catalogue of their wordings).
        grounded, reflected: instructions to ask for from each source.
        demo_sets: sizes of the sets to bootstrap.
        usd: the most that proposals and bootstrapping may cost, out of the job's budget; None: a
            tenth of it.
        most_prompts: of all combinations, how many prompts enter the study.
        train_items: train examples that bootstrapping and reflection look at, at most.
    """

    model: str | TierSpec | None = None
    grounded: int = 4
    reflected: int = 2
    demo_sets: tuple[int, ...] = (2, 4)
    usd: float | None = None
    most_prompts: int = 12
    train_items: int = 32
    longest_chars: int = 4000


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


def propose(
    setting: Setting, proposing: Proposing, student: PromptTemplate, tier_model: PooledModel,
    proposer: PooledModel | None,
) -> Registry:  # fmt: skip
    """The candidates for ``setting``; what fails or is refused is in the registry with its reason.

    ``tier_model`` and ``proposer`` buy within one cap, so that what does not fit is a failure.
    """
    train = setting.examples.task.splits["train"]
    known = Known([v for item in train for v in item.inputs.values()], [i.target for i in train])
    registry = Registry(known, proposing.longest_chars)
    examples = setting.examples.of("train")[: proposing.train_items]
    if kind_of(setting.tier.model) == EMBEDDED:
        catalogue(registry, n=proposing.grounded)
    elif proposer is not None:
        lm = _lm(proposer, setting.seed)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            grounded(
                registry, setting.program, examples, lm, n=proposing.grounded, seed=setting.seed
            )
            failures, run_as = _failures(setting, proposing, student, tier_model)
            reflect(
                registry, str(setting.signature.instructions), failures, lm,
                run_as=run_as, n=proposing.reflected, seed=setting.seed,
            )  # fmt: skip
    if proposing.demo_sets and examples:
        with dspy.context(lm=_lm(tier_model, setting.seed), adapter=setting.adapter):
            bootstrapped(
                registry, setting.program, examples, setting.metric,
                sizes=proposing.demo_sets, seed=setting.seed,
            )  # fmt: skip
    return registry


def _lm(model: PooledModel, seed: int) -> Any:
    """A ``dspy.LM`` whose answers are kept in the pool rather than in DSPy's cache."""
    return lm_of(TierEngine(model.tier, _plain_mode(model.tier), model, seed=seed), cache=False)


def _plain_mode(tier: Tier) -> str:
    return next((name for name, sent in tier.modes.items() if "suffix" not in sent), "")


def _failures(
    setting: Setting, proposing: Proposing, student: PromptTemplate, model: PooledModel
) -> tuple[list[Failing], str]:
    """Train items that a vote with the student's prompt gets wrong, with what its draws said."""
    task, tier = setting.examples.task, setting.tier
    arm = Arm(STUDENT, next(iter(tier.modes)), 0.8)
    found = []
    for item in task.splits["train"][: proposing.train_items]:
        request = build_request(tier, student, arm, item.inputs, address_of(tier))
        draws = [d for d in model.draws(request, VOTES) if isinstance(d, Completion)]
        answers = [a for d in draws if (a := task.answer.extract(d.text)) is not None]
        voted = max(answers, key=answers.count, default=None)
        score = task.score(voted, item)
        if draws and score < 1:
            found.append(Failing(item.inputs, answers, item.target, score))
    return found, f"a plurality vote over several draws in mode {arm.mode!r}"
