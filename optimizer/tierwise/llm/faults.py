"""One classification of everything that can go wrong with a call, for every sender.

====================================================  ============================================
rate_limit, overloaded                                tried again, after the wait that the answer
                                                      names in a header or in words, up to 15
                                                      minutes
timeout, connection, server_error, malformed,         tried again, after growing waits with jitter
broken_off (an answer that ended by an error)
content_policy, context_window, bad_request, poison   at once a ``Failure`` row of the sample
auth (401); forbidden (403), not_found (404) and      a ``Failure`` row; on three different items,
redirect (3xx) before any good answer                 with no good answer between, the provider's
end quota (without a wait that is named)                  at once the provider's end
====================================================  ============================================

``classify_answer`` reads status, headers and bytes of an answer, whoever received it.
``classify_error`` is for what brought no answer. Faults are told apart by status, by the provider's
codes and by its message, so nothing here imports LiteLLM. No text that leaves this file holds a
key.
"""

from __future__ import annotations

import email.utils
import html
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

AGAIN = frozenset(
    {
        *("rate_limit", "overloaded", "timeout", "connection", "server_error", "malformed"),
        "broken_off",
    }
)
"""Kinds that are tried again."""
LIMITED = frozenset({"rate_limit", "overloaded"})
"""Kinds for which the provider did no work, and that pass with time."""
DOUBTFUL = frozenset({"auth", "forbidden", "not_found", "redirect"})
"""Kinds that look like a wrong key or address, and may be about one item all the same."""
REFUSALS = frozenset({"bad_request", "forbidden", "not_found"})
"""Kinds that a client's request can bring about, so that in serving none gives the provider up."""

_KIND_OF_STATUS = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    410: "not_found",
    413: "context_window",
    422: "bad_request",
    424: "server_error",
    425: "server_error",
    429: "rate_limit",
    451: "content_policy",
    498: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
_CODES = {
    "content_policy": {
        *("content_filter", "content_policy_violation", "contentpolicyviolationerror"),
        *("invalid_prompt", "responsibleaipolicyviolation", "content_moderation", "safety"),
        *("data_inspection_failed", "datainspectionfailed", "moderation_blocked", "1301"),
        "prohibited_content",
    },
    "context_window": {
        *("context_length_exceeded", "context_window_exceeded", "contextwindowexceedederror"),
        *("exceed_context_size_error", "string_above_max_length", "request_too_large", "1261"),
        *("model_max_prompt_tokens_exceeded", "tokens_limit_reached"),
    },
    "quota": {
        *("insufficient_quota", "insufficient_balance", "exceeded_current_quota_error", "1113"),
        *("billing_hard_limit_reached", "billing_not_active", "account_deactivated", "arrearage"),
        *("billing_error", "budget_exceeded", "credit_limit"),
    },
    "overloaded": {"overloaded_error", "overloaded", "engine_overloaded_error"},
    "rate_limit": {"rate_limit_exceeded", "rate_limit_error", "throttlingexception", "throttling"},
    "auth": {"invalid_api_key", "authentication_error", "invalidapikey"},
}
"""Kind -> what providers call it in ``code``, ``type`` or ``status``, in lower case."""

