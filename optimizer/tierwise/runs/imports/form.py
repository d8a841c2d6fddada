"""What the readers of other tools' logs share: a completion of a log, and lenient reading."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AliasPath, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from tierwise.errors import InputError
from tierwise.schema.files import json_lines
from tierwise.tasks import AnswerSpec

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """One completion of a log; ``id`` names its item there, and None is what the log lacks."""

    id: str
    inputs: Mapping[str, str]
    target: str
    model: str
    prompt: str
    text: str
    mode: str = "default"
    temperature: float | None = None
    answer: str | None = None
    score: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    mean_logprob: float | None = None
    latency_s: float | None = None
    error: str | None = None
    cached: bool = False


class LogOptions(NamedTuple):
    """What a log may leave open: which of its scores counts, and the items of production logs."""

    score: str | None = None
    items: Path | None = None
    inputs: tuple[str, ...] = ()
    target: str = "target"


@dataclass
class ReadLog:
    """The samples of some logs, how answers are read where samples have no score, and notes."""

    samples: list[LoggedSample]
    answer: AnswerSpec = field(default_factory=AnswerSpec)
    notes: list[str] = field(default_factory=list)


# The forms of the logs: only what is read of them, and lenient, since other tools write them.


def listed(value: Any) -> Any:
    """An empty list for a null, which other tools write where there is nothing."""
    return [] if value is None else value


class Lenient:
    """Base of what is read from other tools' files: keys that are not known are passed over."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="ignore")


def inside(first: str, *more: str | int) -> Any:
    """What a field is read from that lies deeper; where a step of the path is missing, so is it."""
    return Field(validation_alias=AliasPath(first, *more))


def as_text(content: Any) -> str:
    """The text of a message's content: a text, or parts of which the texts are joined.

    Raises:
        InputError: a part is an image, audio or a file.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False, sort_keys=True)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind not in ("reasoning", None):
            raise InputError(f"a message has a part of type {kind!r}: only text can be tuned on")
    return "\n".join(texts)


LoggedText = Annotated[str, BeforeValidator(as_text)]


@dataclass(frozen=True)
class LoggedMessage(Lenient):
    """A message of a chat."""

    role: str
    content: LoggedText = ""


def read_log_as(form: type[_T], data: Any, path: Path, line: int | None = None) -> _T:
    """``data`` as a ``form``; an InputError names the first fault and its place."""
    try:
        return TypeAdapter(form).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {first['msg']}", path=path, line=line) from None


def json_of(path: Path) -> Any:
    """What a JSON file holds, gzipped or not; InputError where it cannot be read."""
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        return json.loads(text.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from None
    except (ValueError, EOFError) as error:
        raise InputError(f"not JSON: {error}", path=path) from None


def json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, object) of JSON lines, a JSON list, or a list under ``results`` or ``data``."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".json"):
        data = json_of(path)
        while isinstance(data, dict) and ({"results", "data"} & set(data)):
            data = data.get("results", data.get("data"))
        yield from enumerate(data if isinstance(data, list) else [data], start=1)
    else:
        yield from json_lines(path)


def placeholder_name(label: str, otherwise: str = "input") -> str:
    """``label`` in letters, digits and underscores, as placeholders of prompts have them."""
    return re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_") or otherwise


def input_name(label: str) -> str:
    """``placeholder_name`` in lower case; no digit comes first."""
    plain = placeholder_name(label).lower()
    return f"_{plain}" if plain[0].isdigit() else plain


def text_or_json(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def or_default(value: _T | None, default: _T) -> _T:
    """``value``, or ``default`` where it is None."""
    return default if value is None else value


def in_range(number: float, name: str, path: Path, line: int | None = None) -> float | None:
    """The score, None for NaN; an InputError where it is not in [0, 1]."""
    if math.isnan(number):
        return None
    if not 0 <= number <= 1:
        raise InputError(
            f"score {name!r} is {number:g}: scores are in [0, 1]; name another by --score",
            path=path,
            line=line,
        )
    return number
