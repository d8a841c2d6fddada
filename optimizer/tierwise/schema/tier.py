"""A model tier: the model, what each mode sends, and what its calls cost."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from tierwise.errors import unknown_name
from tierwise.schema.fields import IF_ANY, IF_SET, Count, Name, NotNegative, Positive, Strict

PER_MTOK = 1e-6

_MODEL = re.compile(r"[A-Za-z0-9][\w.:/@+\-]*")


def _model_string(model: str) -> str:
    if "://" in model:
        raise ValueError(
            "a model is a LiteLLM model string such as openai/gpt-4o-mini, not an address"
        )
    if not _MODEL.fullmatch(model):
        raise ValueError("must be a LiteLLM model string such as openai/gpt-4o-mini")
    return model


ModelString = Annotated[str, AfterValidator(_model_string)]

MODE_PARAMETERS = (
    *("allowed_openai_params", "extra_body", "frequency_penalty", "logit_bias", "logprobs"),
    *("max_completion_tokens", "max_tokens", "min_p", "parallel_tool_calls", "presence_penalty"),
    *("reasoning", "recorded_mode", "reasoning_effort", "repetition_penalty", "response_format"),
    *("safety_settings", "service_tier", "stop", "suffix", "thinking", "tool_choice", "tools"),
    *("top_k", "top_logprobs", "top_p", "verbosity"),
)
"""What a mode may send (``recorded_mode`` names that of a recording). Not here: temperature, n and
seed, which a variant and its samples set, and whatever would send a request elsewhere or carry a
key."""

_ELSEWHERE = re.compile(
    r"(^|_)(api|base_url|url|endpoint|host|headers?|authorization|secret|password|callbacks?)(_|$)"
    r"|://",
    re.IGNORECASE,
)


def _parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters:
        if name not in MODE_PARAMETERS:
            hint = ""
            if name in ("temperature", "n", "seed"):
                hint = " (a variant and its samples set it)"
            error = unknown_name("parameter of a mode", name, MODE_PARAMETERS)
            raise ValueError(error.message + hint)
    for name, check in _FORMS.items():
        if name in parameters:
            check(parameters[name])
    texts = (*_FORMS, "stop")  # a schema describes fields, whatever their names
    _refuse_addresses({k: v for k, v in parameters.items() if k not in texts})
    if parameters.keys() & {"tool_choice", "parallel_tool_calls"} and "tools" not in parameters:
        raise ValueError("tool_choice and parallel_tool_calls are of a mode that sends tools")
    _refuse_widening(parameters, "")
    return parameters


def _check_response_format(value: Any) -> None:
    match value:
        case {"type": "text" | "json_object"} if len(value) == 1:
            return
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(), **more}} if (
            len(value) == 2 and more.keys() <= {"strict", "description"}
        ):
            return
    raise ValueError(
        "response_format is {type: json_object}, or {type: json_schema, json_schema: {name: …, "
        "schema: {…}, strict: true}}"
    )


def _check_tools(value: Any) -> None:
    """Raise unless all are functions: tools of other types send a provider elsewhere."""
    for tool in value if isinstance(value, list) and value else [{}]:
        match tool:
            case {"type": "function", "function": {"name": str(), **more}} if len(
                tool
            ) == 2 and more.keys() <= {"description", "parameters", "strict"}:
                continue
        raise ValueError(
            "tools is a list of functions: [{type: function, function: {name: …, description: …, "
            "parameters: {…}}}]"
        )


def _check_tool_choice(value: Any) -> None:
    match value:
        case "none" | "auto" | "required":
            return
        case {"type": "function", "function": {"name": str()}} if len(value) == 2:
            return
    raise ValueError(
        "tool_choice is auto, required, none, or {type: function, function: {name: …}}"
    )


_FORMS: Mapping[str, Callable[[Any], None]] = {
    "response_format": _check_response_format,
    "tools": _check_tools,
    "tool_choice": _check_tool_choice,
}
"""Parameters that shape an answer, and what they must look like."""

STRUCTURED = (*_FORMS, "parallel_tool_calls")
"""Parameters by which a call asks for an answer of a form."""

_CALLS_OWN = (
    *("model", "messages", "prompt", "input", "n", "best_of", "num_return_sequences"),
    *("candidate_count", "num_generations", "use_beam_search", "temperature", "seed", "stream"),
    *("stream_options", "tools", "functions", "tool_choice", "plugins", "web_search_options"),
    "extra_body",
)
"""What a call sets itself, or what buys more than completions: not to be slipped into a body."""

CAP_NAMES = (
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"),
    *("max_tokens_to_sample", "max_gen_len", "max_length", "num_predict", "n_predict"),
)
"""Names under which servers take a cap on the tokens of a completion."""
_LARGEST_CAP = 10_000_000
_SCHEMAS = frozenset(["guided_json", "json_schema", "response_format", "schema", "format"])
"""What describes an answer's fields, whatever their names."""


