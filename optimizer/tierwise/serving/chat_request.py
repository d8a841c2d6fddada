"""A chat completion's body: which policy, which inputs, and what else it asks for.

A policy brings its own messages, modes and temperature. So a request brings inputs; what would
change the outcome and cannot be honoured is refused by name, what does no harm is ignored by name.
Messages before the question are taken where the policy's prompts have a slot for them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from tierwise.schema import Message
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.api_error import ApiError

HONOURED = ("model", "messages", "inputs", "seed", "stream", "stream_options")
IGNORED = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
)
"""The policy sets the first four; the others are for a provider's books."""
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([], ""),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "reasoning_effort": (),
    "thinking": (),
    "verbosity": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
"""Refused, but for the values here, which ask for nothing."""

HISTORY_ROLES = ("system", "developer", "user", "assistant")
"""Roles that may stand before the question, where the policy takes earlier messages."""

_SEED_LIMIT = 2**63


class Question(NamedTuple):
    """What a request asks of its policy: inputs, and the conversation before them."""

    inputs: dict[str, Any]
    history: tuple[Message, ...] = ()


class ChatRequest(NamedTuple):
    """A request as far as it can be read without its policy."""

    model: str
    messages: tuple[Any, ...]
    inputs: Mapping[str, Any] | None
    seed: int | None
    stream: bool
    include_usage: bool
    ignored: tuple[str, ...]


def read_chat(body: bytes) -> ChatRequest:
    """The request in ``body``.

    Raises:
        ApiError: 400, with what is wrong and the parameter's name.
    """
    data = _json_object(body)
    given = {name: value for name, value in data.items() if value is not None}
    ignored = check_parameters(given)
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(
            400, "'model' is missing: the name of a policy, see /v1/models", param="model"
        )
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        _must_be("stream_options", "an object")
    return ChatRequest(
        model=model,
        messages=_messages(given),
        inputs=_inputs(given),
        seed=given.get("seed"),
        stream=_flag(given, "stream"),
        include_usage=_flag(options, "include_usage"),
        ignored=ignored,
    )


def check_parameters(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the parameters that are ignored; those that are None are not there.

    Raises:
        ApiError: 400; one is unknown, or asks for what a policy decides.
    """
    for name, value in given.items():
        _check_parameter(name, value)
    seed = given.get("seed")
    if seed is not None and (not _whole(seed) or abs(seed) >= _SEED_LIMIT):
        _must_be("seed", "a whole number of 64 bits")
    _inputs(given)
    return tuple(name for name in given if name in IGNORED)


def question_of(request: ChatRequest, policy: PolicyFile) -> Question:
    """The policy's inputs: the last user message, or a JSON object of them, or ``inputs``.

    What stands before that message is the history. A policy without a slot for it takes one message
    only.

    Raises:
        ApiError: 400; there is a message that is not taken, or none, or it is not of that form.
    """
    messages = request.messages
    history: tuple[Message, ...] = ()
    if policy.takes_history:
        before = messages if request.inputs is not None else messages[:-1]
        history = _history(before)
    text = _user_text(messages, first=len(history))
    if request.inputs is not None:
        if text:
            raise ApiError(
                400,
                "give the inputs in 'inputs' or in the user message, not in both",
                param="inputs",
            )
        return Question(dict(request.inputs), history)
    if text is None:
        raise ApiError(400, "there is no user message to fill the policy's input", param="messages")
    return Question(_inputs_in(text, policy.inputs), history)


def _inputs_in(text: str, wanted: Sequence[str]) -> dict[str, Any]:
    if len(wanted) == 1:
        return {wanted[0]: text}
    try:
        inputs = _json_object(text.encode())
    except ApiError:
        names = ", ".join(wanted)
        raise ApiError(
            400,
            f"this policy takes several inputs ({names}): send them as a JSON object in the user "
            "message, or in 'inputs' (extra_body of OpenAI's client)",
            param="messages",
        ) from None
    return inputs


def _history(messages: Sequence[Any]) -> tuple[Message, ...]:
    found = []
    for i, message in enumerate(messages):
        at = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in HISTORY_ROLES:
            known = ", ".join(HISTORY_ROLES)
            raise ApiError(
                400, f"{at} has the role {_shown(role)}: earlier messages are of {known}", param=at
            )
        found.append(Message(role, _text(message.get("content"), f"{at}.content")))
    return tuple(found)


def _user_text(messages: Sequence[Any], first: int = 0) -> str | None:
    """The text of the one user message from ``messages[first]`` on."""
    text: str | None = None
    for i, message in enumerate(messages[first:], start=first):
        at = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str):
            _must_be(at, "an object with 'role' and 'content'")
        if role != "user":
            raise ApiError(
                400,
                f"{at} has the role {_shown(role)}: the policy brings its own messages and takes "
                "one user message (a policy whose prompts have {role: history} takes more)",
                param=at,
            )
        if text is not None:
            raise ApiError(400, f"{at} is a second user message: the policy takes one", param=at)
        text = _text(message.get("content"), f"{at}.content")
    return text


def _text(content: Any, at: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        _must_be(at, "text")
    parts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise ApiError(
                400, f"{at}[{i}] is of type {_shown(kind)}: only text is taken", param=f"{at}[{i}]"
            )
        parts.append(text)
    return "".join(parts)


def _check_parameter(name: str, value: Any) -> None:
    if name in HONOURED or name in IGNORED:
        return
    if name in REFUSED:
        if not any(_same(value, neutral) for neutral in REFUSED[name]):
            raise ApiError(
                400,
                f"'{name}' is not taken: the policy decides it",
                param=name,
                code="unsupported_parameter",
            )
        return
    near = difflib.get_close_matches(name[:64], [*HONOURED, *IGNORED, *REFUSED], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ApiError(
        400, f"unknown parameter {_shown(name)}{hint}", param=name[:64], code="unknown_parameter"
    )


def _messages(given: Mapping[str, Any]) -> tuple[Any, ...]:
    messages = given.get("messages", [])
    if not isinstance(messages, list):
        _must_be("messages", "a list")
    return tuple(messages)


def _inputs(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inputs: Mapping[str, Any] | None = given.get("inputs")
    if inputs is not None and not isinstance(inputs, dict):
        _must_be("inputs", "an object of texts")
    return inputs


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        _must_be(name, "true or false")
    return bool(value)


def _same(value: Any, neutral: Any) -> bool:
    """Equal, where ``true`` is not 1."""
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
        if b"\\u" in body:  # an escape may spell half a character, which nobody can encode
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise ApiError(400, "the body is nested too deep") from None
    except ValueError as error:  # also what is not Unicode, and integers of thousands of digits
        reason = "cannot be read"
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} (character {error.pos})"
        raise ApiError(400, f"the body is not JSON: {reason}") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _must_be(name: str, what: str) -> NoReturn:
    raise ApiError(400, f"'{name}' must be {what}", param=name)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
