"""Checking plain data against pydantic models, and telling people what is wrong and where.

Also the models that several files share: an answer's reading, a price, what a mode sends.
"""

from __future__ import annotations

import collections.abc
import difflib
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tierwise.errors import InputError, unknown_name
from tierwise.recipe._yaml import Document, Faults, Loc, raise_any
from tierwise.recipe.prompt import HISTORY, Message
from tierwise.recipe.tier import Price
from tierwise.recipe.turns import NAMES, RetrieverSpec, TurnTemplate
from tierwise.task import NORMALISERS, AnswerSpec

MODE_PARAMETERS = (
    "allowed_openai_params", "extra_body", "frequency_penalty", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "min_p", "presence_penalty", "reasoning",
    "recorded_mode",
    "reasoning_effort", "repetition_penalty", "response_format", "safety_settings", "service_tier",
    "stop", "suffix", "thinking", "top_k", "top_logprobs", "top_p", "verbosity",
)  # fmt: skip
"""What a mode may send (``recorded_mode`` names that of a recording). Not here: temperature, n and
seed, which an arm and its draws set, and whatever would send a request elsewhere or carry a key."""

_ELSEWHERE = re.compile(
    r"(^|_)(api|base_url|url|endpoint|host|headers?|authorization|secret|password|callbacks?)(_|$)|://",
    re.IGNORECASE,
)
_MODEL = re.compile(r"[A-Za-z0-9][\w.:/@+\-]*")


