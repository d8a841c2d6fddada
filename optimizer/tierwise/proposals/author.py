"""Who writes prompts for a search: what differs between a task's prompts and a DSPy program's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tierwise.proposals.candidate import Known, Registry
from tierwise.proposals.instructions import Brief, grounded, reflect
from tierwise.proposals.layout import instruction_of, with_instruction
from tierwise.schema import PromptTemplate
from tierwise.tasks import Item, Task

TRAIN_ITEMS = 64
"""Train items that a grounded proposer may look at."""


class Author(Protocol):
    """Proposes prompts; ``lm`` is a ``dspy.LM`` over the proposer, None where there is none.

    What is proposed passes the registry first, which keeps what was refused, and why.
    """

    def registry(self) -> Registry:
        """A new registry, which knows what must not come back and what is there already."""
        ...

    def open(self, registry: Registry, lm: Any, *, n: int, seed: int) -> list[PromptTemplate]:
        """Prompts from the task alone, before anything was tried."""
        ...

    def instruction(self, registry: Registry, prompt: PromptTemplate) -> str:
        """What ``prompt`` tells the model to do."""
        ...

    def revise(
        self,
        registry: Registry,
        brief: Brief,
        prompt: PromptTemplate,
        lm: Any,
        *,
        n: int,
        seed: int,
    ) -> list[PromptTemplate]:
        """Prompts in place of ``prompt``, from what it gets wrong in the strategy that runs it."""
        ...


@dataclass(frozen=True)
class TaskAuthor:
    """Writes instructions for a task, as system texts of its own prompts.

    The opening is laid out on ``baseline``, a revision on the prompt that it takes the place of.
    """

    task: Task
    baseline: PromptTemplate
    prompts: Sequence[PromptTemplate] = ()

    def registry(self) -> Registry:
        """Knows the train items, and the instructions that are there."""
        there = {prompt.id: instruction_of(prompt) for prompt in (self.baseline, *self.prompts)}
        return Registry(known_of(self.task.splits["train"]), there=there)

    def open(self, registry: Registry, lm: Any, *, n: int, seed: int) -> list[PromptTemplate]:
        """From DSPy's grounded proposer."""
        if lm is None:
            return []
        with talking_to(lm) as dspy:
            program, examples = _program(dspy, self.task, instruction_of(self.baseline))
            grounded(registry, program, examples, lm, n=n, seed=seed)
        return [with_instruction(self.baseline, c) for c in registry.candidates]

    def instruction(self, registry: Registry, prompt: PromptTemplate) -> str:
        """Its system text, else its last message."""
        return instruction_of(prompt)

    def revise(
        self,
        registry: Registry,
        brief: Brief,
        prompt: PromptTemplate,
        lm: Any,
        *,
        n: int,
        seed: int,
    ) -> list[PromptTemplate]:
        """From GEPA's reflection."""
        if lm is None:
            return []
        before = len(registry.candidates)
        with talking_to(lm):
            reflect(registry, brief, lm, n=n, seed=seed)
        return [with_instruction(prompt, c) for c in registry.candidates[before:]]


def known_of(train: Sequence[Item]) -> Known:
    """What of the train items must not come back."""
    return Known([v for item in train for v in item.inputs.values()], [i.target for i in train])


@contextlib.contextmanager
def talking_to(lm: Any) -> Iterator[Any]:
    """The module ``dspy``, in a context where its programs run on ``lm``."""
    import dspy

    with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        yield dspy


def _program(dspy: Any, task: Task, instruction: str) -> tuple[Any, list[Any]]:
    """A DSPy program that has the task's fields, and examples of its train items."""
    output = next(n for n in ("answer", "target", "final_answer") if n not in task.inputs)
    fields: Mapping[str, Any] = {
        **{name: (str, dspy.InputField()) for name in task.inputs},
        output: (str, dspy.OutputField()),
    }
    signature = dspy.Signature(fields, instruction)
    train = task.splits["train"][:TRAIN_ITEMS]
    examples = [
        dspy.Example(**item.inputs, **{output: item.target}).with_inputs(*task.inputs)
        for item in train
    ]
    return dspy.Predict(signature), examples
