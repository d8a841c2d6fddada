"""Models that several files share: messages and turns, an answer's reading, prices, modes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tierwise.errors import InputError, unknown_name
from tierwise.schema.prompt import HISTORY, Message
from tierwise.schema.tier import Price
from tierwise.schema.turns import NAMES, RetrieverSpec, TurnTemplate
from tierwise.schema.validation import Count, NotNegative, Strict, Text, custom
from tierwise.schema.yaml_io import Document
from tierwise.tasks import NORMALISERS, AnswerSpec

MODE_PARAMETERS = (
    "allowed_openai_params",
    "extra_body",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "reasoning",
    "recorded_mode",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_settings",
    "service_tier",
    "stop",
    "suffix",
    "thinking",
    "top_k",
    "top_logprobs",
    "top_p",
    "verbosity",
)
"""What a mode may send (``recorded_mode`` names that of a recording). Not here: temperature, n and
seed, which a variant and its samples set, and whatever would send a request elsewhere or carry a key."""

_ELSEWHERE = re.compile(
    r"(^|_)(api|base_url|url|endpoint|host|headers?|authorization|secret|password|callbacks?)(_|$)|://",
    re.IGNORECASE,
)
_MODEL = re.compile(r"[A-Za-z0-9][\w.:/@+\-]*")


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters:
        if name not in MODE_PARAMETERS:
            hint = (
                " (a variant and its samples set it)"
                if name in ("temperature", "n", "seed")
                else ""
            )
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


ModelString = Annotated[str, AfterValidator(_model_string)]
ModeParameters = Annotated[dict[str, Any], AfterValidator(_plain_parameters)]
Modes = Annotated[dict[Text, ModeParameters], Field(min_length=1)]


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


class ExtractModel(Strict):
    """How an answer is found in a text."""

    regex: str | None = None
    take: Literal["first", "last"] = "last"


class AnswerModel(Strict):
    """How an answer is found, made canonical and handed out."""

    extract: ExtractModel = ExtractModel()
    normalise: str = "text"
    returns: Literal["text", "extracted"] = Field(default="text", alias="return")
    digits: Annotated[int, Field(ge=1)] | None = None


def answer_spec(model: AnswerModel, document: Document, faults: list[InputError]) -> AnswerSpec:
    """The answer's reading; what is wrong with it is added to ``faults``."""
    extract = model.extract
    rule = model.normalise
    if rule not in NORMALISERS:
        error = unknown_name("answer.normalise", rule, NORMALISERS)
        faults.append(document.placed(error, ("answer", "normalise")))
        rule = "text"
    if model.digits is not None and rule != "number":
        faults.append(
            document.fault("answer.digits is for normalise: number", ("answer", "digits"))
        )
        rule = "number"
    try:
        return AnswerSpec(extract.regex, extract.take, rule, model.returns, model.digits)
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
            self.name,
            AnswerSpec(self.query.regex, self.query.take, "none"),
            self.join,
            self.none,
            self.max_chars,
            float(self.usd_per_call),
        )


class PriceModel(Strict):
    """Dollars per million tokens."""

    prompt_usd_per_mtok: NotNegative
    completion_usd_per_mtok: NotNegative
    cached_usd_per_mtok: NotNegative | None = None
    as_of: str = ""
    simulated: bool = False

    def value(self) -> Price:
        """As a price."""
        return Price(**self.model_dump())
