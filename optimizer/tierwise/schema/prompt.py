"""Prompt templates: messages with literal ``{{ field }}`` placeholders and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tierwise.errors import InputError, UnsupportedError, unknown_name
from tierwise.schema.turns import Path, TurnTemplate

ANSWER = "answer"
"""The turn of prompts whose completions answer the task."""
HISTORY = "history"
"""Role of the slot in a prompt's messages that a request's earlier messages fill."""

_PLACEHOLDER = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")


class Message(NamedTuple):
    """One chat message."""

    role: str
    content: str


PASSAGES = "passages"
"""The key under ``turns`` that hands over what a query found."""


def turn_fields(name: str) -> tuple[str, ...]:
    """What the text of a turn may use beside the inputs."""
    return ("passages", "query") if name == PASSAGES else ("parent",)


def fields_of(text: str) -> tuple[str, ...]:
    """Names of the placeholders in ``text``, in order of first use."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


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

    ``modes`` empty means that it fits all. ``paraphrases`` are other paraphrases: the same messages,
    with what makes the prompt said in other words. ``turn`` is what its completions are: answers of
    the task, or what a difficulty signal asks for (``rating``, ``control_question``). ``turns`` say
    how what follows is asked for, by name; they may use what ``turn_fields`` says. ``passages`` is
    no turn: it hands over what a query found.
    """

    id: str
    messages: tuple[Message, ...]
    family: str = "baseline"
    modes: tuple[str, ...] = ()
    paraphrases: tuple[tuple[Message, ...], ...] = ()
    origin: str = "library"
    turn: str = ANSWER
    turns: Mapping[str, TurnTemplate] = field(default_factory=dict, hash=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the placeholders, in order of first use."""
        return fields_of("\n".join(m.content for m in self.messages))

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

    def words_of(self, turn: str) -> TurnTemplate:
        """How ``turn`` is asked for.

        Raises:
            UnsupportedError: the prompt has no such turn.
        """
        if turn not in self.turns:
            has = ", ".join(self.turns) or "none"
            raise UnsupportedError(f"prompt {self.id!r} has no turn {turn!r}; its turns: {has}")
        return self.turns[turn]

    def with_demonstrations(self, demos: Sequence[tuple[Mapping[str, str], str]]) -> PromptTemplate:
        """This prompt with (inputs, answer text) pairs before the last user message."""
        *before, last = self.messages
        shots: list[Message] = []
        for inputs, answer in demos:
            shots += [
                Message("user", substitute(last.content, inputs)),
                Message("assistant", answer),
            ]
        return replace(
            self, id=f"{self.id}+{len(demos)}", messages=(*before, *shots, last), paraphrases=()
        )

    def variants(self) -> tuple[PromptTemplate, ...]:
        """This paraphrase and its paraphrases, as templates ``id``, ``id~1``, ``id~2`` …"""
        others = tuple(
            replace(self, id=f"{self.id}~{k}", messages=messages, paraphrases=())
            for k, messages in enumerate(self.paraphrases, start=1)
        )
        return (self, *others)


def undefined_fields(
    prompt: PromptTemplate, inputs: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], InputError]]:
    """What a prompt uses that is not among ``inputs``, with where in the prompt it stands."""
    uses: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [((), prompt.fields, ())]
    for turn, template in prompt.turns.items():
        fields = fields_of(template.text)
        uses.append((("turns", turn), fields, turn_fields(turn)))
        if turn == PASSAGES and PASSAGES not in fields:
            message = f"prompt {prompt.id!r}: the turn passages must show {{{{ passages }}}}"
            yield ("turns", turn), InputError(message)
    for where, fields, more in uses:
        for name in fields:
            if name not in (*inputs, *more):
                hint = unknown_name("input", name, (*inputs, *more)).message
                yield where, InputError(f"prompt {prompt.id!r} uses {{{{ {name} }}}}: {hint}")


def check_turns(prompt: PromptTemplate, kind: str, paths: Sequence[Path]) -> None:
    """Raise an InputError unless ``prompt`` says how each turn of ``paths`` is asked for."""
    for path in paths:
        for name in turns_used(path):
            if name not in prompt.turns:
                raise InputError(
                    f"{kind} needs the turn {name!r}, and prompt {prompt.id!r} "
                    + (f"has {', '.join(prompt.turns)}" if prompt.turns else "has no turns")
                )


def turns_used(path: Path) -> set[str]:
    """What a prompt must say under ``turns`` for the last sample of ``path`` to be asked for."""
    names = {path[-1].name} if path else set()
    return names | ({PASSAGES} if len(path) > 1 and path[-2].passages else set())
