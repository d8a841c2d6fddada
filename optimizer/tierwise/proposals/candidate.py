"""What a proposer brings: candidates with id, origin and exact bytes; and what was refused, why.

Proposers may return anything: garbage, the same again, the answers of the examples that they saw.
So each text passes ``Registry.admit`` before anything is bought with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Demo = Mapping[str, str]
"""Field -> text, inputs and outputs of one demonstration."""

_PLACEHOLDER = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
SHORTEST_LEAK = 4
RARE_SHARE = 0.02


class Candidate(NamedTuple):
    """Instructions, or a set of demonstrations; ``id`` is a hash of the exact bytes."""

    id: str
    origin: str
    instructions: str | None = None
    demos: tuple[Demo, ...] = ()

    @property
    def text(self) -> str:
        """The exact text: the instructions, or the demonstrations as JSON."""
        if self.instructions is not None:
            return self.instructions
        return json.dumps([dict(demo) for demo in self.demos], ensure_ascii=False, sort_keys=True)


class Refused(NamedTuple):
    """A proposal that did not become a candidate."""

    origin: str
    reason: str
    text: str = ""


@dataclass(frozen=True)
class Known:
    """What proposers have seen, which must not come back: the train items' inputs and targets."""

    inputs: Sequence[str] = ()
    targets: Sequence[str] = ()


@dataclass
class Registry:
    """Candidates in order of arrival; duplicates by normalised text are merged.

    ``longest_chars`` bounds what a prompt may hold of one proposal; ``there`` are the instructions
    of prompts that are there already, by the prompt's id.
    """

    known: Known = Known()
    longest_chars: int = 4000
    there: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def admit(self, origin: str, instructions: str) -> Candidate | None:
        """The candidate of a proposed instruction; None where it was refused."""
        text = instructions.strip()
        reason = self._fault(text)
        if reason:
            self.refuse(origin, reason, text)
            return None
        return self._added(Candidate(f"i-{_short_hash(text)}", origin, text))

    def admit_demos(self, origin: str, demos: Sequence[Demo]) -> Candidate | None:
        """The candidate of a set of demonstrations; None where it was refused."""
        candidate = Candidate("", origin, None, tuple(dict(demo) for demo in demos))
        candidate = candidate._replace(id=f"d-{_short_hash(candidate.text)}")
        reason = ""
        if not demos:
            reason = "empty: nothing was bootstrapped"
        elif _PLACEHOLDER.search(candidate.text):
            reason = "it holds {{ … }}, which a policy file would fill in"
        elif len(candidate.text) > self.longest_chars:
            reason = f"too long: {len(candidate.text)} characters, {self.longest_chars} are allowed"
        if reason:
            self.refuse(origin, reason, candidate.text)
            return None
        return self._added(candidate)

    def refuse(self, origin: str, reason: str, text: str = "") -> None:
        """Note a proposal, or a proposer's failure, that led to nothing."""
        self.refused.append(Refused(origin, reason, text))

    def of_kind(self, *, demos: bool) -> list[Candidate]:
        """The candidates that are sets of demonstrations, or those that are instructions."""
        return [c for c in self.candidates if bool(c.demos) == demos]

    def _added(self, candidate: Candidate) -> Candidate | None:
        same = normalised(candidate.text)
        texts = {**self.there, **{c.id: c.text for c in self.candidates}}
        for name, text in texts.items():
            if normalised(text) == same:
                self.refuse(candidate.origin, f"the same as {name}", candidate.text)
                return None
        self.candidates.append(candidate)
        return candidate

    def _fault(self, text: str) -> str:
        if not text:
            return "empty"
        if len(text) > self.longest_chars:
            return f"too long: {len(text)} characters, {self.longest_chars} are allowed"
        if _PLACEHOLDER.search(text):
            return "it holds {{ … }}, which a policy file would fill in"
        words = _WORD.findall(text)
        if len(words) < 2 or sum(map(len, words)) < 0.4 * len("".join(text.split())):
            return "garbage: hardly a word in it"
        return leak(text, self.known)


def leak(text: str, known: Known) -> str:
    """Why ``text`` gives a train item away, or nothing.

    An item's whole input gives it away, and so does a target that is long enough to be no chance
    and that few items share: the label of a class may well stand in an instruction.
    """
    said = f" {normalised(text)} "
    for inputs in known.inputs:
        shown = normalised(inputs)
        if len(shown) >= SHORTEST_LEAK and f" {shown} " in said:
            return "leak: it repeats the input of a train item"
    often = max(1, round(RARE_SHARE * len(known.targets)))
    for target in dict.fromkeys(known.targets):
        shown = normalised(target)
        rare = known.targets.count(target) <= often
        if rare and len(shown) >= SHORTEST_LEAK and f" {shown} " in said:
            return "leak: it holds the answer of a train item"
    return ""


def normalised(text: str) -> str:
    """Lower-case words, numbers and signs; by this, two texts are the same."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;!\"'`*]", text.casefold()))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
