"""OpenAI's chat protocol: requests that a policy can honour, replies, streams and errors.

A policy brings its own messages, modes and temperature. So a request brings inputs; what would
change the outcome and cannot be honoured is refused by name, what does no harm is ignored by name.
Messages before the question are taken where the policy's prompts have a slot for them.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import secrets
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tierwise.errors import InputError
from tierwise.schema import Message
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.answer import Answer
from tierwise.tasks.conversation import chat_text

log = logging.getLogger("tierwise.serving")

HONOURED = ("model", "messages", "inputs", "seed", "stream", "stream_options")
SAME: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("auto",),
    "response_format": ({"type": "text"},),
}
"""Taken where they are what the policy sends itself, as clients send them with each request; and
the values here, which ask for nothing."""
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
    "functions": ([],),
    "function_call": ("none", "auto"),
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
_DEEPEST = 32
"""Levels of lists and objects in a body; a chat with parts and metadata has five."""

CLIENT_GONE: tuple[int, str | None] = (499, "client_gone")
"""What is counted where the client did not wait; nobody reads it."""

_FINISH_REASONS = ("stop", "length", "content_filter", "tool_calls")

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "too_many_requests",
    500: "internal_error",
    502: "upstream_failed",
    503: "policy_not_ready",
    504: "timeout",
}
_STATUS_OF_FAULT = {
    "timeout": 504,
    "rate_limit": 503,
    "overloaded": 503,
    "context_window": 400,
    "content_policy": 400,
    "bad_request": 400,
    "forbidden": 400,
    "InputError": 400,
}
"""Classes of a sample's failure that are not simply an upstream that failed (502)."""


# ``json.dumps`` makes one at every call where it is told how to write.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class ApiError(Exception):
    """What a client is told: a status, and ``{"error": {message, type, param, code}}``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or _CODES[status]
        self.headers, self.more = dict(headers or {}), dict(more or {})

    @property
    def body(self) -> dict[str, Any]:
        """The error object, and beside it what the request cost all the same."""
        kind = "invalid_request_error" if self.status < 500 else "api_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error, **self.more}

    def response(self) -> Response:
        """The error as a response."""
        return json_response(self.body, self.status, self.headers)


def bad_request(param: str, message: str, code: str | None = None) -> ApiError:
    """The error of a request whose parameter ``param`` is not taken."""
    return ApiError(400, message, param=param, code=code)


def failed_answer(answer: Answer, more: Mapping[str, Any]) -> ApiError:
    """The error of a request to which no sample came back."""
    error = answer.error or "upstream: no sample came back"
    status = _STATUS_OF_FAULT.get(error.partition(":")[0], 502)
    return ApiError(status, f"no answer: {error}", more=more)


def json_bytes(data: Any) -> bytes:
    """Compact JSON; what is not valid Unicode in a model's output becomes a question mark."""
    return _ENCODER.encode(data).encode("utf-8", "replace")