_CONTENT_POLICY = re.compile(
    r"content (management )?polic|content[- ]filter|responsible ai polic|inappropriate content"
    r"|content exists risk|considered high risk|requires moderation|flagged (as|by|for)"
    r"|was flagged|(usage|safety) (polic|guideline|system|setting)|violat\w* "
    ".{0,60}(polic|guideline)"
    r"|unsafe content|prohibited[ _]content|sensitive (content|information|words)"
    r"|contentpolicyviolation|prompt was blocked"
    r"|blocked by (our|the|a) .{0,30}(filter|polic|guardrail)|guardrail (intervened|blocked)",
    re.I,
)
_CONTEXT_WINDOW = re.compile(
    r"(maximum|model'?s?|available|loaded with) (\w+ )?context (length|window|size)"
    r"|context (length|window|size)( of| limit| is)? .{0,40}(exceed|too|limit|only)"
    r"|exceeds? (the )?(\w+ ){0,3}context|max_model_len|max_seq_len|maximum model length"
    r"|maximum prompt length|prompt is too long|input is too long|input (token )?length too long"
    r"|too many (input )?tokens|too large for model with|exceeded model token limit"
    r"|input token count .{0,40}(exceeds|supports)|inputs?\W? tokens? \+ .?max_new_tokens"
    r"|input tokens exceeded|must have less than \d+ tokens|expected maxlength"
    r"|contextwindowexceeded|(greater|longer|larger) than the context (length|window|size)"
    r"|range of input length|prompt exceeds max|prompt tokens? (is |are )?too (long|many|large)"
    r"|reduce the length of the (messages|prompt|input)|reached context length"
    r"|longer than the model'?s context|input length and .?max_tokens.? exceed",
    re.I,
)
_TOO_LARGE_AT_ONCE = re.compile(r"request too large", re.I)
"""One request above an account's tokens a minute: no wait mends it (Groq 413, OpenAI 429)."""
_QUOTA = re.compile(
    r"exceeded your current quota|credit balance|insufficient (account "
    ")?(balance|credit|fund|quota)"
    r"|out of credits|requires more credits|hard limit|account is not active|not in good standing"
    r"|(monthly|daily|spending) (usage |spend |spending )?limit|(key|credit) limit exceeded"
    r"|reached your .{0,20}usage limit|budget has been exceeded|over budget"
    r"|account (\S+ )?(is|has been) suspended|in arrears",
    re.I,
)
_OVERLOADED = re.compile(
    r"overloaded|loading model|currently loading|model is loading|at capacity|no capacity"
    r"|(server|service|engine|system) (is )?(too )?busy|too busy|queue is full|pending requests"
    r"|no (available|healthy) (\w+ )?(provider|deployment|instance|worker)",
    re.I,
)
_BAD_KEY = re.compile(
    r"api key (not valid|expired|is invalid)|(invalid|incorrect) api[- ]key", re.I
)
_WAIT = re.compile(
    r"\b(?:retry|again|wait|available|reset|resets)\b[^.;\n]{0,40}?"
    r"\b(?:in|after|for|within)\b:?\s*(?:about |approximately )?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
    r"(?![a-z])\s*(?:and\s+|,\s*)?)+|\d+(?:\.\d+)?)",
    re.I,
)
_RESET = re.compile(r"(\d+(\.\d+)?(ms|s|m|h|d)?)+")
_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.I)
_SECONDS = {"ms": 1e-3, "m": 60.0, "h": 3600.0, "d": 86400.0, "s": 1.0, "": 1.0}

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)S?(_|$)")
_SECRET_TEXT = re.compile(r"\bsk-[\w*.-]{4,}|(?i:bearer)\s+[\w*.~+/=-]{4,}")
_SHORTEST_SECRET = 5
_NO_SECRETS = frozenset({"false", "true", "none", "null", "auto", "default", "disabled", "enabled"})
"""What variables with such a name hold that is a setting."""
_LONGEST_MESSAGE = 300

FIELDS = (
    *("max_completion_tokens", "max_tokens", "top_logprobs", "logprobs", "temperature", "seed"),
    *("stream", "n"),
)
"""Fields of a request for which a refusal has a remedy of its own (``provider``)."""
_FIELD = re.compile(r"[`'\"“]([A-Za-z_][\w.]*)[`'\"”]")
_NAMED_FIELD = re.compile(r"\b([a-z_]+): Extra inputs|supplied: ([a-z_]+)")
_ONE_CHOICE = re.compile(
    r"\bn (must|should|is|>)|only one (completion|choice)|multiple (choices|completions)"
    r"|number of (choices|completions)",
    re.I,
)
_STREAM_ONLY = re.compile(r"only support\w* stream|non-?stream|stream\w* (is required|only)", re.I)


