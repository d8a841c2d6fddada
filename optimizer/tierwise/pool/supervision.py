"""Who may send while samples are bought: deadlines, interruptions, outages and rate limits.

``Interruption`` is what a signal asks for. ``Circuit`` waits out a provider that answers nobody.
``PurchaseSupervisor`` is what a model asks before each attempt.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from tierwise.llm import Call
from tierwise.llm.limits import Supervisor
from tierwise.schema.job import MAX_OUTAGE_S

GRACE_S = 10.0
"""How long calls under way may take after the deadline or an interruption."""

OUTAGE = frozenset(
    {"connection", "server_error", "timeout", "malformed", "overloaded", "rate_limit"}
)
"""Kinds of fault that may be about the provider, and not about a request."""

DIFFERENT, IN_A_ROW, MANY_IN_A_ROW, OUT_AFTER_S = 3, 4, 12, 2.0
"""A provider is taken to be out when attempts at ``DIFFERENT`` calls fail with no answer between:
``IN_A_ROW`` of them over ``OUT_AFTER_S`` seconds, or ``MANY_IN_A_ROW`` however fast. One call that
always fails is that call's fault."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

_LOOK_S = 0.1
"""How often an attempt that waits looks whether it may go out."""

Key = tuple[str, int]
"""(request key, first sample) of a call."""


class Interruption:
    """A wish to stop buying: the first stores what still arrives, the second stops at once."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._lock = threading.Lock()

    def ask(self) -> int:
        """Stop; how often that was asked for by now."""
        with self._lock:
            self._times.append(monotonic())
            return len(self._times)

    def reset(self) -> None:
        """Forget what was asked: a new run begins."""
        with self._lock:
            self._times.clear()

    @property
    def asked(self) -> bool:
        """Whether to stop sending."""
        return bool(self._times)

    @property
    def give_up_at(self) -> float | None:
        """When to give up calls under way, on the monotonic clock; None while nobody asked."""
        times = list(self._times)
        if not times:
            return None
        return times[0] + GRACE_S if len(times) == 1 else times[1]


INTERRUPTION = Interruption()
"""That of this process: signals are the process's."""


class Circuit:
    """Whether a provider answers at all; while it does not, one attempt at a time finds out.

    Written from the event loop alone. Until somebody has been answered (``trusted``), failures look
    like a wrong address and are not waited out.

    Attributes:
        open: the provider is out, and may be back.
        kind: of the last fault.
        answered_s: when an attempt was last answered, on the monotonic clock.
    """

    def __init__(self, *, trusted: bool, max_outage_s: float = MAX_OUTAGE_S) -> None:
        self.trusted, self._max_outage_s = trusted, max_outage_s
        self._in_a_row, self._since_s = 0, 0.0
        self._failed: set[Key] = set()
        self._pause_s, self._next_s = FIRST_PAUSE_S, 0.0
        self._probe: Key | None = None
        self.open, self.kind, self.answered_s = False, "", 0.0

    @property
    def outage_s(self) -> float:
        """Since when it is out; 0 where it is not."""
        return monotonic() - self._since_s if self.open else 0.0

    @property
    def given_up(self) -> bool:
        """Whether it has been out for too long."""
        return self.outage_s > self._max_outage_s

    def passes(self, key: Key) -> bool:
        """Whether an attempt of this call may go out now."""
        if not self.open:
            return True
        if self._probe not in (None, key) or monotonic() < self._next_s:
            return False
        self._probe = key
        return True

    def answered(self) -> None:
        """An attempt was answered."""
        self.trusted, self.open, self.answered_s = True, False, monotonic()
        self._in_a_row, self._pause_s, self._probe = 0, FIRST_PAUSE_S, None
        self._failed.clear()

    def faulted(self, key: Key, kind: str) -> None:
        """An attempt failed."""
        if kind not in OUTAGE:
            return
        if self._in_a_row == 0:
            self._since_s = monotonic()
        self._in_a_row += 1
        self._failed.add(key)
        self.kind = kind
        begins = (
            not self.open
            and self.trusted
            and len(self._failed) >= DIFFERENT
            and self._in_a_row >= IN_A_ROW
            and (self._in_a_row >= MANY_IN_A_ROW or monotonic() - self._since_s >= OUT_AFTER_S)
        )
        if begins or (self.open and key == self._probe):
            self.open, self._probe = True, None
            self._next_s = monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def gone(self, key: Key) -> None:
        """The call is not tried any more."""
        if key == self._probe:
            self._probe = None

    @property
    def no_answer(self) -> str:
        """What to say once it is given up."""
        return (
            f"no answer for {duration(self.outage_s)} ({self.kind}), of "
            f"{duration(self._max_outage_s)} that are waited (max_outage_s); what was bought is "
            "kept, and the same command goes on later"
        )

    def waiting(self) -> str:
        """What to say of an outage, or nothing."""
        if not self.open:
            return ""
        left = max(0.0, self._next_s - monotonic())
        return (
            f"no answer for {duration(self.outage_s)} ({self.kind}); trying again in {left:.0f} s, "
            f"for up to {duration(self._max_outage_s)}"
        )