def _refuse_widening(value: Any, inside: str) -> None:
    """Raise where a mode sends more, or something else, than the call that is counted."""
    if isinstance(value, list):
        for inner in value:
            _refuse_widening(inner, inside)
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        plain = snake_case(name)
        if inside and plain.strip("_") in _CALLS_OWN:
            raise ValueError(f"{name!r} in {inside} is not allowed: a call sets it itself")
        if plain in CAP_NAMES and (type(inner) is not int or not 1 <= inner <= _LARGEST_CAP):
            raise ValueError(f"{name} must be a whole number from 1 to {_LARGEST_CAP:,}")
        if (name == "extra_body" or inside) and plain not in _SCHEMAS:
            _refuse_widening(inner, inside or name)


@functools.lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """``max_tokens`` for ``maxTokens`` and ``max-tokens``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).replace("-", "_")


def _refuse_addresses(value: Any) -> None:
    """Raise unless ``value`` is free of addresses and keys, however deep."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if _ELSEWHERE.search(name):
                raise ValueError(f"{name!r} is not allowed here: no addresses, headers or keys")
            _refuse_addresses(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_addresses(inner)
    elif isinstance(value, str) and "://" in value:
        raise ValueError("an address is not allowed here")


ModeParameters = Annotated[Mapping[str, Any], AfterValidator(_parameters)]
"""LiteLLM parameters of a call."""
Modes = Mapping[Name, ModeParameters]
"""What each mode sends."""


@dataclass(frozen=True, slots=True)
class TokenRates(Strict):
    """Dollars per million tokens; cached and reasoning ones cost as others where nothing is
    said."""

    prompt_usd_per_mtok: NotNegative
    completion_usd_per_mtok: NotNegative
    cached_usd_per_mtok: Annotated[NotNegative | None, IF_SET] = None
    reasoning_usd_per_mtok: Annotated[NotNegative | None, IF_SET] = field(
        default=None, kw_only=True
    )

    def _said(self) -> str:
        return f"${self.prompt_usd_per_mtok:g} in, ${self.completion_usd_per_mtok:g} out"

    def _of_prompt(self, prompt_tokens: float, cached_tokens: float) -> float:
        cached = self.cached_usd_per_mtok
        cached = self.prompt_usd_per_mtok if cached is None else cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt_usd_per_mtok + cached_tokens * cached) * PER_MTOK

    def _of_completion(self, completion_tokens: float, reasoning_tokens: float) -> float:
        if self.reasoning_usd_per_mtok is None:
            return completion_tokens * self.completion_usd_per_mtok * PER_MTOK
        said = (completion_tokens - reasoning_tokens) * self.completion_usd_per_mtok
        return (said + reasoning_tokens * self.reasoning_usd_per_mtok) * PER_MTOK


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceStep(TokenRates):
    """What all tokens of a call cost whose prompt has more than ``prompt_tokens``."""

    prompt_tokens: Count


@dataclass(frozen=True, slots=True)
class Price(TokenRates):
    """Dollars per million tokens, at a date.

    Numbers of tokens may be arrays, of one shape; NaN gives NaN.

    Attributes:
        as_of: when, or of which table.
        simulated: computed from parameter and token counts, not billed.
        above: the prices of calls with longer prompts, by length of the prompt, the shortest first.
    """

    as_of: Annotated[str, IF_ANY] = ""
    simulated: Annotated[bool, IF_ANY] = False
    above: Annotated[tuple[PriceStep, ...], IF_ANY] = ()

    def __post_init__(self) -> None:
        steps = [step.prompt_tokens for step in self.above]
        if steps != sorted(set(steps)):
            raise ValueError("above: its prompt_tokens must rise from step to step")

    @property
    def free(self) -> bool:
        """Whether a request costs nothing, however long it is."""
        return all(
            not (each.prompt_usd_per_mtok or each.completion_usd_per_mtok)
            and not (each.cached_usd_per_mtok or each.reasoning_usd_per_mtok)
            for each in (self, *self.above)
        )

    def prompt_usd(self, prompt_tokens: float, cached_tokens: float = 0.0) -> float:
        """Price of a call's prompt, its cached part at the cached rate."""
        usd = self._of_prompt(prompt_tokens, cached_tokens)
        for step in self.above:
            over = (prompt_tokens > step.prompt_tokens) * 1.0
            usd = usd * (1.0 - over) + step._of_prompt(prompt_tokens, cached_tokens) * over
        return usd

    def completion_usd(
        self, completion_tokens: float, reasoning_tokens: float = 0.0, *, prompt_tokens: float
    ) -> float:
        """Price of a sample's completion, ``reasoning_tokens`` among it, after such a prompt."""
        usd = self._of_completion(completion_tokens, reasoning_tokens)
        for step in self.above:
            over = (prompt_tokens > step.prompt_tokens) * 1.0
            usd = (
                usd * (1.0 - over) + step._of_completion(completion_tokens, reasoning_tokens) * over
            )
        return usd

    def at_most(self, prompt_tokens: float) -> Price:
        """The highest rates of a call whose prompt has no more tokens, whatever they are for."""
        if not (self.above or self.cached_usd_per_mtok or self.reasoning_usd_per_mtok):
            return self
        reached = [self, *(step for step in self.above if prompt_tokens > step.prompt_tokens)]
        return Price(
            max(max(r.prompt_usd_per_mtok, r.cached_usd_per_mtok or 0.0) for r in reached),
            max(max(r.completion_usd_per_mtok, r.reasoning_usd_per_mtok or 0.0) for r in reached),
        )

    def __str__(self) -> str:
        steps = [f", above {s.prompt_tokens:,} prompt tokens {s._said()}" for s in self.above]
        return f"{self._said()}{''.join(steps)}"


