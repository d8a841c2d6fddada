"""The contract of a difficulty signal: a pure number from what is seen at run time.

Higher is easier. A signal sees the inputs and the probe's samples, never the gold answer. Like a
strategy it is a class with a ``kind`` whose dataclass fields, if it has any, are its parameters.

Most probes are samples of an answer, which vote later. A signal that asks the model about the task
instead (how hard is it?) has a ``turn`` of its own: its probe is sampled with a prompt of that turn,
is no answer of the task, and is read by the signal's ``read``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from tierwise.errors import unknown_name
from tierwise.schema import ANSWER, Difficulty
from tierwise.schema.policy import Param
from tierwise.strategies import Registry, Sample


@runtime_checkable
class Signal(Protocol):
    """One way to tell easy from hard.

    ``probes``: it needs samples before the bucket is known. ``scores``: names of the samples' scores
    that it reads (``mean_logprob``, a verifier's …).
    """

    kind: ClassVar[str]

    @property
    def probes(self) -> bool: ...

    @property
    def scores(self) -> tuple[str, ...]: ...

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float: ...


class AskingSignal(Signal, Protocol):
    """A signal that asks the model about the task, in a turn of its own."""

    turn: ClassVar[str]

    @staticmethod
    def read(text: str, min_logprob: float | None) -> float:
        """What a reply says, higher is easier; NaN where it says nothing."""
        ...


REGISTRY = Registry("difficulty signal")
register = REGISTRY.register
SIGNALS: dict[str, type[Any]] = REGISTRY.classes


def signal(kind: str, params: Mapping[str, Any] | None = None) -> Signal:
    """The signal of that name with these parameters.

    Raises:
        InputError: no such signal, no such parameter, or a value out of range; with near names.
    """
    found: Signal = REGISTRY.make(kind, params or {})
    return found


def signal_of(difficulty: Difficulty) -> Signal:
    """The signal by which ``difficulty`` tells easy from hard; raises as ``signal``."""
    weights = {"weights": difficulty.weights} if difficulty.weights else {}
    return signal(difficulty.signal, {**dict(difficulty.params), **weights})


def parameter_settings(kind: str) -> list[dict[str, Param]]:
    """The settings of a signal's parameters that a search tries: its class says which.

    Raises:
        InputError: no such signal.
    """
    if kind not in SIGNALS:
        raise unknown_name("difficulty signal", kind, SIGNALS)
    found: list[dict[str, Param]] = [{}]
    choices: Mapping[str, Sequence[Param]] = getattr(SIGNALS[kind], "choices", {})
    for name, values in choices.items():
        found = [{**params, name: value} for params in found for value in values]
    return found


def turn_of(kind: str) -> str:
    """The turn whose prompts a signal's probe is sampled with: ``answer`` for most."""
    return str(getattr(SIGNALS.get(kind), "turn", ANSWER))


def asking(kinds: Sequence[str]) -> dict[str, str]:
    """Those of ``kinds`` that ask about the task: kind -> turn."""
    return {kind: turn_of(kind) for kind in kinds if turn_of(kind) != ANSWER}


def self_contained(kind: str) -> bool:
    """Whether a signal can be computed as it is: it neither asks with a prompt, nor is fitted."""
    return turn_of(kind) == ANSWER and not getattr(SIGNALS.get(kind), "fitted", False)


def read(turn: str, text: str, min_logprob: float | None) -> dict[str, float]:
    """The scores of a reply in a turn that is no answer: one, by the turn's name."""
    reader = next(cls for cls in SIGNALS.values() if getattr(cls, "turn", ANSWER) == turn)
    return {turn: float(reader.read(text, min_logprob))}


class MeanScore:
    """A signal that is the mean of one score over the probe's samples.

    Samples without it (failed, say) are left out; where none has it the prompt counts as hardest.
    """

    probes: ClassVar[bool] = True

    @property
    def scores(self) -> tuple[str, ...]:
        """The one score."""
        raise NotImplementedError

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """The mean of the score, or minus infinity."""
        (name,) = self.scores
        known = [s for d in probe if not math.isnan(s := d.scores.get(name, math.nan))]
        return math.fsum(known) / len(known) if known else -math.inf
