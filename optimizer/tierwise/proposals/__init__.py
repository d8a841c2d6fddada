"""Prompt candidates (instructions and demonstration sets), and what proposes them."""

from tierwise.proposals.candidates import (
    CandidateRegistry,
    Demonstration,
    PromptCandidate,
    RefusedCandidate,
    SeenExamples,
    normalised,
    propose_from_catalogue,
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
