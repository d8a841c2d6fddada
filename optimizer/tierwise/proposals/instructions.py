"""Instruction candidates: DSPy's grounded proposer, and GEPA's reflection on failures.

Both talk to a proposer model through a ``dspy.LM``. One call that fails costs one candidate.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tierwise.proposals.candidate import Registry
from tierwise.proposals.quiet import quiet

GROUNDED, REFLECTION = "grounded", "reflection"
SHOWN_FAILURES = 6


class Failing(NamedTuple):
    """An answer that the metric did not like, as the reflection sees it."""

    inputs: Mapping[str, str]
    answers: Sequence[str]
    target: str
    score: float


def grounded(
    registry: Registry, program: Any, trainset: Sequence[Any], lm: Any, *, n: int, seed: int
) -> None:
    """Up to ``n`` instructions from ``dspy.propose.GroundedProposer``, one call each."""
    from dspy.propose import GroundedProposer
    from dspy.utils.exceptions import DSPyError

    rng = random.Random(seed)
    for i in range(n):
        origin = f"{GROUNDED}/{i}"
        try:
            with quiet():
                proposer = GroundedProposer(
                    prompt_model=lm, program=program, trainset=list(trainset),
                    use_dataset_summary=False, program_aware=False, use_instruct_history=False,
                    set_history_randomly=False, rng=rng,
                )  # fmt: skip
                proposed = proposer.propose_instructions_for_program(
                    trainset=list(trainset),
                    program=program,
                    demo_candidates=None,
                    trial_logs={},
                    N=1,
                )
        except DSPyError as error:  # the call failed, or its answer could not be read
            registry.refuse(origin, f"the proposer failed: {_first_line(error)}")
            continue
        for text in proposed.get(0, ()):
            registry.admit(origin, str(text))


def reflect(
    registry: Registry, current: str, failures: Sequence[Failing], lm: Any, *, run_as: str, n: int,
    seed: int,
) -> None:  # fmt: skip
    """Up to ``n`` instructions from GEPA's reflection on ``failures``.

    ``run_as`` says how the prompt will be run (votes, mode, buckets), so that the proposer can aim
    at what the votes disagree on rather than at one draw.
    """
    from dspy.utils.exceptions import DSPyError
    from gepa.strategies.instruction_proposal import InstructionProposalSignature

    rng = random.Random(seed)
    for i in range(n if failures else 0):
        origin = f"{REFLECTION}/{i}"
        shown = rng.sample(list(failures), min(SHOWN_FAILURES, len(failures)))
        prompt = InstructionProposalSignature.prompt_renderer({
            "current_instruction_doc": current,
            "dataset_with_feedback": [_record(failing, run_as) for failing in shown],
        })  # fmt: skip
        try:
            said = lm(str(prompt))[0]
        except DSPyError as error:
            registry.refuse(origin, f"the proposer failed: {_first_line(error)}")
            continue
        text = said if isinstance(said, str) else str(said.get("text") or "")
        registry.admit(
            origin, InstructionProposalSignature.output_extractor(text)["new_instruction"]
        )


def _record(failing: Failing, run_as: str) -> dict[str, Any]:
    votes = ", ".join(f"{a!r} x{failing.answers.count(a)}" for a in dict.fromkeys(failing.answers))
    return {
        "Inputs": dict(failing.inputs),
        "Answers of its draws": votes or "none that could be read",
        "Feedback": f"The right answer is {failing.target!r}; the score was {failing.score:g}. "
        f"The instruction is run as: {run_as}.",
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
