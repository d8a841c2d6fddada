"""A round's proposals as a file of the run: read back, they need no proposer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.errors import InputError
from tierwise.proposals import CandidateRegistry, PromptCandidate, RefusedCandidate
from tierwise.schema import Message, PromptTemplate
from tierwise.search.run_dir import RunDir

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
        run.write_json(
            f"{FOLDER}/{name}.json",
            {
                "prompts": [
                    {
                        "id": p.id,
                        "origin": p.origin,
                        "family": p.family,
                        "modes": list(p.modes),
                        "messages": [m._asdict() for m in p.messages],
                    }
                    for p in self.prompts
                ],
                "candidates": [
                    {
                        "id": c.id,
                        "origin": c.origin,
                        "instructions": c.instructions,
                        "demos": [dict(demo) for demo in c.demos],
                    }
                    for c in self.candidates
                ],
                "refused": [refusal._asdict() for refusal in self.refused],
            },
        )

    @classmethod
    def load(cls, run: RunDir, name: str) -> Proposed | None:
        """What ``save`` wrote; None where the round was not made.

        Raises:
            InputError: the file cannot be read.
        """
        path = run.path / FOLDER / f"{name}.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                tuple(_prompt(row) for row in data["prompts"]),
                tuple(
                    PromptCandidate(c["id"], c["origin"], c["instructions"], tuple(c["demos"]))
                    for c in data["candidates"]
                ),
                tuple(RefusedCandidate(**row) for row in data["refused"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"cannot be read: {error}", path=path) from None


def _prompt(row: Mapping[str, Any]) -> PromptTemplate:
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    return PromptTemplate(
        row["id"], messages, row["family"], tuple(row["modes"]), origin=row["origin"]
    )
