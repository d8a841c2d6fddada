"""Prompt files: a task's own prompts, and the library of techniques that is shipped.

The library knows no task: ``{{ instruction }}`` stands for the task's instruction, ``{{ input }}``
for its input (for all of them, each with its name, where there are several). ``{{ phrase }}``
stands for the prompt's own ``phrase``, which its paraphrases say in other words. All are written
out on loading, so that a template holds nothing but the task's own fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.schema.find import shipped
from tierwise.schema.models import MessageModel, Turns, messages_of
from tierwise.schema.prompt import (
    ANSWER,
    Message,
    PromptTemplate,
    substitute,
    turn_fields,
    undefined_fields,
)
from tierwise.schema.turns import TurnTemplate
from tierwise.schema.validation import Strict, Text, validate
from tierwise.schema.yaml_io import Document, read

INSTRUCTION, INPUT, PHRASE = "instruction", "input", "phrase"


class PromptModel(Strict):
    """A prompt: ``system`` and ``user``, or ``messages``.

    ``paraphrases`` are other texts for ``phrase``, or for ``system`` where there is no phrase.
    ``source`` says where the technique comes from, for readers.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]*$")]
    family: Text = "baseline"
    turn: Text = ANSWER
    modes: list[Text] = Field(default_factory=list)
    system: str | None = None
    user: str | None = None
    messages: list[MessageModel] | None = None
    phrase: Text | None = None
    paraphrases: list[Text] = Field(default_factory=list)
    source: Text | None = None
    turns: Turns = Field(default_factory=dict)


class PromptsModel(Strict):
    """A prompt file, as if its list had a name."""

    prompts: Annotated[list[PromptModel], Field(min_length=1)]


