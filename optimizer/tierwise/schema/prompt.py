"""Prompts: messages with literal ``{{ field }}`` placeholders, their files, and the library.

The library of techniques that is shipped knows no task: ``{{ instruction }}`` stands for the task's
instruction, ``{{ input }}`` for its input (for all of them, each with its name, where there are
several). ``{{ phrase }}`` stands for the prompt's own ``phrase``, which its paraphrases say in
other words. All are written out on loading, so that a template holds only the task's own fields.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import Field, with_config
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from tierwise.errors import InputError, UnsupportedError, raise_any, unknown_name
from tierwise.schema.fields import IF_ANY, STRICT, LongName, Mapped, Name, Strict, Text
from tierwise.schema.files import shipped
from tierwise.schema.turns import JUDGED_TURN, SELECTING, Path, Turns, TurnTemplate
from tierwise.schema.yaml_io import read, read_as
from tierwise.tasks.conversation import Conversation, conversation
from tierwise.tasks.tool_calls import message_body

ANSWER = "answer"
"""The turn of prompts whose completions answer the task."""
CHAT = "messages"
"""Role of the slot in a prompt's messages that an input's own messages fill."""
SYSTEM, LAST = "system", "last"
"""What a prompt with that slot may use of them: the text of their system, and of the last one."""
HISTORY = "history"
"""Role of the slot in a prompt's messages that a request's earlier messages fill."""

_PLACEHOLDER = re.compile(r"(\\*)(\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\})")
"""Backslashes, and a placeholder: after an odd number of them it is no placeholder but text."""


class Message(NamedTuple):
    """One chat message."""

    role: str
    content: str

    @property
    def body(self) -> dict[str, Any]:
        """In OpenAI's form."""
        return message_body(self.role, self.content)


@with_config(STRICT)
class _MessageKeys(TypedDict):
    """A message; ``{role: history}`` is the slot for a request's earlier messages, ``{role:
    messages, content: "{{ input }}"}`` that for the messages of an input that is a chat.
    """

    role: Literal["system", "user", "assistant", "developer", "history", "messages"]
    content: NotRequired[str]


def _message(keys: Mapping[str, str]) -> Message:
    role = keys["role"]
    if role == HISTORY and keys.get("content"):
        raise ValueError("{role: history} takes no content: a request's earlier messages fill it")
    if role != HISTORY and "content" not in keys:
        raise ValueError(f"a message of role {role} needs its content")
    return Message(role, keys.get("content", ""))


def _message_keys(message: Message) -> dict[str, str]:
    return {"role": HISTORY} if message.role == HISTORY else message._asdict()


Messages = tuple[Annotated[Message, Mapped(_MessageKeys, _message, _message_keys)], ...]


PASSAGES = "passages"
"""The key under ``turns`` that hands over what a query found."""


def turn_fields(name: str) -> tuple[str, ...]:
    """What the text of a turn may use beside the inputs."""
    if name == SELECTING:
        return ("answers",)
    return ("passages", "query") if name == PASSAGES else ("parent",)


def fields_of(text: str) -> tuple[str, ...]:
    """Names of the placeholders in ``text``, in order of first use."""
    found = _PLACEHOLDER.findall(text)
    return tuple(dict.fromkeys(name for slashes, _, name in found if len(slashes) % 2 == 0))


def literal(text: str) -> str:
    """``text`` as a template that shows it as it is: ``{{ name }}`` becomes ``\\{{ name }}``."""
    return _PLACEHOLDER.sub(lambda match: match[1] * 2 + "\\" + match[2], text)


