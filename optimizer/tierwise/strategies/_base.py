"""The contract of a strategy: one pure method, driven twice.

``evaluation`` replays ``step`` over stored samples, ``serving`` drives the same object with live
calls. A strategy is a frozen dataclass whose fields are its searchable parameters::

    step(seen) -> Ask(n, variants=(), turn="answer", parents=()) | Return(index)

Ask with no ``variants`` interleaves the samples over the recipe's variants: each goes to the variant
with the fewest samples of this turn so far (the first of them on a tie), which is round robin; else
sample i is of ``variants[i]``. All samples of one Ask go out at once.

Ask with ``parents`` is one sample below each of them, on their variants: what the parent said is part of
what is asked, and the policy's prompt says how the turn is asked for. A (parent, turn) has one
child. Nothing can follow a sample that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from tierwise.errors import InputError, unknown_name
from tierwise.schema import StrategySpec


class Sample(NamedTuple):
    """What a strategy may see of one output; never the gold answer.

    ``scores`` are verifier scores by name (``mean_logprob`` …), higher is better; a verifier that
    has no score for the sample is missing. ``answer`` is canonical, None for an abstention. ``fresh``
    are the passages that its query brought and its chain did not have, None where it asked none;
    ``match`` is the largest share of the query's words that one of them has.
    """

    answer: str | None
    scores: Mapping[str, float] = {}
    variant: int = 0
    turn: str = "answer"
    parent: int | None = None
    text: str = ""
    failed: bool = False
    fresh: int | None = None
    match: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """All samples of a request so far, in the order in which they were asked for."""

    samples: tuple[Sample, ...] = ()
    n_variants: int = 1


class Ask(NamedTuple):
    """Ask for ``n`` samples, all at once; with ``parents`` (places in ``Seen.samples``) one below each.

    ``variants`` is the index of the variant of each sample; none: they are interleaved over all.
    ``passages`` is how many a query gets.
    """

    n: int
    variants: tuple[int, ...] = ()
    turn: str = "answer"
    parents: tuple[int, ...] = ()
    passages: int = 0

    @classmethod
    def below(cls, parents: Sequence[int], turn: str, passages: int = 0) -> Ask:
        """A ``turn`` after each of ``parents``."""
        return cls(len(parents), (), turn, tuple(parents), passages)


@dataclass(frozen=True, slots=True)
class Return:
    """End the request with the answer of sample ``index``."""

    index: int


@runtime_checkable
class Strategy(Protocol):
    """What ``tierwise.testing`` checks every strategy against.

    ``step`` depends on nothing but ``seen`` and ends after at most ``max_samples`` samples. ``choose``
    is the answer if the request had to end now (at least one sample has been seen).

    A strategy that asks for more than plain answers has ``paths``, those of all samples that it may
    ask for, parents first, and ``width``, how many samples of each; see ``_paths``.
    """

    kind: ClassVar[str]

    @property
    def max_samples(self) -> int: ...

    def step(self, seen: Seen) -> Ask | Return: ...

    def choose(self, seen: Seen) -> int: ...


def interleave(counts: Sequence[int], n: int) -> list[int]:
    """Variants of the next ``n`` samples, given how many samples each variant has had."""
    have, interleaved = list(counts), []
    for _ in range(n):
        variant = have.index(min(have))
        have[variant] += 1
        interleaved.append(variant)
    return interleaved


def plurality(samples: Sequence[Sample]) -> int:
    """Index of the first sample with the plurality answer; on a tie the answer seen first wins.

    Abstentions and failed samples never beat an extracted answer; where there is nothing else, the
    first sample that did not fail is returned, else the first.
    """
    counts: dict[str, int] = {}
    first: dict[str, int] = {}
    for i, sample in enumerate(samples):
        if sample.answer is not None:
            counts[sample.answer] = counts.get(sample.answer, 0) + 1
            first.setdefault(sample.answer, i)
    if not counts:
        return next((i for i, d in enumerate(samples) if not d.failed), 0)
    return min((-count, first[answer]) for answer, count in counts.items())[1]


def whole(name: str, value: Any, low: int) -> None:
    """Raise InputError unless ``value`` is a whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, got {value!r}")


@dataclass
class Registry:
    """Classes by kind, of strategies or signals; unknown kinds and parameters get near names."""

    what: str
    classes: dict[str, type[Any]] = field(default_factory=dict)

    def register(self, cls: type[Any]) -> type[Any]:
        """Add a class under its ``kind``."""
        self.classes[cls.kind] = cls
        return cls

    def make(self, kind: str, given: Mapping[str, Any]) -> Any:
        """One of ``kind`` with the parameters ``given``: the fields of a dataclass.

        Raises:
            InputError: no such kind, no such parameter, one missing, or a value out of range.
        """
        if kind not in self.classes:
            raise unknown_name(self.what, kind, self.classes)
        cls = self.classes[kind]
        known = {f.name: f for f in fields(cls)} if is_dataclass(cls) else {}
        for name in given:
            if name not in known:
                raise unknown_name(f"parameter of {kind}", name, known)
        missing = [
            name
            for name, f in known.items()
            if name not in given and f.default is MISSING and f.default_factory is MISSING
        ]
        if missing:
            raise InputError(f"{kind} needs {', '.join(missing)}")
        return cls(**given)


STRATEGIES = Registry("strategy")
register_strategy = STRATEGIES.register


def build(spec: StrategySpec) -> Strategy:
    """The strategy that ``spec`` describes; raises as ``Registry.make``."""
    strategy: Strategy = STRATEGIES.make(spec.kind, dict(spec.params))
    return strategy