class TurnsModel(Strict):
    """A file of turns, as if it had a name."""

    turns: Turns


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task gives its prompts: the fields that they may use, and its instruction."""

    inputs: tuple[str, ...]
    instruction: str | None = None


def load_prompts(
    path: Path,
    setting: Setting | None = None,
    origin: str = "task",
    turns: Collection[str] | None = None,
) -> tuple[PromptTemplate, ...]:
    """The prompts of a file; with a ``setting`` their placeholders must be among its inputs.

    ``turns``: what a prompt's ``turn`` may be; None: anything.

    Raises:
        InputError: every fault, with its line.
    """
    document = read(path)
    if not isinstance(document.data, list):
        raise document.fault("a prompt file is a list: each prompt begins with '- id: …'")
    model = validate(PromptsModel, under(document, "prompts"))
    faults: list[InputError] = []
    prompts: dict[str, PromptTemplate] = {}
    for i, prompt in enumerate(model.prompts):
        try:
            if prompt.id in prompts:
                raise InputError(f"prompt id {prompt.id!r} is here twice")
            template = _template(prompt, origin)
            if turns is not None and prompt.turn not in turns:
                raise unknown_name(f"turn of prompt {prompt.id!r}", prompt.turn, turns)
            prompts[prompt.id] = template
            if setting is not None:
                check_fields(template, setting.inputs)
                for where, error in undefined_fields(
                    replace(template, messages=()), setting.inputs
                ):
                    faults.append(document.placed(error, (i, *where)))
        except InputError as error:
            faults.append(document.placed(error, (i, "id")))
    raise_any(faults)
    return tuple(prompts.values())


def load_library(
    setting: Setting,
    families: Iterable[str] | None,
    folder: Path | None = None,
    *,
    turn: str = ANSWER,
) -> tuple[PromptTemplate, ...]:
    """The shipped prompts of a turn, all or those of some families, written out for a task.

    Raises:
        InputError: the task has no instruction, or there is no such family.
    """
    folder = folder or shipped("search_spaces") / "prompts"
    prompts = [
        p
        for path in sorted(folder.glob("*.yaml"))
        for p in load_prompts(path, None, "library")
        if p.turn == turn
    ]
    chosen = prompts if families is None else choose(prompts, families)
    return tuple(written_out(prompt, setting) for prompt in chosen)


def with_turns(
    prompts: Sequence[PromptTemplate], path: Path | None = None
) -> tuple[PromptTemplate, ...]:
    """``prompts``, each with the shipped words for those turns that it has none for."""
    named = load_turns(path or shipped("search_spaces") / "turns" / "default.yaml")
    return tuple(replace(prompt, turns={**named, **prompt.turns}) for prompt in prompts)


def load_turns(path: Path) -> dict[str, TurnTemplate]:
    """The words of a file of turns, which fit any prompt: they use no input.

    Raises:
        InputError: every fault, with its line.
    """
    document = read(path)
    model = validate(TurnsModel, under(document, "turns"))
    turns = {name: turn.value() for name, turn in model.turns.items()}
    faults = undefined_fields(PromptTemplate("default", (), turns=turns), ())
    raise_any([document.placed(error, where[1:]) for where, error in faults])
    return turns


def choose(prompts: Sequence[PromptTemplate], families: Iterable[str]) -> list[PromptTemplate]:
    """The prompts of ``families``, each the name of a family or the id of a prompt.

    Raises:
        InputError: there is none of that name; says which are near.
    """
    wanted = list(families)
    known = {p.family for p in prompts} | {p.id for p in prompts}
    for family in wanted:
        if family not in known:
            raise unknown_name("prompt family", family, known)
    return [p for p in prompts if p.family in wanted or p.id in wanted]


def written_out(prompt: PromptTemplate, setting: Setting) -> PromptTemplate:
    """``prompt`` with ``{{ instruction }}`` and ``{{ input }}`` replaced by what the task says."""
    fields = _kept(setting.inputs)
    if len(fields) == 1:
        everything = next(iter(fields.values()))
    else:
        everything = "\n".join(f"{name}: {field}" for name, field in fields.items())
    known = {INPUT: everything, **fields}
    if setting.instruction is not None:
        known[INSTRUCTION] = setting.instruction
    elif INSTRUCTION in prompt.fields:
        raise InputError(
            "the library's prompts need the task's 'instruction' (what to do, and how to write the "
            "answer): add it to task.yaml, or set prompts.library: false in the search space"
        )

    def whole(messages: Sequence[Message]) -> tuple[Message, ...]:
        return tuple(Message(m.role, substitute(m.content, known)) for m in messages)

    paraphrases = tuple(whole(messages) for messages in prompt.paraphrases)
    turns = {
        name: replace(turn, text=substitute(turn.text, known | _kept(turn_fields(name))))
        for name, turn in prompt.turns.items()
    }
    return replace(prompt, messages=whole(prompt.messages), paraphrases=paraphrases, turns=turns)


def _kept(names: Sequence[str]) -> dict[str, str]:
    """Placeholders that stay as they are."""
    return {name: f"{{{{ {name} }}}}" for name in names}


def check_fields(prompt: PromptTemplate, inputs: Sequence[str]) -> None:
    """Raise an InputError if a paraphrase of ``prompt`` uses a field that is not among ``inputs``."""
    for variant in prompt.variants():
        for name in variant.fields:
            if name not in inputs:
                hint = unknown_name("input", name, inputs).message
                raise InputError(f"prompt {prompt.id!r} uses {{{{ {name} }}}}: {hint}")


def under(document: Document, name: str) -> Document:
    """The whole of a document as the value of ``name``; its lines are found by their own places
    too."""
    lines = {(name, *loc): line for loc, line in document.lines.items()}
    traps = {(name, *loc): fault for loc, fault in document.traps.items()}
    return Document({name: document.data}, document.path, lines, traps)


def _template(prompt: PromptModel, origin: str) -> PromptTemplate:
    if (prompt.user is None) == (prompt.messages is None):
        raise InputError(f"prompt {prompt.id!r} needs either 'user' (and 'system') or 'messages'")
    if prompt.messages is not None and prompt.system is not None:
        raise InputError(f"prompt {prompt.id!r} has 'messages': write 'system' as one of them")
    if prompt.messages is not None:
        messages = list(messages_of(prompt.messages))
    else:
        messages = [Message("system", prompt.system)] if prompt.system else []
        messages.append(Message("user", prompt.user or ""))
    if not messages or messages[-1].role != "user":
        raise InputError(f"prompt {prompt.id!r} must end with a message of the user")
    if not any(m.content.strip() for m in messages):
        raise InputError(f"prompt {prompt.id!r} is empty")
    worded = any(f"{{{{ {PHRASE} }}}}" in m.content for m in messages)
    if worded != (prompt.phrase is not None):
        uses = "uses {{ phrase }} and has no" if worded else "does not use {{ phrase }}, its"
        raise InputError(f"prompt {prompt.id!r} {uses} 'phrase'")
    if prompt.paraphrases and not worded and messages[0].role != "system":
        raise InputError(
            f"prompt {prompt.id!r} has paraphrases and neither a 'phrase' nor a 'system' text "
            "that they could be paraphrases of"
        )
    return PromptTemplate(
        prompt.id,
        _in_words(messages, prompt.phrase),
        prompt.family,
        tuple(prompt.modes),
        tuple(_in_words(messages, text, anew=True) for text in prompt.paraphrases),
        origin,
        prompt.turn,
        {name: turn.value() for name, turn in prompt.turns.items()},
    )


def _in_words(
    messages: Sequence[Message], text: str | None, *, anew: bool = False
) -> tuple[Message, ...]:
    """The messages with ``text`` as the paraphrase; without a slot for it, ``anew`` as the system."""
    slot = f"{{{{ {PHRASE} }}}}"
    if text is not None and any(slot in m.content for m in messages):
        return tuple(Message(m.role, m.content.replace(slot, text)) for m in messages)
    if anew and text is not None:
        return (Message("system", text), *messages[1:])
    return tuple(messages)