class Fault(Exception):
    """One attempt that failed.

    Attributes:
        possibly_billed: the provider may have done the work.
        retry_after_s: the wait that the answer names.
        fields: names of fields of the request that the answer refuses, or speaks of.
        last: there is no money for another attempt.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        billed: bool = False,
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.fields = kind, message, fields
        self.retry_after_s, self.possibly_billed, self.last = retry_after_s, billed, False


_kept_secret: set[str] = set()
"""Values of variables that a job names, whatever these are called."""


def keep_secret(value: str) -> None:
    """Let no text that leaves this file hold ``value``."""
    _kept_secret.add(value)


def redact(text: str) -> str:
    """``text`` without the value of any variable of the environment that looks like a secret."""
    values = {v for name, v in os.environ.items() if _SECRET_NAME.search(name.upper())}
    values = {
        v
        for v in values | _kept_secret
        if v.lower() not in _NO_SECRETS and not (v.isdigit() and len(v) < 12)
    }
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "[secret]")
    return _SECRET_TEXT.sub("[secret]", text)


def classify_answer(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """The fault behind an answer that says no: an error status, or an error in a body of status
    200.

    ``headers`` by lower-case names.
    """
    said = _Said.of(text)
    if status < 300:
        status = said.status or 500
    wait_s = _wait_s(headers, said)
    kind = _kind(status, said, named_wait=wait_s is not None)
    message = said.message or f"status {status}"
    if kind == "redirect":
        where = redact(str(headers.get("location", "another address")))
        message = f"the answer points to {where} (status {status}), which is not followed"
    return Fault(
        kind,
        brief(message),
        retry_after_s=wait_s,
        billed=kind in ("timeout", "server_error", "malformed"),
        fields=said.fields,
    )


def classify_error(error: Exception) -> Fault:
    """The fault behind an exception of a client or of LiteLLM for which no answer is at hand.

    An exception that carries an answer's status and text (LiteLLM's, inside its proxy) is
    classified by these.
    """
    chain = list(_chain(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    message = _words_of(error)
    if names & {"TimeoutError", "Timeout", "APITimeoutError", "ServerTimeoutError"}:
        return Fault("timeout", message, billed=True)
    refused = names & {"ConnectError", "ClientConnectorError", "ConnectionRefusedError"}
    if refused or "APIConnectionError" in names or "Connection error" in message:
        return Fault("connection", message, billed=not refused)
    if "missing credentials" in message.lower():
        return Fault("auth", message)
    if "JSONDecodeError" in names or "Empty or invalid response" in message:
        return Fault("malformed", message, billed=True)
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return Fault(type(error).__name__, message)
    bodies = [body for link in chain if isinstance(body := getattr(link, "body", None), dict)]
    body = {"message": message, **(bodies[0] if bodies else {})}
    if names & {"ContentPolicyViolationError", "ContextWindowExceededError"}:
        body["type"] = next(n for n in names if n.startswith(("ContentPol", "ContextWin")))
    headers = getattr(error, "litellm_response_headers", None) or {}
    return classify_answer(
        status, {str(k).lower(): str(v) for k, v in headers.items()}, json.dumps(body, default=str)
    )


def brief(text: str) -> str:
    """``text`` on one line, without secrets, at most 300 characters."""
    line = " ".join(text.split())
    return redact(line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…")


@dataclass(frozen=True)
class _Said:
    """What an error body says, whatever its form.

    OpenAI ``{"error": {"message", "type", "code", "param"}}``; vLLM the same without ``error``;
    FastAPI ``{"detail": [{"loc", "msg"}]}``; Google ``[{"error": {"status", "details"}}]``;
    Anthropic, Azure (``innererror``), OpenRouter (``metadata``), xAI and Hugging Face (``error`` is
    a string).
    """

    message: str
    codes: frozenset[str]
    status: int | None
    fields: tuple[str, ...]
    retry_s: float | None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> _Said:
        body = _parsed(text)
        if isinstance(body, list) and body:
            body = body[0]
        if not isinstance(body, dict):
            plain = _plain(text)
            return cls(plain, frozenset(), None, (), None)
        error = body.get("error", body)
        # Ollama and others: {"error": "…"}; xAI: {"code": "…", "error": "…"}
        error = {**body, "message": error} if isinstance(error, str) else error
        if not isinstance(error, dict):
            error = body
        # Mistral: {"object": "error", "message": {"detail": […]}}
        inner = error.get("message")
        detail = inner.get("detail") if isinstance(inner, dict) else body.get("detail")
        parts = [inner if isinstance(inner, str) else "", *_detail(detail)]
        metadata = mapping_in(error, "metadata")
        parts += [str(metadata["raw"])] if metadata.get("raw") else []
        message = "; ".join(part for part in parts if part) or _plain(text)
        nested = mapping_in(error, "innererror")
        named = [error.get(k) for k in ("code", "type", "status", "error_type")]
        named += [body.get("code"), body.get("type"), nested.get("code")]
        codes = frozenset(str(name).lower() for name in named if name)
        statuses = (error.get("code"), error.get("status"), error.get("status_code"))
        status = next((int(str(s)) for s in statuses if _is_status(s)), None)
        return cls(
            message,
            codes,
            status,
            _fields(error.get("param"), detail, message),
            _retry_info_s(error.get("details"), body.get("estimated_time")),
            {str(k).lower(): str(v) for k, v in mapping_in(metadata, "headers").items()},
        )


def _kind(status: int, said: _Said, *, named_wait: bool) -> str:
    if 300 <= status < 400:
        return "redirect"
    words = said.message

    def called(kind: str) -> bool:
        return bool(said.codes & _CODES[kind])

    if status == 401:
        return "auth"
    if status == 402:
        return "quota"
    if _TOO_LARGE_AT_ONCE.search(words) and status in (413, 429):
        return "context_window"
    if status != 429 and (called("content_policy") or _CONTENT_POLICY.search(words)):
        return "content_policy"
    if status != 429 and (called("context_window") or _CONTEXT_WINDOW.search(words)):
        return "context_window"
    if (
        status in (400, 403, 412, 429)
        and not named_wait
        and (called("quota") or _QUOTA.search(words))
    ):
        return "quota"
    if status == 400 and (called("auth") or _BAD_KEY.search(words)):
        return "auth"
    if status >= 500 and status != 504 and (called("overloaded") or _OVERLOADED.search(words)):
        return "overloaded"
    if status >= 500 and called("rate_limit"):
        return "rate_limit"
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    return "server_error" if status >= 500 else "bad_request"


def mapping_in(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a key of what a provider sent; empty where there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _is_status(value: object) -> bool:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and 300 <= value < 600


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _plain(text: str) -> str:
    """The words of a body that is no JSON: of a page its title, then its text."""
    if "<" not in text:
        return text[:_LONGEST_MESSAGE]
    title = re.search(r"<title[^>]*>(.*?)</title>", text[:20_000], re.I | re.S)
    bare = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]*>", " ", text[:20_000], flags=re.I | re.S)
    words = " ".join(html.unescape(bare).split())
    both = f"{html.unescape(title[1]).strip()}: {words}" if title else words
    return f"a page: {both}"[:_LONGEST_MESSAGE]


def _detail(detail: object) -> list[str]:
    """FastAPI's ``detail``: a string, or a list of faults with their places."""
    if isinstance(detail, str):
        return [detail]
    if not isinstance(detail, list):
        return []
    rows = [row for row in detail if isinstance(row, dict)]
    return [f"{'.'.join(map(str, row.get('loc') or ()))}: {row.get('msg', '')}" for row in rows]


