"""The contract of a difficulty signal: a pure number from what is seen at run time.

Higher is easier. A signal sees the inputs and the probe's draws, never the gold answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from tierwise.errors import unknown_name
from tierwise.strategies import Draw


@runtime_checkable
class Signal(Protocol):
    """One way to tell easy from hard.

    ``probes``: it needs draws before the bucket is known. ``logprobs``: these must carry token
    log-probabilities.
    """

    kind: ClassVar[str]
    probes: ClassVar[bool]
    logprobs: ClassVar[bool]

    def value(self, inputs: Mapping[str, str], probe: Sequence[Draw]) -> float: ...


SIGNALS: dict[str, Signal] = {}


def register(cls: type[Signal]) -> type[Signal]:
    """Add a signal under its kind."""
    SIGNALS[cls.kind] = cls()
    return cls


def signal(kind: str) -> Signal:
    """The signal of that name, or an InputError with the near names."""
    if kind not in SIGNALS:
        raise unknown_name("difficulty signal", kind, SIGNALS)
    return SIGNALS[kind]