def substitute(text: str, fields: Mapping[str, str], *, template: bool = False) -> str:
    """``text`` with every ``{{ field }}`` replaced once; substituted values are not read again.

    ``\\{{ name }}`` is shown as ``{{ name }}``. Where the result is a ``template`` itself, it stays
    as it is.

    Raises:
        InputError: a placeholder names a field that is not in ``fields``.
    """

    def value(match: re.Match[str]) -> str:
        slashes, braces, name = match.groups()
        shown = slashes if template else slashes[: len(slashes) // 2]
        if len(slashes) % 2:
            return shown + braces
        if name not in fields:
            raise InputError(
                f"the prompt uses {{{{ {name} }}}}, which the inputs lack; "
                f"they have: {', '.join(sorted(fields)) or 'nothing'}"
            )
        return shown + fields[name]

    return _PLACEHOLDER.sub(value, text)


@dataclass(frozen=True, slots=True)
class PromptTemplate(Strict):
    """A prompt; in the library its id is stable for ever, and a changed text is a new id.

    A prompt file may write ``system`` and ``user`` instead of ``messages``, and ``paraphrases`` as
    texts: other texts for ``phrase``, or for the system message where there is no phrase. Its
    ``source`` says where a technique comes from, for readers.

    Attributes:
        modes: those that it fits; empty: all.
        paraphrases: the same messages, with what makes the prompt said in other words.
        origin: ``task`` or ``library``.
        turn: what its completions are: answers of the task, or what a difficulty signal asks for.
        turns: how what follows is asked for, by name; they may use what ``turn_fields`` says.
            ``passages`` is no turn: it hands over what a query found.

    Raises:
        InputError: texts that do not fit together.
    """

    id: LongName
    messages: Messages = ()
    family: Annotated[str, Field(exclude_if=lambda family: family == "baseline")] = "baseline"
    modes: Annotated[tuple[Name, ...], IF_ANY] = ()
    paraphrases: Annotated[
        SkipJsonSchema[tuple[Messages, ...]], Field(validation_alias="(messages)", exclude=True)
    ] = ()
    origin: Annotated[str, Field(exclude_if=lambda origin: origin == "library")] = "library"
    turn: Annotated[Text, Field(exclude_if=lambda turn: turn == ANSWER)] = ANSWER
    turns: Annotated[Turns, IF_ANY] = field(default_factory=dict, hash=False)
    system: InitVar[str | None] = None
    user: InitVar[str | None] = None
    phrase: InitVar[Text | None] = None
    texts: InitVar[Annotated[tuple[Text, ...], Field(alias="paraphrases")]] = ()
    source: InitVar[Text | None] = None

    def __post_init__(
        self,
        system: str | None,
        user: str | None,
        phrase: str | None,
        texts: tuple[str, ...],
        source: str | None,
    ) -> None:
        messages = self.messages
        if messages and (system is not None or user is not None):
            other = "system" if user is None else "user"
            raise InputError(f"prompt {self.id!r} has 'messages': write {other!r} as one of them")
        if user is not None:
            first = (Message("system", system),) if system else ()
            messages = (*first, Message("user", user))
        elif system is not None:
            raise InputError(f"prompt {self.id!r} has 'system' and no 'user'")
        roles = [m.role for m in messages if m.role in (HISTORY, CHAT)]
        if len(roles) > 1 and CHAT in roles:
            raise InputError(
                "a prompt has one {role: history} or one {role: messages}", loc=("messages",)
            )
        if any(m.role == CHAT and not _PLACEHOLDER.fullmatch(m.content) for m in messages):
            raise InputError(
                '{role: messages} names the input that holds them: content: "{{ chat }}"',
                loc=("messages",),
            )
        slots = [i for i, m in enumerate(messages) if m.role == HISTORY]
        if len(slots) > 1 or (slots and slots == [len(messages) - 1]):
            raise InputError(
                "a prompt has one {role: history} at most, before its last message",
                loc=("messages",),
            )
        worded = any(_SLOT in m.content for m in messages)
        if phrase is not None and not worded:
            raise InputError(f"prompt {self.id!r} does not use {{{{ phrase }}}}, its 'phrase'")
        if texts and not worded and messages[0].role != "system":
            raise InputError(
                f"prompt {self.id!r} has paraphrases and neither a 'phrase' nor a 'system' text "
                "that they could be paraphrases of"
            )
        object.__setattr__(self, "messages", _in_words(messages, phrase))
        if texts:
            paraphrases = tuple(_in_words(messages, text, anew=True) for text in texts)
            object.__setattr__(self, "paraphrases", paraphrases)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the inputs that it uses, in order of first use."""
        used = fields_of("\n".join(m.content for m in self.messages))
        return tuple(name for name in used if not (self.chat and name in (SYSTEM, LAST)))

    @property
    def chat(self) -> str | None:
        """The input whose messages it sends; None where it has no slot for them."""
        slots = [m.content for m in self.messages if m.role == CHAT]
        return fields_of(slots[0])[0] if slots else None

    @property
    def takes_history(self) -> bool:
        """Whether it has a slot for the messages before the question."""
        return any(m.role == HISTORY for m in self.messages)

    def render(
        self, inputs: Mapping[str, str], history: Sequence[Message] = ()
    ) -> tuple[Message, ...]:
        """The exact messages for one item's inputs; ``history`` fills the slot, if there is one.

        The slot of a chat has its messages as they are. Its system's are left out where the prompt
        has a system text before the slot, and the user's last where a message after the slot uses
        ``{{ last }}``: so a prompt replaces them, or adds to them. What a tool returned at the end
        stays, and is followed by that message.

        Raises:
            InputError: the input is no chat, or a placeholder names no input.
        """
        chat = None if self.chat is None else _chat_of(self.chat, inputs)
        if chat is not None:
            inputs = {**inputs, SYSTEM: chat.system_text, LAST: chat.last_of_user}
        rendered: list[Message] = []
        for i, (role, content) in enumerate(self.messages):
            if role == HISTORY:
                rendered += history
            elif role == CHAT and chat is not None:
                own = any(m.role == SYSTEM for m in self.messages[:i])
                instead = chat.last.role == "user" and any(
                    LAST in fields_of(m.content) for m in self.messages[i + 1 :]
                )
                said = (*(() if own else chat.system), *chat.before, chat.last)
                rendered += [Message(*m) for m in said[: len(said) - instead]]
            else:
                text = substitute(content, inputs)
                if chat is not None and SYSTEM in fields_of(content):
                    text = text.strip()  # a chat may have no system
                if text or chat is None:
                    rendered.append(Message(role, text))
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
        at = len(self.messages) - 1
        before = self.messages[:at]
        if self.chat is not None:  # before the chat, and after what its system says
            at = next(i for i, m in enumerate(self.messages) if m.role == CHAT)
            before = self.messages[:at] or (Message("system", f"{{{{ {SYSTEM} }}}}"),)
        shots: list[Message] = []
        for inputs, answer in demos:
            asked = next(m for m in reversed(self.render(inputs)) if m.role == "user")
            shots += [
                Message("user", literal(asked.content)),
                Message("assistant", literal(answer)),
            ]
        return replace(
            self,
            id=f"{self.id}+{len(demos)}",
            messages=(*before, *shots, *self.messages[at:]),
            paraphrases=(),
        )

    def variants(self) -> tuple[PromptTemplate, ...]:
        """This prompt and its paraphrases, as templates ``id``, ``id~1``, ``id~2`` …"""
        others = tuple(
            replace(self, id=f"{self.id}~{k}", messages=messages, paraphrases=())
            for k, messages in enumerate(self.paraphrases, start=1)
        )
        return (self, *others)


def _chat_of(name: str, inputs: Mapping[str, str]) -> Conversation:
    found = conversation(inputs.get(name, ""))
    if found is None:
        raise InputError(
            f"the prompt sends the messages of the input {name!r}, which is no chat: a list of "
            '{"role", "content"} that ends with the user or with what a tool returned'
        )
    return found


def undefined_fields(prompt: PromptTemplate, inputs: Sequence[str]) -> Iterator[InputError]:
    """What a prompt uses that is not among ``inputs``, with its place in the prompt."""
    uses: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [((), prompt.fields, ())]
    for turn, template in prompt.turns.items():
        fields = fields_of(template.text)
        uses.append((("turns", turn), fields, turn_fields(turn)))
        if turn == PASSAGES and PASSAGES not in fields:
            message = f"prompt {prompt.id!r}: the turn passages must show {{{{ passages }}}}"
            yield InputError(message, loc=("turns", turn))
    for loc, fields, more in uses:
        for name in fields:
            if name not in (*inputs, *more):
                hint = unknown_name("input", name, (*inputs, *more)).message
                message = (
                    f"prompt {prompt.id!r} uses {{{{ {name} }}}}: {hint}; to show it as it is, "
                    f"write \\{{{{ {name} }}}}"
                )
                yield InputError(message, loc=loc)


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
    names = {path[-1].name} - {JUDGED_TURN} if path else set()  # the judge has words of its own
    return names | ({PASSAGES} if len(path) > 1 and path[-2].passages else set())


# --- prompt files ------------------------------------------------------------------------------

INSTRUCTION, INPUT = "instruction", "input"
_SLOT = "{{ phrase }}"


@dataclass(frozen=True, slots=True)
class PromptList(Strict):
    """A prompt file, as if its list had a name."""

    prompts: Annotated[tuple[PromptTemplate, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _TurnsFile(Strict):
    turns: Turns


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task gives its prompts: the fields that they may use, and its instruction."""

    inputs: tuple[str, ...]
    instruction: str | None = None
    chat: str | None = None
    """The input that holds a chat."""

    @property
    def as_it_is(self) -> PromptTemplate | None:
        """The prompt that sends a chat's own messages: what production does today."""
        if self.chat is None:
            return None
        return PromptTemplate("as_it_is", (Message(CHAT, f"{{{{ {self.chat} }}}}"),), origin="task")


def load_prompts(
    path: FilePath,
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
    faults: list[InputError] = []
    prompts: dict[str, PromptTemplate] = {}
    for i, prompt in enumerate(read_as(PromptList, document.under("prompts")).prompts):
        try:
            if prompt.id in prompts:
                raise InputError(f"prompt id {prompt.id!r} is here twice")
            prompts[prompt.id] = replace(prompt, origin=origin)
            _check_task_prompt(prompt, turns)
            if setting is not None:
                check_fields(prompt, setting.inputs)
                unsaid = undefined_fields(replace(prompt, messages=()), setting.inputs)
                faults += [document.placed(error, (i, *error.loc)) for error in unsaid]
        except InputError as error:
            faults.append(document.placed(error, (i, "id")))
    raise_any(faults)
    return tuple(prompts.values())


def _check_task_prompt(prompt: PromptTemplate, turns: Collection[str] | None) -> None:
    """Raise an InputError unless completions of ``prompt`` can be answers, or one of ``turns``."""
    if not prompt.messages:
        raise InputError(f"prompt {prompt.id!r} needs either 'user' (and 'system') or 'messages'")
    if prompt.messages[-1].role not in ("user", CHAT):
        raise InputError(f"prompt {prompt.id!r} must end with a message of the user")
    if turns is not None and prompt.turn not in turns:
        raise unknown_name(f"turn of prompt {prompt.id!r}", prompt.turn, turns)
    if not any(m.content.strip() for m in prompt.messages):
        raise InputError(f"prompt {prompt.id!r} is empty")
    if any(_SLOT in m.content for m in prompt.messages):
        raise InputError(f"prompt {prompt.id!r} uses {_SLOT} and has no 'phrase'")


def load_library(
    setting: Setting, families: Iterable[str] | None, *, turn: str = ANSWER
) -> tuple[PromptTemplate, ...]:
    """The shipped prompts of a turn, all or those of some families, written out for a task.

    Raises:
        InputError: the task has no instruction, or there is no such family.
    """
    prompts = [
        p
        for path in sorted((shipped("search_spaces") / "prompts").glob("*.yaml"))
        for p in load_prompts(path, None, "library")
        if p.turn == turn
    ]
    chosen = prompts if families is None else choose(prompts, families)
    return tuple(written_out(prompt, setting) for prompt in chosen)


def with_turns(prompts: Sequence[PromptTemplate]) -> tuple[PromptTemplate, ...]:
    """``prompts``, each with the shipped words for those turns that it has none for."""
    named = load_turns(shipped("search_spaces") / "turns" / "default.yaml")
    return tuple(replace(prompt, turns={**named, **prompt.turns}) for prompt in prompts)


def load_turns(path: FilePath) -> Mapping[str, TurnTemplate]:
    """The words of a file of turns, which fit any prompt: they use no input.

    Raises:
        InputError: every fault, with its line.
    """
    document = read(path)
    turns = read_as(_TurnsFile, document.under("turns")).turns
    faults = undefined_fields(PromptTemplate("default", turns=turns), ())
    raise_any([document.placed(error, error.loc[1:]) for error in faults])
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
    if setting.chat is not None and prompt.chat is None:
        return written_out(_around_chat(prompt, setting.chat), setting)
    if setting.chat is not None:
        others = "".join(f"{n}: {f}\n" for n, f in fields.items() if n != setting.chat)
        fields |= _kept((SYSTEM, LAST))
        everything = others + fields[LAST]
    elif len(fields) == 1:
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
        return tuple(Message(m.role, substitute(m.content, known, template=True)) for m in messages)

    paraphrases = tuple(whole(messages) for messages in prompt.paraphrases)
    turns = {
        name: replace(
            turn, text=substitute(turn.text, known | _kept(turn_fields(name)), template=True)
        )
        for name, turn in prompt.turns.items()
    }
    return replace(prompt, messages=whole(prompt.messages), paraphrases=paraphrases, turns=turns)


def _around_chat(prompt: PromptTemplate, chat: str) -> PromptTemplate:
    """``prompt`` with the chat before its last message, and its system below that of the chat."""

    def around(messages: Messages) -> Messages:
        system = f"{{{{ {SYSTEM} }}}}"
        before = [
            Message(m.role, f"{system}\n\n{m.content}") if m.role == SYSTEM else m
            for m in messages[:-1]
        ]
        if before and before[0].role != SYSTEM:
            before.insert(0, Message(SYSTEM, system))
        return (*before, Message(CHAT, f"{{{{ {chat} }}}}"), messages[-1])

    paraphrases = tuple(around(messages) for messages in prompt.paraphrases)
    return replace(prompt, messages=around(prompt.messages), paraphrases=paraphrases)


def _kept(names: Sequence[str]) -> dict[str, str]:
    """Placeholders that stay as they are."""
    return {name: f"{{{{ {name} }}}}" for name in names}


def check_fields(prompt: PromptTemplate, inputs: Sequence[str]) -> None:
    """Raise an InputError if ``prompt`` or a paraphrase uses a field that ``inputs`` lack."""
    for variant in prompt.variants():
        for name in variant.fields:
            if name not in inputs:
                hint = unknown_name("input", name, inputs).message
                raise InputError(f"prompt {prompt.id!r} uses {{{{ {name} }}}}: {hint}")


def _in_words(messages: Messages, text: str | None, *, anew: bool = False) -> Messages:
    """The messages with ``text`` as the phrase; without a slot for it, ``anew`` as the system."""
    if text is not None and any(_SLOT in m.content for m in messages):
        return tuple(Message(m.role, m.content.replace(_SLOT, text)) for m in messages)
    if anew and text is not None:
        return (Message("system", text), *messages[1:])
    return messages
