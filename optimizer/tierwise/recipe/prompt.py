"""Prompt templates: messages with literal ``{{ field }}`` placeholders and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tierwise.errors import InputError

ANSWER = "answer"
"""The turn of prompts whose completions answer the task."""
HISTORY = "history"
"""Role of the slot in a prompt's messages that a request's earlier messages fill."""

_PLACEHOLDER = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")


class Message(NamedTuple):
    """One chat message."""

    role: str
    content: str


def substitute(text: str, fields: Mapping[str, str]) -> str:
    """``text`` with every ``{{ field }}`` replaced once; substituted values are not read again.

    Raises:
        InputError: a placeholder names a field that is not in ``fields``.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in fields:
            raise InputError(
                f"the prompt uses {{{{ {name} }}}}, which the inputs lack; "
                f"they have: {', '.join(sorted(fields)) or 'nothing'}"
            )
        return fields[name]

    return _PLACEHOLDER.sub(value, text)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt of the library: its id is stable for ever, a changed text is a new id.

    ``modes`` empty means that it fits all. ``paraphrases`` are other wordings: the same messages,
    with what makes the prompt said in other words. ``turn`` is what its completions are: answers of
    the task, or what a difficulty signal asks for (``rating``, ``control_question``).
    """

    id: str
    messages: tuple[Message, ...]
    family: str = "baseline"
    modes: tuple[str, ...] = ()
    paraphrases: tuple[tuple[Message, ...], ...] = ()
    origin: str = "library"
    turn: str = ANSWER

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the placeholders, in order of first use."""
        found = [n for m in self.messages for n in _PLACEHOLDER.findall(m.content)]
        return tuple(dict.fromkeys(found))

    @property
    def takes_history(self) -> bool:
        """Whether it has a slot for the messages before the question."""
        return any(m.role == HISTORY for m in self.messages)

    def render(
        self, inputs: Mapping[str, str], history: Sequence[Message] = ()
    ) -> tuple[Message, ...]:
        """The exact messages for one item's inputs; ``history`` fills the slot, if there is one."""
        rendered: list[Message] = []
        for role, content in self.messages:
            if role == HISTORY:
                rendered += history
            else:
                rendered.append(Message(role, substitute(content, inputs)))
        return tuple(rendered)

    def with_demonstrations(self, demos: Sequence[tuple[Mapping[str, str], str]]) -> PromptTemplate:
        """This prompt with (inputs, answer text) pairs before the last user message."""
        *before, last = self.messages
        shots: list[Message] = []
        for inputs, answer in demos:
            shots += [Message("user", substitute(last.content, inputs)),
                      Message("assistant", answer)]  # fmt: skip
        return replace(
            self, id=f"{self.id}+{len(demos)}", messages=(*before, *shots, last), paraphrases=()
        )

    def variants(self) -> tuple[PromptTemplate, ...]:
        """This wording and its paraphrases, as templates ``id``, ``id~1``, ``id~2`` …"""
        others = tuple(
            replace(self, id=f"{self.id}~{k}", messages=messages, paraphrases=())
            for k, messages in enumerate(self.paraphrases, start=1)
        )
        return (self, *others)