class Window:
    """How many calls to have under way: halved when the provider limits the rate, then up again.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989), within the user's limit.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size, self._shrunk_s = most, float(most), 0.0

    @property
    def size(self) -> int:
        """Calls that may be under way."""
        return max(1, int(self._size))

    def answered(self) -> None:
        """One more for as many answers as are under way."""
        self._size = min(self._most, self._size + 1 / max(1.0, self._size))

    def limited(self) -> None:
        """Half as many, at most once a second: one burst of refusals is one signal."""
        if monotonic() - self._shrunk_s >= 1.0:
            self._shrunk_s = monotonic()
            self._size = max(1.0, self._size / 2)


class PurchaseSupervisor(Supervisor):
    """What the calls of one purchase ask before they are sent."""

    def __init__(
        self,
        circuit: Circuit,
        window: Window,
        deadline_s: float | None,
        lose: Callable[[Call, str], bool],
        grace_s: float | None = None,
    ) -> None:
        self.circuit, self.window = circuit, window
        self._under_way: set[Key] = set()
        self._answered: set[Key] = set()
        self._closed_s: float | None = None
        self._deadline_s, self._lose = deadline_s, lose
        self._grace_s = GRACE_S if grace_s is None else grace_s

    def close(self) -> None:
        """Nothing more may be sent, whatever the clock says."""
        self._closed_s = self._closed_s or monotonic()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed_s is not None

    @property
    def out_of_time(self) -> bool:
        """Whether the deadline is past."""
        return self._deadline_s is not None and monotonic() >= self._deadline_s

    @property
    def ended(self) -> bool:
        """Whether nothing may be sent any more."""
        return self.closed or INTERRUPTION.asked or self.out_of_time

    def may_be_billed(self, samples: Iterable[Key]) -> bool:
        """Whether an attempt at one of the samples is under way or was answered."""
        return any(key in self._under_way or key in self._answered for key in samples)

    @property
    def give_up_at(self) -> float | None:
        """When calls under way are to be given up, on the monotonic clock; None: never."""
        ends = [INTERRUPTION.give_up_at]
        for end, grace_s in ((self._deadline_s, self._grace_s), (self._closed_s, GRACE_S)):
            ends.append(None if end is None else end + grace_s)
        return min((end for end in ends if end is not None), default=None)

    async def admit(self, call: Call) -> bool:
        """See ``Supervisor``: waits while the provider is out."""
        key = key_of(call)
        while not self.ended:
            if self.circuit.given_up:
                return False
            if self.circuit.passes(key):
                self._under_way.add(key)
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    def answered(self, call: Call) -> None:
        """See ``Supervisor``."""
        self._under_way.discard(key_of(call))
        self._answered.add(key_of(call))
        self.circuit.answered()
        self.window.answered()

    def faulted(self, call: Call, kind: str) -> None:
        """See ``Supervisor``."""
        self._under_way.discard(key_of(call))
        self.circuit.faulted(key_of(call), kind)
        if kind in ("rate_limit", "overloaded"):
            self.window.limited()

    def lost(self, call: Call, kind: str) -> bool:
        """See ``Supervisor``."""
        return self._lose(call, kind)

    def waits_out(self, kind: str) -> bool:
        """See ``Supervisor``."""
        return kind in OUTAGE and self.circuit.trusted and not self.circuit.given_up


def duration(seconds: float) -> str:
    """For people: seconds up to two minutes, then minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def key_of(call: Call) -> Key:
    """What names a call among those under way."""
    return call.request.key, call.first_sample
