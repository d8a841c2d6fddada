"""Turns: how a sample follows from another, and what each kind of turn may say.

A sample is a node of a tree: a variant, a sample index, and the path of turns from the root. There
is one child a (parent, turn) and it has its parent's index, so that the chains of a variant lie
side by side and a chain bought to depth B holds the forced answer at every depth below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import AfterValidator, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from tierwise.errors import InputError, unknown_name
from tierwise.schema.fields import IF_ANY, STRICT, Count, Mapped, Name, NotNegative, Strict
from tierwise.schema.tier import ModeParameters
from tierwise.tasks import AnswerSpec
from tierwise.tasks.user_code import PYTHON

NAMES = ("answer", "query", "passages", "critique", "refine", "select")
"""What a prompt may say under ``turns``; ``passages`` is no turn, it hands over what was found."""

JUDGED_TURN, SELECTING = "judge", "select"
"""Turns whose replies are numbers, a score of that name: of the policy's judge about its parent,
and of the model about the samples of a block, the last of which is its parent (see ``Turn``)."""

ANSWERING = ("answer", "refine")
"""Turns that are asked for an answer; of the others only a query may answer, when it asks none."""


QUERY = r"(?i)search\s*:\s*([^\n]+)"
"""How a query is found where a task says nothing."""


class Turn(NamedTuple):
    """What a sample was asked for; ``passages``: how many its query gets, which is part of what the
    samples below it are. Of a turn that selects it is the size of the block to select from."""

    name: str = "answer"
    passages: int = 0

    @property
    def label(self) -> str:
        """``query:2`` for a query that gets two passages, else the name."""
        return f"{self.name}:{self.passages}" if self.passages else self.name

    @classmethod
    def of(cls, label: str) -> Turn:
        """The turn that ``label`` writes.

        Raises:
            InputError: what follows the colon is no number of passages.
        """
        name, colon, passages = label.partition(":")
        if not name or (colon and not (passages.isdecimal() and int(passages) > 0)):
            raise InputError(f"a turn is a name, or query:2 for two passages, got {label!r}")
        return cls(name, int(passages or 0))


ROOT = Turn()
"""A plain answer, from which a tree may grow."""

Path = tuple[Turn, ...]
"""Turns from the root; that of a plain answer is ``()``."""


def path_below(path: Path, turn: Turn) -> Path:
    """The path of a child."""
    return (*(path or (ROOT,)), turn)


def path_above(path: Path) -> Path:
    """The path of the parent."""
    return () if path[:-1] == (ROOT,) else path[:-1]


@dataclass(frozen=True, slots=True)
class TurnTemplate(Strict):
    """What the user says to get a turn, with literal placeholders.

    ``sends`` are parameters of the call beside the mode's, such as a stop sequence or fewer tokens.
    In a file a turn may be its text alone.
    """

    text: str
    sends: Annotated[ModeParameters, IF_ANY] = field(default_factory=dict, hash=False)


def _turn_name(name: str) -> str:
    if name not in NAMES:
        raise ValueError(unknown_name("turn", name, NAMES).message)
    return name


def _written(turn: TurnTemplate) -> Any:
    return {"text": turn.text, "sends": dict(turn.sends)} if turn.sends else turn.text


Turns = Mapping[
    Annotated[str, AfterValidator(_turn_name), WithJsonSchema({"enum": list(NAMES)})],
    Annotated[
        TurnTemplate,
        Mapped(
            str | TurnTemplate,
            lambda turn: TurnTemplate(turn) if isinstance(turn, str) else turn,
            _written,
        ),
    ],
]
"""How each turn is asked for."""


class Passage(NamedTuple):
    """A piece of a corpus as a retriever gives it; a higher score is a better match."""

    id: str
    text: str
    score: float = 0.0


@with_config(STRICT)
class _Extract(TypedDict, total=False):
    """How an answer is found in a text; of several patterns the first that matches counts."""

    regex: str | Annotated[tuple[str, ...], Field(min_length=1)] | None
    take: Literal["first", "last"]


@with_config(STRICT)
class _ByPython(TypedDict):
    """A function of the user's own, ``FILE.py:FUNCTION`` beside the task; a policy names it with
    the hash of its file and never brings it."""

    python: str
    sha256: NotRequired[str]


_AnswerKeys = TypedDict(
    "_AnswerKeys",
    {
        "extract": _Extract,
        "normalise": str | _ByPython,
        "digits": Annotated[int, Field(ge=1)],
        "fields": tuple[str, ...],
        "schema": dict[str, Any],
        "vote": Literal["fields", "whole"],
        "units": str,
        "calls": tuple[str, ...],
        "return": Literal["text", "extracted"],
    },
    total=False,
)
# By hand, since a class statement cannot have a key 'return'.
_AnswerKeys.__pydantic_config__ = STRICT  # type: ignore[attr-defined]  # a TypedDict takes its setting so


def _answer(keys: Mapping[str, Any]) -> AnswerSpec:
    rest = {"returns" if key == "return" else key: v for key, v in keys.items() if key != "extract"}
    if isinstance(by := rest.get("normalise"), dict):
        rest["normalise"] = f"{PYTHON}{by['python']}:{by.get('sha256', '')}"
    return AnswerSpec(**keys.get("extract", {}), **rest)


def _normalise_of(answer: AnswerSpec) -> Any:
    if not answer.reads_by_python:
        return answer.normalise
    name, _, digest = answer.normalise.removeprefix(PYTHON).rpartition(":")
    return {"python": name, **({"sha256": digest} if digest else {})}


def _extract_of(answer: AnswerSpec) -> dict[str, Any]:
    return {} if answer.regex is None else {"regex": answer.regex}


AnswerKeys = Annotated[
    AnswerSpec,
    Mapped(
        _AnswerKeys,
        _answer,
        lambda answer: {
            "extract": {**_extract_of(answer), "take": answer.take},
            "normalise": _normalise_of(answer),
            **({} if answer.digits is None else {"digits": answer.digits}),
            **({"fields": answer.fields} if answer.fields else {}),
            **({"schema": json.loads(answer.schema)} if answer.schema else {}),
            **({"vote": answer.vote} if answer.vote != "fields" else {}),
            **({"units": answer.units} if answer.units else {}),
            **({"calls": answer.calls} if answer.calls else {}),
            "return": answer.returns,
        },
    ),
]
"""``answer`` of a task or a policy."""

QueryKeys = Annotated[
    AnswerSpec,
    Mapped(
        _Extract,
        lambda keys: AnswerSpec(keys.get("regex") or QUERY, keys.get("take", "first"), "none"),
        lambda query: {**_extract_of(query), "take": query.take},
    ),
]
"""``query`` of a retriever: how a query is found in what a model says."""


@dataclass(frozen=True, slots=True)
class RetrieverSpec(Strict):
    """What a policy knows of its retriever: a name, never an address.

    Attributes:
        name: what the deployment binds to a corpus or an address.
        query: how the query is found in what the model says; without one it has asked nothing.
        join: stands between passages.
        none: stands for no passage.
        max_chars: a longer passage is cut.
        usd_per_call: what a look-up costs.
    """

    name: Name
    query: QueryKeys = field(default_factory=lambda: AnswerSpec(QUERY, "first", "none"))
    join: str = "\n\n"
    none: str = "(nothing was found)"
    max_chars: Count = 2000
    usd_per_call: NotNegative = 0.0

    def shown(self, passages: Sequence[Passage]) -> str:
        """What ``{{ passages }}`` stands for."""
        if not passages:
            return self.none
        return self.join.join(p.text[: self.max_chars] for p in passages)


def selected(text: str, among: int) -> int | None:
    """The number from 1 to ``among`` that a reply names: the last one in it; None: none."""
    named = [int(n) for n in re.findall(r"\d{1,4}", text)]
    return named[-1] if named and 1 <= named[-1] <= among else None


def numbered(answers: Sequence[str]) -> str:
    """What ``{{ answers }}`` stands for: the texts to select from, numbered from 1."""
    return "\n\n".join(f"Answer {i}:\n{text.strip()}" for i, text in enumerate(answers, 1))


class Said(NamedTuple):
    """What a text comes to: an answer, a query, or neither; never both."""

    answer: str | None
    query: str | None = None


def read_turn(
    turn: Turn, text: str, answer: AnswerSpec, query: AnswerSpec | None, finished: bool = True
) -> Said:
    """What ``text`` says as a ``turn``: a query that asks nothing may answer, a critique never.

    A text that is not ``finished`` (cut by the cap on tokens, or by a filter) says nothing.
    """
    if not finished:
        return Said(None)
    if turn.name == "query" and query is not None:
        asked = query.extract(text)
        if asked is not None and asked.strip():
            return Said(None, asked.strip())
    elif turn.name not in ANSWERING:
        return Said(None)
    return Said(answer.extract(text))
