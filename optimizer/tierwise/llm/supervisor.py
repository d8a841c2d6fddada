"""What the buyer of calls has to say while a model sends them: which attempts may go out.

A model asks the supervisor of the task that it runs in (``supervising()``), from its own event
loop; where nobody buys, as in serving, every attempt may go out.
"""

from __future__ import annotations

from contextvars import ContextVar

from tierwise.llm.base import Call


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