def json_response(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``data`` as a JSON response."""
    return Response(json_bytes(data), status, headers, media_type="application/json")


class PolicyInputs(NamedTuple):
    """What a request asks of its policy: inputs, and the conversation before them."""

    inputs: dict[str, Any]
    history: tuple[Message, ...] = ()


class ChatRequest(NamedTuple):
    """A request as far as it can be read without its policy.

    ``ignored`` are the names of the parameters that it brings and that change nothing; ``same``
    are those that the policy must send itself.
    """

    model: str
    messages: tuple[Any, ...]
    inputs: Mapping[str, Any] | None
    seed: int | None
    stream: bool
    include_usage: bool
    ignored: tuple[str, ...]
    same: Mapping[str, Any] = {}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ChatRequest:
        """The request of these parameters; those that are None are not there.

        Raises:
            ApiError: 400, with what is wrong and the parameter's name.
        """
        given = {name: value for name, value in data.items() if value is not None}
        for name, value in given.items():
            _check_parameter(name, value)
        model, seed, inputs = given.get("model"), given.get("seed"), given.get("inputs")
        if seed is not None and (not _whole(seed) or abs(seed) >= _SEED_LIMIT):
            _must_be("seed", "a whole number of 64 bits")
        if inputs is not None and not isinstance(inputs, dict):
            _must_be("inputs", "an object of texts")
        if not isinstance(model, str) or not model:
            raise bad_request("model", "'model' is missing: the name of a policy, see /v1/models")
        options, messages = given.get("stream_options", {}), given.get("messages", [])
        if not isinstance(options, dict):
            _must_be("stream_options", "an object")
        if not isinstance(messages, list):
            _must_be("messages", "a list")
        return cls(
            model=model,
            messages=tuple(messages),
            inputs=inputs,
            seed=seed,
            stream=_flag(given, "stream"),
            include_usage=_flag(options, "include_usage"),
            ignored=tuple(name for name in given if name in IGNORED),
            same={
                name: given[name]
                for name, neutral in SAME.items()
                if name in given and not any(_same(given[name], value) for value in neutral)
            },
        )


def policy_inputs(request: ChatRequest, policy: PolicyFile) -> PolicyInputs:
    """The policy's inputs: the last user message, or a JSON object of them, or ``inputs``.

    What stands before that message is the history. A policy without a slot for it takes one message
    only.

    Raises:
        ApiError: 400; there is a message that is not taken, or none, or it is not of that form; or
            the request brings tools or a form of answers that are not the policy's.
    """
    _check_same(request.same, policy)
    if policy.chat is not None:
        return PolicyInputs(_chat_inputs(request, policy))
    messages = request.messages
    history: tuple[Message, ...] = ()
    if policy.takes_history:
        history = _history(messages if request.inputs is not None else messages[:-1])
    text = _user_text(messages, first=len(history))
    if request.inputs is not None:
        if text:
            both = "give the inputs in 'inputs' or in the user message, not in both"
            raise bad_request("inputs", both)
        return PolicyInputs(dict(request.inputs), history)
    if text is None:
        raise bad_request("messages", "there is no user message to fill the policy's input")
    return PolicyInputs(_inputs_in(text, policy.inputs), history)


def _chat_inputs(request: ChatRequest, policy: PolicyFile) -> dict[str, Any]:
    """The inputs of a policy that takes a chat: the messages as they are, the others by name."""
    assert policy.chat is not None
    inputs = dict(request.inputs or {})
    if not request.messages and policy.chat not in inputs:
        raise bad_request("messages", "there are no messages")
    if request.messages:
        try:
            inputs[policy.chat] = chat_text(list(request.messages))
        except InputError as error:
            raise bad_request(error.message.partition(" ")[0], error.message) from None
    if missing := [name for name in policy.inputs if name not in inputs]:
        raise ApiError(
            400,
            f"the input {missing[0]!r} is missing: send it in 'inputs' (extra_body of OpenAI's "
            "client)",
            param="inputs",
        )
    return inputs


def _check_same(same: Mapping[str, Any], policy: PolicyFile) -> None:
    """Raise unless every mode that may answer sends these parameters as they are."""
    answering = {v for bucket in policy.policy.buckets for v in bucket.variants}
    modes = [policy.tier_of(variant).mode(variant.mode) for variant in answering]
    for name, value in same.items():
        sent = [mode.get(name) for mode in modes]
        if value == "none" and not any("tools" in mode for mode in modes):
            continue
        if any(_canonical(own) != _canonical(value) for own in sent):
            what = "sends none" if all(own is None for own in sent) else "was tuned with another"
            said = f"the policy decides it, and {what} ({name} is part of its modes)"
            raise bad_request(name, f"'{name}' is not taken: {said}", "unsupported_parameter")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _inputs_in(text: str, wanted: Sequence[str]) -> dict[str, Any]:
    if len(wanted) == 1:
        return {wanted[0]: text}
    try:
        inputs = json_object(text.encode())
    except (ApiError, UnicodeEncodeError):
        raise bad_request(
            "messages",
            f"this policy takes several inputs ({', '.join(wanted)}): send them as a JSON object "
            "in the user message, or in 'inputs' (extra_body of OpenAI's client)",
        ) from None
    return inputs


def _history(messages: Sequence[Any]) -> tuple[Message, ...]:
    found = []
    for i, message in enumerate(messages):
        at = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in HISTORY_ROLES:
            known = ", ".join(HISTORY_ROLES)
            said = f"{at} has the role {_shown(role)}: earlier messages are of {known}"
            raise bad_request(at, said)
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
            raise bad_request(
                at,
                f"{at} has the role {_shown(role)}: the policy brings its own messages and takes "
                "one user message (a policy whose prompts have {role: history} takes more)",
            )
        if text is not None:
            raise bad_request(at, f"{at} is a second user message: the policy takes one")
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
            place = f"{at}[{i}]"
            raise bad_request(place, f"{place} is of type {_shown(kind)}: only text is taken")
        parts.append(text)
    return "".join(parts)


def _check_parameter(name: str, value: Any) -> None:
    if name in HONOURED or name in IGNORED or name in SAME:
        return
    if name in REFUSED:
        if not any(_same(value, neutral) for neutral in REFUSED[name]):
            said = f"'{name}' is not taken: the policy decides it"
            raise bad_request(name, said, "unsupported_parameter")
        return
    near = difflib.get_close_matches(name[:64], [*HONOURED, *IGNORED, *SAME, *REFUSED], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise bad_request(name[:64], f"unknown parameter {_shown(name)}{hint}", "unknown_parameter")


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


def json_object(body: bytes) -> dict[str, Any]:
    """The object in a body.

    Raises:
        ApiError: 400; it is none, or nested too deep.
    """
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
    # Most bodies have fewer brackets than that, so that none is walked for nothing.
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _depth(data) > _DEEPEST:
        raise ApiError(400, "the body is nested too deep")
    return data


def _depth(data: Any) -> int:
    """Levels of lists and objects; it stops one below the deepest that is allowed."""
    level, depth = [data], 0
    while level and depth <= _DEEPEST:
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        depth += 1
    return depth


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _must_be(name: str, what: str) -> NoReturn:
    raise bad_request(name, f"'{name}' must be {what}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


@dataclass(frozen=True)
class ChatReply:
    """What all parts of a reply have in common. ``version`` is that of the policy's content."""

    policy: str
    version: str
    ignored: Sequence[str] = ()
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole reply."""
        calls = [call.body for call in answer.tool_calls]
        message = {
            "role": "assistant",
            "content": answer.text or (None if calls else ""),
            "refusal": None,
            **({"tool_calls": calls} if calls else {}),
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish(answer),
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage_body(answer),
            "tierwise": self.summary(answer),
        }

    def opening(self) -> bytes:
        """The first event: it says that there will be an answer."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def closing(self, answer: Answer, *, include_usage: bool) -> list[bytes]:
        """The events of the chosen answer and the end."""
        calls = [{"index": i, **call.body} for i, call in enumerate(answer.tool_calls)]
        events = [
            self._chunk({"content": answer.text}, None),
            *([self._chunk({"tool_calls": calls}, None)] if calls else []),
            self._chunk({}, _finish(answer), tierwise=self.summary(answer)),
        ]
        if include_usage:
            last = {
                **self._head("chat.completion.chunk"),
                "choices": [],
                "usage": usage_body(answer),
            }
            events.append(sse_event(last))
        return [*events, DONE]

    def headers(self, answer: Answer | None = None) -> dict[str, str]:
        """What a reply says in its headers; the answer's part where it is known in time."""
        headers = {"x-tierwise-policy": _ascii(self.policy), "x-tierwise-version": self.version}
        if answer is not None:
            headers |= {
                "x-tierwise-bucket": _ascii(answer.bucket),
                "x-tierwise-samples": str(answer.samples),
                "x-tierwise-usd": f"{answer.usd:.9g}",
            }
        return headers

    def summary(self, answer: Answer) -> dict[str, Any]:
        """The ``tierwise`` object: what the policy did."""
        return {
            "policy": self.policy,
            "version": self.version,
            "bucket": answer.bucket,
            "answer": answer.answer,
            "samples": answer.samples,
            "rounds": answer.rounds,
            "calls": answer.calls,
            "usd": answer.usd,
            "latency_s": round(answer.latency_s, 6),
            "ended": answer.ended,
            "ignored": list(self.ignored),
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.policy,
            "system_fingerprint": f"tierwise-{self.version}",
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse_event({**self._head("chat.completion.chunk"), "choices": [choice], **more})


def sse_event(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json_bytes(data) + b"\n\n"


def usage_body(answer: Answer) -> dict[str, Any]:
    """Tokens over all samples: what was billed, not what the chosen answer has."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }


def _finish(answer: Answer) -> str:
    return answer.finish_reason if answer.finish_reason in _FINISH_REASONS else "stop"


def _ascii(text: str) -> str:
    return urllib.parse.quote(text, safe=" /:@+,()[]=~")


Work = Coroutine[Any, Any, Answer]


async def while_connected(receive: Receive, work: Work) -> Answer:
    """The answer, or ClientDisconnect: a client that leaves cancels the calls that are out."""
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        answer.cancel()
        gone.cancel()


class AnswerStream(Response):
    """Server-sent events: the opening, keep-alives while samples are out, and the chosen answer.

    ``ended`` is told (status, error code) once, however it ends; the status that was sent is 200.
    """

    def __init__(
        self,
        reply: ChatReply,
        work: Callable[[], Work],
        ended: Callable[[int, str | None], None],
        *,
        include_usage: bool,
        keep_alive_s: float,
    ) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self.media_type = "text/event-stream"
        self.init_headers(
            {**reply.headers(), "cache-control": "no-cache", "x-accel-buffering": "no"}
        )
        # A length would end the response before its events.
        self.raw_headers = [(k, v) for k, v in self.raw_headers if k != b"content-length"]
        self._reply, self._work, self._ended = reply, work, ended
        self._include_usage, self._keep_alive_s = include_usage, keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        status, code = CLIENT_GONE
        answer = asyncio.ensure_future(self._work())
        gone = asyncio.ensure_future(_gone(receive))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await _part(send, self._reply.opening())
            while not answer.done():
                await asyncio.wait(
                    {answer, gone}, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    return
                if not answer.done():
                    await _part(send, KEEP_ALIVE)
            status, code, events = self._last(answer)
            for part in events:
                await _part(send, part)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            answer.cancel()
            gone.cancel()
            self._ended(status, code)

    def _last(self, answer: asyncio.Future[Answer]) -> tuple[int, str | None, list[bytes]]:
        """Status to count, error code, and the events that are left."""
        try:
            got = answer.result()
            if got.failed:
                raise failed_answer(got, {"tierwise": self._reply.summary(got)})
        except ApiError as error:
            return error.status, error.code, [sse_event(error.body), DONE]
        except Exception:  # the status is sent: an event is all that can still tell
            log.exception("an answer was lost to a fault of tierwise")
            lost = ApiError(500, "internal error")
            return lost.status, lost.code, [sse_event(lost.body), DONE]
        return 200, None, self._reply.closing(got, include_usage=self._include_usage)


async def _part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