def _fields(param: object, detail: object, message: str) -> tuple[str, ...]:
    """Fields of the request that a refusal names, the likeliest first."""
    found: list[str] = []
    if isinstance(param, str) and param:
        found.append(param.rsplit(".", 1)[-1])
    if isinstance(detail, list):
        found += [str(r["loc"][-1]) for r in detail if isinstance(r, dict) and r.get("loc")]
    found += [name.rsplit(".", 1)[-1] for name in _FIELD.findall(message)]
    # Anthropic: "seed: Extra inputs are not permitted"; older servers: "argument supplied: seed"
    found += [a or b for a, b in _NAMED_FIELD.findall(message)]
    plain = re.sub(r"[^a-z_ ]", " ", message.lower()).split()
    found += [name for name in FIELDS if name != "n" and name in plain]
    if _ONE_CHOICE.search(message):
        found.append("n")
    if _STREAM_ONLY.search(message):
        found.insert(0, "stream")
    return tuple(dict.fromkeys(found))


def _wait_s(headers: Mapping[str, str], said: _Said) -> float | None:
    """Seconds to wait, as a header, a structured field or the words of the body say."""
    both = {**said.headers, **headers}
    named = [_seconds_of_header(both), said.retry_s, _seconds_in(said.message)]
    return next((seconds for seconds in named if seconds is not None), None)


