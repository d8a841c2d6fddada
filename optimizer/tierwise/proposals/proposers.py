"""What writes prompt candidates: DSPy's grounded proposer, GEPA's reflection, bootstrapping.

Each source runs alone and fills a ``CandidateRegistry``: a call that fails costs one candidate and
is noted there with its reason. The proposer model is reached through a ``dspy.LM`` (``dspy_lm``);
DSPy is imported when a proposer runs, since a search without one must not load it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tierwise.proposals.candidates import (
    CandidateRegistry,
    Demonstration,
    SeenExamples,
    instruction_of,
    with_instruction,
)
from tierwise.schema import PromptTemplate
from tierwise.tasks import Item, Task

TRAIN_ITEMS = 64
"""Train items that the grounded proposer may look at."""
SHOWN_EXAMPLES, SHOWN_FAILURES = 3, 6
"""Items in one call of the grounded proposer, and of the reflection."""

_PROCESS_STREAMS = threading.RLock()
"""Streams and log levels belong to the process: tiers that propose side by side take turns."""


class FailedItem(NamedTuple):
    """An item that is not answered right, as the reflection sees it.

    ``answers`` are what the samples said, None where nothing could be read; ``score`` is the
    policy's mean score on it over the permutations of its samples.
    """

    inputs: Mapping[str, str]
    answers: Sequence[str | None]
    target: str
    score: float


@dataclass(frozen=True)
class ReflectionBrief:
    """What a reflection is asked to improve: one prompt of a policy, in one bucket.

    Attributes:
        prompt: id of the prompt.
        instruction: its current instruction.
        run_as: how it is run: votes, mode, bucket.
        failures: items that go wrong.
        origin: prefix of its candidates' origins.
    """

    prompt: str
    instruction: str
    run_as: str
    failures: Sequence[FailedItem]
    origin: str = "reflection"


class PromptProposer(Protocol):
    """Proposes prompts; ``lm`` is a ``dspy.LM`` over the proposer model, None where there is none.

    What is proposed passes the registry first, which keeps what was refused, and why.
    """

    def registry(self) -> CandidateRegistry:
        """A new registry that knows the train items and the instructions that are there already."""
        ...

    def open(
        self, registry: CandidateRegistry, lm: Any, *, n: int, seed: int
    ) -> list[PromptTemplate]:
        """Prompts from the task alone, before anything was tried."""
        ...

    def instruction(self, registry: CandidateRegistry, prompt: PromptTemplate) -> str:
        """What ``prompt`` tells the model to do."""
        ...

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
        """Prompts in place of ``prompt``, from what it gets wrong in the strategy that runs it."""
        ...


@dataclass(frozen=True)
class TaskProposer:
    """Proposes instructions for a task, as system texts of its own prompts.

    Those before the search are laid out on ``baseline``, a revision on the prompt that it revises.
    """

    task: Task
    baseline: PromptTemplate
    prompts: Sequence[PromptTemplate] = ()

    def registry(self) -> CandidateRegistry:
        """Knows the train items, and the instructions of the task's prompts."""
        existing = {prompt.id: instruction_of(prompt) for prompt in (self.baseline, *self.prompts)}
        return CandidateRegistry(seen_in(self.task.splits["train"]), existing=existing)

    def open(
        self, registry: CandidateRegistry, lm: Any, *, n: int, seed: int
    ) -> list[PromptTemplate]:
        """From DSPy's grounded proposer."""
        if lm is None:
            return []
        with proposer_context(lm) as dspy:
            program, examples = _program(dspy, self.task, instruction_of(self.baseline))
            propose_grounded(registry, program, examples, lm, n=n, seed=seed)
        return [with_instruction(self.baseline, c) for c in registry.candidates]

    def instruction(self, registry: CandidateRegistry, prompt: PromptTemplate) -> str:
        """Its system text, else its last message."""
        return instruction_of(prompt)

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
        """From GEPA's reflection."""
        if lm is None:
            return []
        before = len(registry.candidates)
        with proposer_context(lm):
            propose_by_reflection(registry, brief, lm, n=n, seed=seed)
        return [with_instruction(prompt, c) for c in registry.candidates[before:]]


def seen_in(train: Sequence[Item]) -> SeenExamples:
    """What of the train items a proposal must not repeat."""
    inputs = [value for item in train for value in item.inputs.values()]
    return SeenExamples(inputs, [item.target for item in train])


@contextlib.contextmanager
def proposer_context(lm: Any) -> Iterator[Any]:
    """The module ``dspy``, in a context where its programs run on ``lm``."""
    import dspy

    with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        yield dspy


@contextlib.contextmanager
def silenced_dspy() -> Iterator[None]:
    """A context without DSPy's prints and logs; what is worth saying is in the registry."""
    logger = logging.getLogger("dspy")
    with _PROCESS_STREAMS:
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        nowhere = io.StringIO()
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            logger.setLevel(level)


