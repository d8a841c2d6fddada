"""Which faults of a provider are waited out, which end a sample, and which end the run.

==================================================  ==============================================
rate_limit                                          again, after Retry-After where it is given
timeout, connection, server_error, malformed        again, after exponential waits with jitter
content_policy, context_window, bad_request, …      at once a ``Failure`` row of the sample
auth, quota, not_found, no_usage                    at once a ``ProviderError`` for the run
==================================================  ==============================================

Faults are told apart by status codes and class names, so nothing here imports LiteLLM. No text that
leaves this file holds a key.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

FATAL = frozenset({"auth", "quota", "not_found", "no_usage"})
AGAIN = frozenset({"rate_limit", "timeout", "connection", "server_error", "malformed"})
PATIENCE = {"connection": 1, "bad_request": 3}
"""Failed calls, before the first that is answered, after which the provider is given up."""

_KIND_OF_STATUS = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "context_window",
    422: "bad_request",
    429: "rate_limit",
    504: "timeout",
}
_QUOTA = re.compile(r"exceeded your current quota|credit balance", re.I)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
_SECRET_TEXT = re.compile(r"\bsk-[\w*.-]{4,}|(?i:bearer)\s+[\w*.~+/=-]{4,}")
_SHORTEST_SECRET = 5


class Fault(Exception):
    """One attempt that failed; ``possibly_billed`` where the provider may have done the work.

    ``last``: there is no money for another.
    """

    def __init__(
        self, kind: str, message: str, *, retry_after_s: float | None = None, billed: bool = False
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message
        self.retry_after_s, self.possibly_billed, self.last = retry_after_s, billed, False


def redact(text: str) -> str:
    """``text`` without the value of any variable of the environment that looks like a secret."""
    values = {v for name, v in os.environ.items() if _SECRET_NAME.search(name.upper())}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "[secret]")
    return _SECRET_TEXT.sub("[secret]", text)


def classify(error: Exception) -> Fault:
    """The fault behind an exception of LiteLLM."""
    chain = list(_chain(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    # What the server itself called it; LiteLLM's own classes go by the paraphrase of the message.
    bodies = [body for link in chain if isinstance(body := getattr(link, "body", None), dict)]
    names |= {str(body.get(field)) for body in bodies for field in ("code", "type")}
    headers = getattr(error, "litellm_response_headers", None) or {}
    message = _message(error)
    kind = _kind(error, names, message, answered=bool(headers))
    refused = bool(names & {"ConnectError", "ClientConnectorError", "ConnectionRefusedError"})
    billed = not refused and kind in ("timeout", "connection", "server_error", "malformed")
    return Fault(kind, message, retry_after_s=_retry_after_s(headers), billed=billed)


def _kind(error: Exception, names: set[str], message: str, *, answered: bool) -> str:
    status = getattr(error, "status_code", None)
    if names & {"ContentPolicyViolationError", "content_policy_violation", "content_filter"}:
        return "content_policy"
    if names & {"ContextWindowExceededError", "context_length_exceeded"}:
        return "context_window"
    if names & {"TimeoutError", "Timeout", "APITimeoutError"}:
        return "timeout"
    if status == 429 and ("insufficient_quota" in names or _QUOTA.search(message)):
        return "quota"
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    # What follows LiteLLM reports as status 500, though no such answer came.
    if not answered and "missing credentials" in message.lower():
        return "auth"
    if "JSONDecodeError" in names or "Empty or invalid response" in message:
        return "malformed"
    if not answered and ("APIConnectionError" in names or "Connection error" in message):
        return "connection"
    if isinstance(status, int):
        return "server_error" if status >= 500 else "bad_request"
    return type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _message(error: Exception) -> str:
    text = str(error).rpartition("Exception - ")[2].removeprefix("litellm.")
    first = " ".join(text.split()) or type(error).__name__
    return redact(first if len(first) <= 300 else first[:299] + "…")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` (seconds or a date) or ``retry-after-ms`` asks for."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


@dataclass(frozen=True)
class Retry:
    """How often and how long: ``attempts`` counts the first one.

    A provider that asks for more than ``longest_wait_s`` is taken at its word: the sample fails.
    """

    attempts: int = 5
    rate_limited_attempts: int = 12
    base_s: float = 0.5
    max_s: float = 30.0
    longest_wait_s: float = 120.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt`` until it answers; raises the last Fault where it does not.

        Most calls are answered at once and need nothing of tenacity, which takes over with the
        first fault.
        """
        try:
            return await attempt()
        except Fault as error:
            if not self._again(error):
                raise
            first: Fault | None = error

        async def tried() -> T:  # tenacity awaits only what it can see is a coroutine function
            nonlocal first
            if first is not None:
                fault, first = first, None
                raise fault
            return await attempt()

        from tenacity import AsyncRetrying, retry_if_exception

        return await AsyncRetrying(
            retry=retry_if_exception(self._again),
            stop=self._stop,
            wait=self._wait,
            sleep=self.sleep,
            reraise=True,
        )(tried)

    def _again(self, error: BaseException) -> bool:
        return (
            isinstance(error, Fault)
            and error.kind in AGAIN
            and not error.last
            and (error.retry_after_s or 0.0) <= self.longest_wait_s
        )

    def _stop(self, state: RetryCallState) -> bool:
        limited = _fault_of(state).kind == "rate_limit"
        return state.attempt_number >= (self.rate_limited_attempts if limited else self.attempts)

    def _wait(self, state: RetryCallState) -> float:
        from tenacity import wait_random_exponential

        asked = _fault_of(state).retry_after_s
        if asked is not None:
            return asked
        return wait_random_exponential(multiplier=self.base_s, max=self.max_s)(state)


def _fault_of(state: RetryCallState) -> Fault:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Fault)  # ``_again`` lets no other pass
    return error


@dataclass
class Traffic:
    """What one model sent, and what went wrong: attempts, not samples.

    The last three say what the provider may have billed without an answer that arrived: a time-out,
    a cut, an answer that could not be read. Tokens are upper bounds.
    """

    attempts: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    possibly_billed_calls: int = 0
    possibly_billed_prompt_tokens: int = 0
    possibly_billed_completion_tokens: int = 0
    failed_in_a_row: int = 0

    def given_up(self, kind: str) -> bool:
        """Count a call that failed for good; True once the provider itself must be at fault."""
        if kind in ("content_policy", "context_window"):
            return False
        self.failed_in_a_row += 1
        return self.failed_in_a_row >= (PATIENCE.get(kind, 20) if not self.answered else 20)

    def answer(self) -> None:
        """Count a call that was answered."""
        self.answered += 1
        self.failed_in_a_row = 0
