"""Prompt candidates (instructions and demonstration sets), and what proposes them."""

from tierwise.proposals.candidates import (
    CandidateRegistry,
    Demonstration,
    PromptCandidate,
    RefusedCandidate,
    SeenExamples,
    instruction_of,
    normalised,
    propose_from_catalogue,
    with_instruction,
)
from tierwise.proposals.proposers import (
    FailedItem,
    PromptProposer,
    ReflectionBrief,
    TaskProposer,
    bootstrap_demonstrations,
    propose_by_reflection,
    propose_grounded,
    proposer_context,
    seen_in,
)

__all__ = [
    "CandidateRegistry",
    "Demonstration",
    "FailedItem",
    "PromptCandidate",
    "PromptProposer",
    "ReflectionBrief",
    "RefusedCandidate",
    "SeenExamples",
    "TaskProposer",
    "bootstrap_demonstrations",
    "instruction_of",
    "normalised",
    "propose_by_reflection",
    "propose_from_catalogue",
    "propose_grounded",
    "proposer_context",
    "seen_in",
    "with_instruction",
]