LIMITS = ("rpm", "tpm", "concurrency", "timeout_s")


def _limit(name: str) -> str:
    if name not in LIMITS:
        raise ValueError(unknown_name("key", name, LIMITS).message)
    return name


def _limits(limits: Mapping[str, float]) -> Mapping[str, float]:
    n = limits.get("concurrency", 1.0)
    if n % 1 or n < 1:
        raise ValueError(f"concurrency must be a whole number of at least 1, got {n:g}")
    return limits


RateLimits = Annotated[
    Mapping[
        Annotated[str, AfterValidator(_limit), WithJsonSchema({"enum": list(LIMITS)})], Positive
    ],
    AfterValidator(_limits),
    PlainSerializer(
        lambda limits: {k: int(v) if k == "concurrency" else float(v) for k, v in limits.items()}
    ),
    IF_ANY,
]
"""What a provider allows, and how long a call may take."""


def _refused(value: object) -> str:
    raise ValueError("is not read from a file")


NotInFile = Annotated[
    SkipJsonSchema[str], AfterValidator(_refused), Field(validation_alias="(none)", exclude=True)
]
"""An address or the name of a key: of a job, never of a policy, which strangers may write."""


HeadersNotInFile = Annotated[
    SkipJsonSchema[Mapping[str, str]],
    AfterValidator(_refused),
    Field(validation_alias="(none)", exclude=True),
]


@dataclass(frozen=True, slots=True)
class Tier(Strict):
    """A model class of a job, with everything about it known.

    Attributes:
        modes: what each mode sends, as LiteLLM parameters.
        takes_n: one call may ask for several samples, whose prompt is billed once.
        logprobs: completions carry token log-probabilities.
        limits: what the provider allows.
        api_base: the address of the tier's server; empty: the provider's, as the environment says.
        api_key_env: the variable of the environment that holds the key for it.
        headers_env: headers of every call -> the variables that hold their values.
        takes_seed, stream: whether a seed is sent, and answers are streamed; None: as the
            provider's table says, or as its first answers show.
    """

    name: Name
    model: ModelString
    price: Price
    modes: Modes = field(default_factory=lambda: {"direct": {"max_tokens": 512}})
    takes_n: bool = True
    logprobs: bool = False
    limits: Annotated[RateLimits, Field(alias="rate_limits")] = field(default_factory=dict)
    api_base: NotInFile = ""
    api_key_env: NotInFile = ""
    headers_env: HeadersNotInFile = field(default_factory=dict)
    takes_seed: Annotated[bool | None, IF_SET] = None
    stream: Annotated[bool | None, IF_SET] = None

    def mode(self, name: str) -> Mapping[str, object]:
        """What ``name`` sends, as LiteLLM parameters."""
        if name not in self.modes:
            raise unknown_name(f"mode of tier {self.name!r}", name, self.modes)
        return self.modes[name]


def mode_fits(mode: str, names: Collection[str]) -> bool:
    """Whether ``names`` have ``mode``, or its kind: ``think`` for ``think-high``."""
    return mode in names or mode.partition("-")[0] in names


class SampleBill(NamedTuple):
    """What one sample used; a query's look-up is part of ``completion_usd``.

    ``call`` names the variant, whose samples in one round share a call, and with it the parent of a
    sample that follows another: it is asked something of its own.
    """

    call: object
    prompt_usd: float
    completion_usd: float
    takes_n: bool


def price(rounds: Sequence[Sequence[SampleBill]]) -> float:
    """Dollars of a request, from its rounds: the one function that search and serving share.

    The samples of a variant in a round are one call where the tier takes ``n`` (the prompt is
    billed once, as the first of these samples was), else a call each. Failed samples without usage
    are not among the bills.
    """
    total = 0.0
    for bills in rounds:
        billed: set[object] = set()
        for bill in bills:
            if not (bill.takes_n and bill.call in billed):
                total += bill.prompt_usd
                billed.add(bill.call)
            total += bill.completion_usd
    return total
