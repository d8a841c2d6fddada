"""The contract of a difficulty signal: a pure number from what is seen at run time.

Higher is easier. A signal sees the inputs and the probe's samples, never the gold answer. Like a
strategy it is a class with a ``kind`` whose dataclass fields, if it has any, are its parameters.

Most probes are samples of an answer, which vote later. Two kinds of signals are plug-ins that a
space has to name:

- A self-report signal asks the model about the task (how hard is it?) in a ``turn`` of its own: its
  probe is sampled with a prompt of that turn, is no answer of the task, and is read by ``read``.
- A fitted signal has ``fit``, which learns its weights from the train split before the study.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from tierwise.errors import InputError, unknown_name
from tierwise.schema import ANSWER, Difficulty, Variant
from tierwise.schema.policy import Param
from tierwise.schema.policy_file import PolicyFile
from tierwise.strategies import Registry, Sample
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

if TYPE_CHECKING:
    from tierwise.schema.measured import SignalFitSummary

_Loc = tuple[str | int, ...]


@runtime_checkable
class Signal(Protocol):
    """One way to tell easy from hard.

    ``probes``: it needs samples before the bucket is known. ``scores``: names of the samples'
    scores that it reads (``mean_logprob``, a verifier's …).
    """

    kind: ClassVar[str]

    @property
    def probes(self) -> bool: ...

    @property
    def scores(self) -> tuple[str, ...]: ...

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float: ...


class SelfReportSignal(Signal, Protocol):
    """A signal that asks the model about the task, in a turn of its own."""

    turn: ClassVar[str]

    @staticmethod
    def read(text: str, min_logprob: float | None) -> float:
        """What a reply says, higher is easier; NaN where it says nothing."""
        ...


@dataclass(frozen=True)
class TrainingSamples:
    """What a fitted signal learns from: items of the train split, which no trial sees.

    Attributes:
        direct, think: the variants that are compared.
        inputs: of each item.
        probes: of each item, the first samples of ``direct``: what a probe would see.
        pays: (n_items,), the share of pairs of other samples in which that of ``think`` leads by
            more than ``pays_from``.
        pays_from: score by which it must lead to be worth its price.
    """

    direct: Variant
    think: Variant
    inputs: Sequence[Mapping[str, str]]
    probes: Sequence[Sequence[Sample]]
    pays: Sequence[float]
    pays_from: float


class SignalFit(NamedTuple):
    """A fitted signal: how a policy is to tell easy from hard, and how well it does so.

    ``summary`` is of predictions for items that it was not fitted to; ``direct`` and ``think`` are
    the variants that were compared.
    """

    difficulty: Difficulty
    summary: SignalFitSummary
    direct: Variant
    think: Variant


class FittedSignal(Signal, Protocol):
    """A signal whose weights are learned from ``fewest_items`` or more of the train split."""

    fewest_items: ClassVar[int]

    @classmethod
    def fit(cls, train: TrainingSamples) -> Sequence[SignalFit]:
        """The signals that could be learned: none where the items are few or tell nothing."""
        ...


_REGISTRY = Registry("difficulty signal")
register_signal = _REGISTRY.register
SIGNALS: dict[str, type[Any]] = _REGISTRY.classes


def signal(kind: str, params: Mapping[str, Any] | None = None) -> Signal:
    """The signal of that name with these parameters.

    Raises:
        InputError: no such signal, no such parameter, or a value out of range; with near names.
    """
    found: Signal = _REGISTRY.make(kind, params or {})
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


def fitted_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Those of ``kinds`` that are fitted on the train split."""
    return tuple(kind for kind in kinds if hasattr(SIGNALS.get(kind), "fit"))


def self_contained(kind: str) -> bool:
    """Whether a signal can be computed as it is: it neither asks with a prompt, nor is fitted."""
    return turn_of(kind) == ANSWER and not fitted_kinds((kind,))


def read_reply(turn: str, text: str, min_logprob: float | None) -> dict[str, float]:
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


def difficulty_faults(file: PolicyFile) -> Iterator[tuple[_Loc, InputError]]:
    """Each fault with its place in the file.

    An unknown signal or parameter, a probe that is missing or asks something else, and scores that
    nobody gives.
    """
    difficulty = file.policy.difficulty
    try:
        signal = signal_of(difficulty)
    except InputError as error:
        known = difficulty.signal in SIGNALS
        where = "weights" if difficulty.weights else "params"
        yield ("difficulty", where if known else "signal"), error
        return
    probe = difficulty.probe
    if signal.probes and probe is None:
        yield ("difficulty",), InputError(f"the signal {signal.kind} needs a probe")
    for variant in probe.variants if probe else ():
        yield from _of_turn(file, variant, turn_of(signal.kind), ("difficulty", "probe"))
    for b, bucket in enumerate(file.policy.buckets):
        for a, variant in enumerate(bucket.variants):
            yield from _of_turn(file, variant, ANSWER, ("buckets", b, "variants", a))
    for score in signal.scores:
        if score in RECORDED_SCORES and file.deployable:
            yield ("difficulty",), InputError(f"only recorded samples have a {score}")
        if score in LOGPROBS and probe is not None:
            for name in sorted(
                {t.name for t in map(file.tier_of, probe.variants) if not t.logprobs}
            ):
                yield (
                    ("difficulty", "signal"),
                    InputError(
                        f"{signal.kind} needs log-probabilities, which tier {name!r} does not offer"
                    ),
                )


def _of_turn(
    file: PolicyFile, variant: Variant, turn: str, loc: _Loc
) -> Iterator[tuple[_Loc, InputError]]:
    prompt = file.prompts[variant.prompt]
    if prompt.turn != turn:
        yield (
            loc,
            InputError(
                f"prompt {prompt.id!r} is of turn {prompt.turn!r}, and here {turn!r} is asked for"
            ),
        )
