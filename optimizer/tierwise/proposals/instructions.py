"""Instruction candidates: DSPy's grounded proposer, and GEPA's reflection on failures.

Both talk to a proposer model through a ``dspy.LM``. One call that fails costs one candidate.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tierwise.proposals.candidate import Registry
from tierwise.proposals.quiet import quiet

GROUNDED, REFLECTION = "grounded", "reflection"
SHOWN_EXAMPLES = 3
SHOWN_FAILURES = 6


class Failing(NamedTuple):
    """An item that is not answered right, as the reflection sees it.

    ``answers`` are what the samples said, None where nothing could be read; ``score`` is what the
    policy gets on it, over the orders in which its samples may come.
    """

    inputs: Mapping[str, str]
    answers: Sequence[str | None]
    target: str
    score: float


@dataclass(frozen=True)
class Brief:
    """What a reflection is asked to improve: one prompt of a policy, in one bucket.

    Attributes:
        prompt: id of the prompt.
        instruction: its current instruction.
        run_as: how it is run: votes, mode, bucket.
        failures: items that go wrong.
        origin: what its candidates' origins begin with.
    """

    prompt: str
    instruction: str
    run_as: str
    failures: Sequence[Failing]
    origin: str = REFLECTION


def grounded(
    registry: Registry, program: Any, trainset: Sequence[Any], lm: Any, *, n: int, seed: int
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
        origin = f"{GROUNDED}/{i}"
        shown = rng.sample(list(trainset), min(SHOWN_EXAMPLES, len(trainset)))
        # The proposer shows the examples of a set after the first, which stands for none.
        sets = {0: [[], [dspy.Example(**example.toDict(), augmented=True) for example in shown]]}
        tip = TIPS[rng.choice(list(TIPS))]
        try:
            with quiet():
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


def reflect(registry: Registry, brief: Brief, lm: Any, *, n: int, seed: int) -> None:
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
                "dataset_with_feedback": [_record(failing, brief.run_as) for failing in shown],
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


def _of_examples(signature: Any, trainset: Sequence[Any]) -> Any:
    """The signature without the output fields that no example has, such as a reasoning."""
    for name in list(signature.output_fields)[:-1]:
        if all(example.get(name) is None for example in trainset):
            signature = signature.delete(name)
    return signature


def _record(failing: Failing, run_as: str) -> dict[str, Any]:
    counts = {a: list(failing.answers).count(a) for a in dict.fromkeys(failing.answers)}
    votes = ", ".join(
        f"{'nothing that could be read' if a is None else repr(a)} x{k}" for a, k in counts.items()
    )
    return {
        "Inputs": dict(failing.inputs),
        "Answers of its samples": votes or "none",
        "Feedback": f"The right answer is {failing.target!r}; the score was {failing.score:.2g}. "
        f"The instruction is run as: {run_as}.",
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
