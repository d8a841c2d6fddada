"""What every attempt at a call passes: the tier's rate and concurrency limits, and its supervisor.

Calls queue here, none is refused. ``rpm`` and ``tpm`` are kept over every 60 s, not on average: a
leaky bucket that lets a tenth of the minute's allowance through at once and leaks the other nine
tenths evenly.

``Retry`` says how often and after how long a fault is tried again; ``Traffic`` counts attempts, and
tells a provider that is at fault from an item that is.

The supervisor is what the buyer of calls has to say while a model sends them: which attempts may go
out. A model asks that of the task that it runs in (``supervising()``), from its own event loop;
where nobody buys, as in serving, every attempt may go out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tierwise.llm.base import Call, Request
from tierwise.llm.faults import AGAIN, DOUBTFUL, LIMITED, Fault

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter
    from tenacity import RetryCallState

T = TypeVar("T")

DEFAULT_CONCURRENCY = 16
DEFAULT_TIMEOUT_S = 120.0
MOST_DOUBTS = 3
"""Different items that are refused by a ``DOUBTFUL`` kind before the provider is given up."""
MOST_FAILED_IN_A_ROW = 20
"""Failed calls in a row, of any kind that does not speak of the item, that end the provider."""
TOKENS_A_MESSAGE = 16
"""More than any chat format spends on the frame of one message."""


def prompt_tokens_bound(request: Request) -> int:
    """More tokens than the prompt can have: a token is at least one byte of UTF-8."""
    return request.prompt_bytes + TOKENS_A_MESSAGE * len(request.messages)


def prompt_tokens_estimate(request: Request) -> int:
    """About as many tokens as the prompt has: four bytes each, as providers count them for their
    own rate limits before a call."""
    return request.prompt_bytes // 4 + 4 * len(request.messages)


class RateLimiter:
    """What every attempt at a call passes: a free slot, then tokens, the pause and requests.

    Belongs to one event loop. A waiting attempt holds its slot, and attempts go out in the order in
    which they came.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.concurrency = int(limits.get("concurrency", DEFAULT_CONCURRENCY))
        self.timeout_s = float(limits.get("timeout_s", DEFAULT_TIMEOUT_S))
        self._slots = asyncio.Semaphore(self.concurrency)
        self._turn = asyncio.Lock()
        self._requests = _bucket(limits["rpm"]) if "rpm" in limits else None
        self._tokens = _bucket(limits["tpm"]) if "tpm" in limits else None
        self._resume_at_s = 0.0

    def pause(self, seconds: float) -> None:
        """Let nothing more out for ``seconds``: the provider asked for it."""
        self._resume_at_s = max(self._resume_at_s, asyncio.get_running_loop().time() + seconds)

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[None]:
        """Wait until a call of about ``tokens`` tokens may go out, and hold its slot."""
        async with self._slots:
            async with self._turn:
                if self._tokens:
                    await _take(self._tokens, tokens)
                while (left_s := self._resume_at_s - asyncio.get_running_loop().time()) > 0:
                    await asyncio.sleep(left_s)
                if self._requests:
                    await _take(self._requests, 1)
            yield


def _bucket(per_minute: float) -> AsyncLimiter:
    from aiolimiter import AsyncLimiter

    burst = max(1, int(per_minute // 10))
    # A bucket of one spaces its calls by 60/rate s; a larger one adds its burst to a window.
    leak_per_s = (per_minute if burst == 1 else per_minute - burst) / 60
    return AsyncLimiter(burst, burst / leak_per_s)


async def _take(bucket: AsyncLimiter, units: int) -> None:
    """Wait for ``units``; more than the bucket holds are taken in parts."""
    left = units
    while left > 0:
        part = min(left, int(bucket.max_rate))
        await bucket.acquire(part)
        left -= part


class Withheld(Exception):
    """A call that its supervisor did not let out: it was not sent, and costs nothing."""


class Supervisor:
    """Lets every attempt out, and takes no note of what became of it."""

    async def admit(self, call: Call) -> bool:
        """Whether an attempt at ``call`` may go out now; may wait before it says so."""
        return True

    def answered(self, call: Call) -> None:
        """An attempt was answered."""

    def faulted(self, call: Call, kind: str) -> None:
        """An attempt failed with a fault of ``kind``."""

    def lost(self, call: Call, kind: str) -> bool:
        """An attempt brought no answer and may be billed: whether a budget can bear another."""
        return True

    def waits_out(self, kind: str) -> bool:
        """Whether a provider that fails so again and again is waited for, and not given up."""
        return False


SUPERVISOR: ContextVar[Supervisor | None] = ContextVar("SUPERVISOR", default=None)
"""The supervisor of the running task; set it before a call is started, which then inherits it."""

_NOBODY = Supervisor()


def supervising() -> Supervisor:
    """The supervisor of the running task."""
    return SUPERVISOR.get() or _NOBODY


@dataclass(frozen=True)
class Retry:
    """How often and how long: ``attempts`` counts the first one.

    A provider that asks for more than ``longest_wait_s`` is taken at its word: the sample fails.
    """

    attempts: int = 5
    rate_limited_attempts: int = 12
    base_s: float = 0.5
    max_s: float = 30.0
    longest_wait_s: float = 900.0
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
        limited = _fault_of(state).kind in LIMITED
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

    ``possibly_billed_*`` say what the provider may have billed without an answer that arrived: a
    time-out, a cut, an answer that could not be read. Tokens are upper bounds.
    """

    attempts: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    possibly_billed_calls: int = 0
    possibly_billed_prompt_tokens: int = 0
    possibly_billed_completion_tokens: int = 0
    failed_in_a_row: int = 0
    doubtful_items: set[Hashable] = field(default_factory=set)
    """Items refused by a kind that looks like a wrong key, since the last good answer."""

    def given_up(self, kind: str, item: Hashable, answered_before: int) -> bool:
        """Count a call for ``item`` that failed for good; True where the provider is at fault.

        ``answered_before``: calls that had been answered when it began. A call beside which others
        were answered does not count among those in a row: it ends late, since it was tried again.
        """
        if kind == "quota":
            return True
        if kind in ("content_policy", "context_window", "poison"):
            return False
        if kind == "auth" or (kind in DOUBTFUL and not self.answered):
            self.doubtful_items.add(item)
            return len(self.doubtful_items) >= MOST_DOUBTS
        if self.answered == answered_before:
            self.failed_in_a_row += 1
        unreachable = kind == "connection" and not self.answered
        return unreachable or self.failed_in_a_row >= MOST_FAILED_IN_A_ROW

    def answer(self) -> None:
        """Count a call that was answered."""
        self.answered += 1
        self.failed_in_a_row = 0
        self.doubtful_items.clear()
