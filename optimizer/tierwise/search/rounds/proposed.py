"""A round's proposals as a file of the run: read back, they need no proposer."""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.pool.run_dir import RunDir
from tierwise.proposals import CandidateRegistry, PromptCandidate, RefusedCandidate
from tierwise.schema import PromptTemplate
from tierwise.schema.result import from_json

FOLDER = "proposals"
FIRST = "first"


@dataclass(frozen=True)
class Proposed:
    """What came of a round before any of it was tried.

    Attributes:
        prompts: with id, origin and exact bytes.
        candidates: what of them is new, as the registry has it.
        refused: what led to nothing, and why.
    """

    prompts: tuple[PromptTemplate, ...]
    candidates: tuple[PromptCandidate, ...] = ()
    refused: tuple[RefusedCandidate, ...] = ()

    @classmethod
    def of(
        cls, prompts: list[PromptTemplate], registry: CandidateRegistry, before: CandidateRegistry
    ) -> Proposed:
        """What ``registry`` got beyond what it held ``before``."""
        return cls(
            tuple(prompts),
            tuple(registry.candidates[len(before.candidates) :]),
            tuple(registry.refused[len(before.refused) :]),
        )

    def added_to(self, registry: CandidateRegistry) -> None:
        """Have ``registry`` know these too."""
        registry.candidates += self.candidates
        registry.refused += self.refused

    def save(self, run: RunDir, name: str) -> None:
        """Write ``proposals/NAME.json``, whole or not at all."""
        run.write_json(f"{FOLDER}/{name}.json", self)

    @classmethod
    def load(cls, run: RunDir, name: str) -> Proposed | None:
        """What ``save`` wrote; None where the round was not made.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            return from_json(run.path / FOLDER / f"{name}.json", cls)
        except FileNotFoundError:
            return None