def _seconds_of_header(headers: Mapping[str, str]) -> float | None:
    """``retry-after-ms``, ``Retry-After`` (seconds or a date), or the reset of a used-up limit."""
    try:
        if "retry-after-ms" in headers:
            return _bounded(float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "").strip()
        if value.replace(".", "", 1).isdigit():
            return _bounded(float(value))
        if value:
            return _bounded(email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        pass
    for limit in ("", "-requests", "-tokens"):
        if headers.get(f"x-ratelimit-remaining{limit}") != "0":
            continue
        reset = headers.get(f"x-ratelimit-reset{limit}", "")
        if reset.isdigit() and int(reset) > 10**9:  # a time: seconds or milliseconds since 1970
            at_s = int(reset) / (1000 if int(reset) > 10**11 else 1)
            return _bounded(at_s - time.time())
        if _RESET.fullmatch(reset):
            return _seconds_of(reset)
    return None


def _retry_info_s(details: object, estimated: object) -> float | None:
    """Google's ``RetryInfo`` (``"1.4s"``), or Hugging Face's ``estimated_time`` of loading."""
    for row in details if isinstance(details, list) else ():
        delay = row.get("retryDelay") if isinstance(row, dict) else None
        if isinstance(delay, str):
            return _seconds_of(delay)
        if isinstance(delay, dict) and isinstance(delay.get("seconds"), int | float | str):
            return _seconds_of(str(delay["seconds"]))
    if isinstance(estimated, int | float) and not isinstance(estimated, bool):
        return _bounded(float(estimated))
    return None


def _seconds_in(message: str) -> float | None:
    found = _WAIT.search(message)
    return _seconds_of(found[1]) if found else None


def _seconds_of(text: str) -> float | None:
    """Seconds of ``1.4s``, ``6m0s``, ``20 seconds``, ``1 hour and 5 minutes`` or a bare number."""
    terms = _TERM.findall(text)
    if not terms:
        return None
    total = 0.0
    for number, unit in terms:
        unit = unit.lower()
        key = "ms" if unit == "ms" or unit.startswith("mill") else unit[:1]
        total += float(number) * _SECONDS.get(key, 1.0)
    return _bounded(total)


def _bounded(seconds: float) -> float:
    return max(0.0, seconds) if seconds == seconds else 0.0


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _words_of(error: Exception) -> str:
    text = str(error).partition("Traceback (most recent call last)")[0]
    text = text.rpartition("Exception - ")[2].removeprefix("litellm.")
    return brief(text) or type(error).__name__
