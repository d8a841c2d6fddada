"""Prompt candidates: proposed instructions and demonstration sets, and the checks they must pass.

A proposer may return anything: garbage, a text that is there already, the answers of the examples
that it saw. Each text passes ``CandidateRegistry.admit`` before a sample is bought with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tierwise.schema import Message, PromptTemplate, find_task, load_prompts

Demonstration = Mapping[str, str]
"""Field -> text: the inputs and outputs of one demonstration."""

CATALOGUE = "catalogue"
SHORTEST_LEAK = 4
"""Characters; a shorter input or target may stand in an instruction by chance."""
RARE_SHARE = 0.02
"""A target that at most this share of the train items have gives its item away."""

_PLACEHOLDER = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
_OF_CANDIDATE = re.compile(r"\+i-[0-9a-f]{10}")


@dataclass(frozen=True)
class PromptCandidate:
    """Instructions, or a set of demonstrations; ``id`` is a hash of the exact bytes."""

    id: str
    origin: str
    instructions: str | None = None
    demos: tuple[Demonstration, ...] = ()

    @property
    def text(self) -> str:
        """The exact text: the instructions, or the demonstrations as JSON."""
        if self.instructions is not None:
            return self.instructions
        return json.dumps([dict(demo) for demo in self.demos], ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class RefusedCandidate:
    """A proposal that did not become a candidate, or a call of a proposer that failed."""

    origin: str
    reason: str
    text: str = ""


@dataclass(frozen=True)
class SeenExamples:
    """Inputs and targets of the train items, which proposers see and must not give back."""

    inputs: Sequence[str] = ()
    targets: Sequence[str] = ()


@dataclass
class CandidateRegistry:
    """Candidates in order of arrival; a text that is there already, once normalised, is refused.

    ``longest_chars`` bounds one proposal; ``existing`` are the instructions of the prompts that are
    there already, by the prompt's id.
    """

    seen: SeenExamples = SeenExamples()
    longest_chars: int = 4000
    existing: dict[str, str] = field(default_factory=dict)
    candidates: list[PromptCandidate] = field(default_factory=list)
    refused: list[RefusedCandidate] = field(default_factory=list)

    def admit(self, origin: str, instructions: str) -> PromptCandidate | None:
        """The candidate of a proposed instruction; None where it was refused."""
        text = instructions.strip()
        reason = self._fault(text)
        if reason:
            self.refuse(origin, reason, text)
            return None
        return self._added(PromptCandidate(f"i-{_short_hash(text)}", origin, text))

    def admit_demos(self, origin: str, demos: Sequence[Demonstration]) -> PromptCandidate | None:
        """The candidate of a set of demonstrations; None where it was refused."""
        candidate = PromptCandidate("", origin, None, tuple(dict(demo) for demo in demos))
        candidate = replace(candidate, id=f"d-{_short_hash(candidate.text)}")
        reason = self._unusable(candidate.text) if demos else "empty: nothing was bootstrapped"
        if reason:
            self.refuse(origin, reason, candidate.text)
            return None
        return self._added(candidate)

    def refuse(self, origin: str, reason: str, text: str = "") -> None:
        """Note a proposal, or a proposer's failure, that led to nothing."""
        self.refused.append(RefusedCandidate(origin, reason, text))

    def of_kind(self, *, demos: bool) -> list[PromptCandidate]:
        """The candidates that are sets of demonstrations, or those that are instructions."""
        return [c for c in self.candidates if bool(c.demos) == demos]

    def _added(self, candidate: PromptCandidate) -> PromptCandidate | None:
        same = normalised(candidate.text)
        texts = {**self.existing, **{c.id: c.text for c in self.candidates}}
        for name, text in texts.items():
            if normalised(text) == same:
                self.refuse(candidate.origin, f"the same as {name}", candidate.text)
                return None
        self.candidates.append(candidate)
        return candidate

    def _fault(self, text: str) -> str:
        if not text:
            return "empty"
        unusable = self._unusable(text)
        if unusable:
            return unusable
        words = _WORD.findall(text)
        if len(words) < 2 or sum(map(len, words)) < 0.4 * len("".join(text.split())):
            return "garbage: hardly a word in it"
        return leak(text, self.seen)

    def _unusable(self, text: str) -> str:
        if len(text) > self.longest_chars:
            return f"too long: {len(text)} characters, {self.longest_chars} are allowed"
        if _PLACEHOLDER.search(text):
            return "it holds {{ … }}, which a policy file would fill in"
        return ""


def leak(text: str, seen: SeenExamples) -> str:
    """Why ``text`` gives a train item away, or nothing.

    It does if it repeats an item's whole input, or a target that is long enough to be no chance and
    that few items share: the label of a class may well stand in an instruction.
    """
    said = f" {normalised(text)} "
    for inputs in seen.inputs:
        shown = normalised(inputs)
        if len(shown) >= SHORTEST_LEAK and f" {shown} " in said:
            return "leak: it repeats the input of a train item"
    often = max(1, round(RARE_SHARE * len(seen.targets)))
    for target in dict.fromkeys(seen.targets):
        shown = normalised(target)
        rare = seen.targets.count(target) <= often
        if rare and len(shown) >= SHORTEST_LEAK and f" {shown} " in said:
            return "leak: it holds the answer of a train item"
    return ""


def normalised(text: str) -> str:
    """Lower-case words, numbers and signs; two texts with the same are the same candidate."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;!\"'`*]", text.casefold()))


def instruction_of(prompt: PromptTemplate) -> str:
    """What a prompt tells a model to do: its system text, else its last message without inputs.

    For a prompt that holds its inputs only, it is a sentence that asks to answer them.
    """
    first, last = prompt.messages[0], prompt.messages[-1]
    text = first.content if first.role == "system" else last.content
    return _PLACEHOLDER.sub("", text).strip() or f"Answer the {' and the '.join(prompt.fields)}."


def with_instruction(prompt: PromptTemplate, candidate: PromptCandidate) -> PromptTemplate:
    """``prompt`` with the candidate's instruction as its system text; all other messages stay.

    A system text that holds an input stays too, below the instruction.
    """
    first, *rest = prompt.messages
    replaced = first.role == "system" and not _PLACEHOLDER.search(first.content)
    kept = rest if replaced else prompt.messages
    new_id = f"{_OF_CANDIDATE.sub('', prompt.id)}+{candidate.id}"
    return replace(
        prompt,
        id=new_id,
        messages=(Message("system", candidate.text), *kept),
        family=new_id,  # no family of the space: it is a paraphrase of none
        paraphrases=(),
        origin=candidate.origin,
    )


def propose_from_catalogue(registry: CandidateRegistry, *, n: int | None = None) -> None:
    """Up to ``n`` instructions for embedded tiers, from the paraphrases they were trained on.

    They know a few hundred words and cannot write instructions, so comparisons on them cover
    demonstrations and paraphrases, and not the quality of a proposer. The first paraphrase of each
    family of the shipped arithmetic prompts comes first, then the others.
    """
    shipped = load_prompts(find_task("arithmetic").with_name("prompts.yaml"))
    paraphrases = [prompt.variants() for prompt in shipped]
    for k in range(max(map(len, paraphrases))):
        for family in paraphrases:
            if k < len(family) and (n is None or len(registry.of_kind(demos=False)) < n):
                text = next(m.content for m in family[k].messages if m.role == "system")
                registry.admit(f"{CATALOGUE}/{family[k].id}", text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