def propose_grounded(
    registry: CandidateRegistry,
    program: Any,
    trainset: Sequence[Any],
    lm: Any,
    *,
    n: int,
    seed: int,
) -> None:
    """Up to ``n`` instructions from ``dspy.propose.GroundedProposer``, one call each.

    It sees the last predictor's signature, a few train examples with their answers, and a tip.
    """
    from dspy.propose import GroundedProposer
    from dspy.propose.grounded_proposer import TIPS
    from dspy.utils.exceptions import DSPyError

    import dspy

    rng = random.Random(seed)
    signature = _of_examples(program.predictors()[-1].signature, trainset)
    module = dspy.Predict(signature)
    for i in range(n):
        origin = f"grounded/{i}"
        shown = rng.sample(list(trainset), min(SHOWN_EXAMPLES, len(trainset)))
        # The proposer shows the examples of a set after the first, which stands for none.
        sets = {0: [[], [dspy.Example(**example.toDict(), augmented=True) for example in shown]]}
        tip = TIPS[rng.choice(list(TIPS))]
        try:
            with silenced_dspy():
                proposer = GroundedProposer(
                    prompt_model=lm,
                    program=module,
                    trainset=list(trainset),
                    rng=rng,
                    use_dataset_summary=False,
                    program_aware=False,
                    use_instruct_history=False,
                    use_tip=bool(tip),
                    set_tip_randomly=False,
                    set_history_randomly=False,
                )
                text = proposer.propose_instruction_for_predictor(
                    program=module,
                    predictor=module,
                    pred_i=0,
                    demo_candidates=sets,
                    demo_set_i=1,
                    trial_logs={},
                    tip=tip,
                )
        except DSPyError as error:  # the call failed, or its answer could not be read
            registry.refuse(origin, f"the proposer failed: {_first_line(error)}")
            continue
        registry.admit(origin, str(text))


def propose_by_reflection(
    registry: CandidateRegistry, brief: ReflectionBrief, lm: Any, *, n: int, seed: int
) -> None:
    """Up to ``n`` instructions from GEPA's reflection on the brief's failures.

    It is told how the prompt is run (votes, mode, bucket), so that it can aim at what the votes
    disagree on rather than at one sample.
    """
    from dspy.utils.exceptions import DSPyError
    from gepa.strategies.instruction_proposal import InstructionProposalSignature

    rng = random.Random(seed)
    for i in range(n if brief.failures else 0):
        origin = f"{brief.origin}/{i}"
        shown = rng.sample(list(brief.failures), min(SHOWN_FAILURES, len(brief.failures)))
        prompt = InstructionProposalSignature.prompt_renderer(
            {
                "current_instruction_doc": brief.instruction,
                "dataset_with_feedback": [_record(failed, brief.run_as) for failed in shown],
            }
        )
        try:
            said = lm(str(prompt))[0]
        except DSPyError as error:
            registry.refuse(origin, f"the proposer failed: {_first_line(error)}")
            continue
        text = said if isinstance(said, str) else str(said.get("text") or "")
        registry.admit(
            origin, InstructionProposalSignature.output_extractor(text)["new_instruction"]
        )


def bootstrap_demonstrations(
    registry: CandidateRegistry,
    program: Any,
    trainset: Sequence[Any],
    metric: Callable[..., Any],
    *,
    sizes: Sequence[int],
    seed: int,
) -> None:
    """A set of demonstrations for each of ``sizes``, from the program's own right answers.

    The program runs on DSPy's current LM. A set that fails is noted as refused, with the error.
    """
    from dspy.teleprompt import BootstrapFewShot

    for i, size in enumerate(sizes):
        origin = f"bootstrap/{i}"
        shuffled = list(trainset)
        random.Random(seed + i).shuffle(shuffled)
        optimizer = BootstrapFewShot(
            metric=metric,
            max_bootstrapped_demos=size,
            max_labeled_demos=0,
            max_errors=max(10, len(shuffled)),
        )
        try:
            with silenced_dspy():
                compiled = optimizer.compile(program.deepcopy(), trainset=shuffled)
        except Exception as error:  # noqa: BLE001  anybody's program and metric: whatever it raises
            registry.refuse(origin, f"bootstrapping failed: {type(error).__name__}: {error}")
            continue
        (predictor,) = compiled.predictors()
        demos = [demonstration_of(predictor.signature, demo) for demo in predictor.demos]
        registry.admit_demos(origin, demos)


def demonstration_of(signature: Any, demo: Any) -> Demonstration:
    """The signature's fields that a DSPy demonstration has, as text."""
    return {name: str(demo[name]) for name in signature.fields if demo.get(name) is not None}


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


def _of_examples(signature: Any, trainset: Sequence[Any]) -> Any:
    """The signature without the output fields that no example has, such as a reasoning."""
    for name in list(signature.output_fields)[:-1]:
        if all(example.get(name) is None for example in trainset):
            signature = signature.delete(name)
    return signature


def _record(failed: FailedItem, run_as: str) -> dict[str, Any]:
    counts = {a: list(failed.answers).count(a) for a in dict.fromkeys(failed.answers)}
    votes = ", ".join(
        f"{'nothing that could be read' if a is None else repr(a)} x{k}" for a, k in counts.items()
    )
    return {
        "Inputs": dict(failed.inputs),
        "Answers of its samples": votes or "none",
        "Feedback": f"The right answer is {failed.target!r}; the score was {failed.score:.2g}. "
        f"The instruction is run as: {run_as}.",
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