class Strict(BaseModel):
    """Unknown keys are faults, and a text is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class MessageModel(Strict):
    """One chat message of a prompt, or the slot ``{role: history}``."""

    role: Literal["system", "user", "assistant", "developer", "history"]
    content: str = ""

    @model_validator(mode="after")
    def _slot_or_text(self) -> MessageModel:
        if self.role == HISTORY and self.content:
            raise custom("{role: history} takes no content: a request's earlier messages fill it")
        if self.role != HISTORY and "content" not in self.model_fields_set:
            raise custom(f"a message of role {self.role} needs its content")
        return self


def messages_of(models: Sequence[MessageModel]) -> tuple[Message, ...]:
    """The messages of a prompt.

    Raises:
        InputError: there is more than one slot for the history, or the last message is one.
    """
    slots = [i for i, m in enumerate(models) if m.role == HISTORY]
    if len(slots) > 1 or slots == [len(models) - 1]:
        raise InputError("a prompt has one {role: history} at most, before its last message")
    return tuple(Message(m.role, m.content) for m in models)


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters:
        if name not in MODE_PARAMETERS:
            hint = " (an arm and its draws set it)" if name in ("temperature", "n", "seed") else ""
            raise custom(unknown_name("parameter of a mode", name, MODE_PARAMETERS).message + hint)
    _refuse_addresses({k: v for k, v in parameters.items() if k not in ("response_format", "stop")})
    return parameters


def _refuse_addresses(value: Any) -> None:
    """Raise unless ``value`` is free of addresses and keys, however deep."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if _ELSEWHERE.search(name):
                raise custom(f"{name!r} is not allowed here: no addresses, headers or keys")
            _refuse_addresses(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_addresses(inner)
    elif isinstance(value, str) and "://" in value:
        raise custom("an address is not allowed here")


def _model_string(model: str) -> str:
    if "://" in model:
        raise custom("a model is a LiteLLM model string such as openai/gpt-4o-mini, not an address")
    if not _MODEL.fullmatch(model):
        raise custom("must be a LiteLLM model string such as openai/gpt-4o-mini")
    return model


def custom(message: str) -> PydanticCustomError:
    """A fault found by a validator, told as it is."""
    return PydanticCustomError("tierwise", "{message}", {"message": message})


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
ModelString = Annotated[str, AfterValidator(_model_string)]
ModeParameters = Annotated[dict[str, Any], AfterValidator(_plain_parameters)]
Modes = Annotated[dict[Text, ModeParameters], Field(min_length=1)]


class ExtractModel(Strict):
    """How an answer is found in a text."""

    regex: str | None = None
    take: Literal["first", "last"] = "last"


class AnswerModel(Strict):
    """How an answer is found, made canonical and handed out."""

    extract: ExtractModel = ExtractModel()
    normalise: str = "text"
    returns: Literal["text", "extracted"] = Field(default="text", alias="return")


def answer_spec(model: AnswerModel, document: Document, faults: list[InputError]) -> AnswerSpec:
    """The answer's reading; what is wrong with it is added to ``faults``."""
    extract = model.extract
    rule = model.normalise
    if rule not in NORMALISERS:
        error = unknown_name("answer.normalise", rule, NORMALISERS)
        faults.append(document.placed(error, ("answer", "normalise")))
        rule = "text"
    try:
        return AnswerSpec(extract.regex, extract.take, rule, model.returns)
    except InputError as error:
        faults.append(document.placed(error, ("answer", "extract", "regex")))
    return AnswerSpec(None, extract.take, rule, model.returns)


class TurnModel(Strict):
    """What the user says to get a turn, and what the call sends beside the mode's parameters."""

    text: str
    sends: ModeParameters = Field(default_factory=dict)

    def value(self) -> TurnTemplate:
        """As a turn."""
        return TurnTemplate(self.text, dict(self.sends))


def _turn_name(name: str) -> str:
    if name not in NAMES:
        raise custom(unknown_name("turn", name, NAMES).message)
    return name


def _text_alone(turn: Any) -> Any:
    return {"text": turn} if isinstance(turn, str) else turn


Turns = dict[
    Annotated[str, AfterValidator(_turn_name)],
    Annotated[TurnModel, BeforeValidator(_text_alone, json_schema_input_type=str | TurnModel)],
]
"""A turn is a text, or ``{text, sends}``."""


class QueryModel(Strict):
    """How a query is found in what a model says."""

    regex: Text = RetrieverSpec("").query.regex or ""
    take: Literal["first", "last"] = "first"


class RetrieverModel(Strict):
    """A retriever by name, and how its queries are read and its passages shown."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    query: QueryModel = QueryModel()
    join: str = RetrieverSpec("").join
    none: str = RetrieverSpec("").none
    max_chars: Count = RetrieverSpec("").max_chars
    usd_per_call: NotNegative = 0.0

    def value(self) -> RetrieverSpec:
        """As a retriever's specification.

        Raises:
            InputError: the query's regular expression is none.
        """
        return RetrieverSpec(
            self.name, AnswerSpec(self.query.regex, self.query.take, "none"), self.join, self.none,
            self.max_chars, float(self.usd_per_call),
        )  # fmt: skip


class PriceModel(Strict):
    """Dollars per million tokens."""

    prompt_usd_per_mtok: NotNegative
    completion_usd_per_mtok: NotNegative
    cached_usd_per_mtok: NotNegative | None = None
    as_of: str = ""
    nominal: bool = False

    def value(self) -> Price:
        """As a price."""
        return Price(**self.model_dump())


_M = TypeVar("_M", bound=BaseModel)


def validate(model: type[_M], document: Document) -> _M:
    """``document`` as a ``model``.

    Raises:
        InputError: with every fault, each with its line and the near names.
    """
    faults = list(document.traps.values())
    if document.data is None:
        raise document.fault("there is nothing in it")
    if not isinstance(document.data, dict):
        raise document.fault(f"must be a mapping of {', '.join(keys_of(model))}")
    try:
        checked = model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        misspelt = {_meant(model, d["loc"]) for d in details if d["type"] == "extra_forbidden"}
        for detail in details:
            loc = _inside(document.data, detail["loc"])
            said = loc in document.traps or (
                detail["type"] == "missing" and detail["loc"] in misspelt
            )
            if not said:
                faults.append(_fault(model, document, detail, loc))
        raise Faults(sorted(faults, key=lambda f: f.line or 0)) from None
    raise_any(faults)
    return checked


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a mapping of this model may have."""
    return [f.alias or name for name, f in model.model_fields.items()]


def _fault(model: type[BaseModel], doc: Document, detail: ErrorDetails, loc: Loc) -> InputError:
    kind, context, got = detail["type"], detail.get("ctx", {}), detail["input"]
    where = _dotted(loc)
    if kind == "extra_forbidden":
        parent = _dotted(loc[:-1])
        error = unknown_name("key", str(loc[-1]), _known(model, loc[:-1]))
        return doc.fault(f"{parent}: {error.message}" if parent else error.message, loc)
    if kind == "missing":
        *around, key = detail["loc"]
        inside = f" in {_dotted(around)}" if around else ""
        return doc.fault(f"{key!r} is missing{inside}", loc)
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        if isinstance(got, str):
            return doc.fault(unknown_name(where, got, names).message, loc)
        return doc.fault(f"{where} must be one of {', '.join(names)}{_shown(got)}", loc)
    if kind == "tierwise":
        return doc.fault(f"{where}: {detail['msg']}", loc)
    if kind in _MUST_BE:
        return doc.fault(f"{where} must be {_MUST_BE[kind]}{_shown(got)}", loc)
    if kind == "too_short":
        return doc.fault(f"{where} must not be empty", loc)
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        return doc.fault(f"{where} must be {_BOUNDS[kind]} {bound:g}{_shown(got)}", loc)
    message = detail["msg"].removeprefix("Value error, ")
    return doc.fault(f"{where}: {message[:1].lower()}{message[1:]}", loc)


_MUST_BE = {
    "string_type": "text (in quotes if it looks like something else)",
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "dict_type": "a mapping", "model_type": "a mapping",
    "list_type": "a list", "model_attributes_type": "a mapping",
    "string_too_short": "a text that is not empty",
}  # fmt: skip
_BOUNDS = {
    "greater_than": "above", "greater_than_equal": "at least",
    "less_than": "below", "less_than_equal": "at most",
}  # fmt: skip


def _shown(value: Any) -> str:
    match value:
        case None:
            return ", got nothing"
        case bool():
            return f", got {str(value).lower()}"
        case dict():
            return ", got a mapping"
        case list():
            return ", got a list"
        case str() if len(value) > 16:  # may be a secret in the wrong place
            return ", got a text"
        case _:
            return f", got {value!r}"


def _dotted(loc: Iterable[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".")


def _inside(data: Any, loc: Iterable[str | int]) -> Loc:
    """``loc`` without the steps that pydantic adds for the members of a union."""
    found: list[str | int] = []
    for step in loc:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            continue
        found.append(step)
    return tuple(found)


def _known(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that the schema knows at ``loc``."""
    here: Any = model
    for step in loc:
        here = _without_none(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {f.alias or name: f.annotation for name, f in here.model_fields.items()}
            here = fields.get(str(step))
        elif get_origin(here) in (dict, collections.abc.Mapping):
            here = get_args(here)[1]
        elif get_origin(here) is list:
            here = get_args(here)[0]
    here = _without_none(here)
    return keys_of(here) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _meant(model: type[BaseModel], loc: Loc) -> Loc:
    """Where an unknown key would be if it were spelt as the nearest known one."""
    near = difflib.get_close_matches(str(loc[-1]), _known(model, loc[:-1]), n=1, cutoff=0.5)
    return (*loc[:-1], *near)


def _without_none(annotation: Any) -> Any:
    """The first member that is not None of an optional, and what an ``Annotated`` annotates."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation
