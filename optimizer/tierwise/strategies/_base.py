"""The contract of a strategy: one pure method, driven twice.

``evaluation`` replays ``step`` over stored samples, ``serving`` drives the same object with live
calls. A strategy is a frozen dataclass whose fields are its searchable parameters::

    step(seen) -> Ask(n, variants=(), turn="answer", parents=()) | Return(index)

Ask with no ``variants`` interleaves the samples over the recipe's variants: each goes to the
variant with the fewest samples of this turn so far (the first of them on a tie), which is round
robin; else sample i is of ``variants[i]``. All samples of one Ask go out at once.

Ask with ``parents`` is one sample below each of them, on their variants: what the parent said is
part of what is asked, and the policy's prompt says how the turn is asked for. A (parent, turn) has
one child. Nothing can follow a sample that failed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from tierwise.errors import InputError, unknown_name
from tierwise.schema import Path, StrategySpec
from tierwise.schema.space import Dimension, Range, SearchSpace


class Sample(NamedTuple):
    """What a strategy may see of one output; never the gold answer.

    ``scores`` are verifier scores by name (``mean_logprob`` …), higher is better; a verifier that
    has no score for the sample is missing. ``answer`` is canonical, None for an abstention.
    ``fields`` are the canonical values of an object's fields where these are voted on one by one
    (``by_field``): the same fields for every sample of a request, none for an abstention.
    ``fresh`` are the passages that its query brought and its chain did not have, None where it
    asked none; ``match`` is the largest share of the query's words that one of them has.
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
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """All samples of a request so far, in the order in which they were asked for."""

    samples: tuple[Sample, ...] = ()
    n_variants: int = 1


class Ask(NamedTuple):
    """Ask for ``n`` samples, all at once; with ``parents`` (places in ``Seen.samples``) one below
    each.

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

    ``step`` depends on nothing but ``seen`` and ends after at most ``max_samples`` samples.
    ``choose`` is the answer if the request had to end now (at least one sample has been seen).

    ``in_words(variants)`` says a recipe of it in words, given the labels of its variants; one
    without it is shown by its kind and parameters.

    A strategy that asks for more than plain answers has ``paths``, those of all samples that it may
    ask for, parents first, and ``width``, how many samples of each; see ``paths_of``. One that
    counts equal answers says so by ``counts_equal_answers = True``: over free text it is left out.
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


def votes_of(
    samples: Sequence[Sample], weight: Callable[[Sample], float] = lambda sample: 1.0
) -> dict[str, float]:
    """The weight of each answer, in the order in which answers were seen."""
    votes: dict[str, float] = {}
    for sample in samples:
        if sample.answer is not None:
            votes[sample.answer] = votes.get(sample.answer, 0.0) + weight(sample)
    return votes


def plurality(
    samples: Sequence[Sample], weight: Callable[[Sample], float] = lambda sample: 1.0
) -> int:
    """Index of the first sample with the plurality answer; on a tie the answer seen first wins.

    Abstentions and failed samples never beat an extracted answer; where there is nothing else, the
    first sample that did not fail is returned, else the first.
    """
    votes = votes_of(samples, weight)
    if not votes:
        return next((i for i, sample in enumerate(samples) if not sample.failed), 0)
    leader = max(votes, key=lambda answer: votes[answer])  # the first of equal ones
    return next(i for i, sample in enumerate(samples) if sample.answer == leader)


def whole(name: str, value: Any, low: int) -> None:
    """Raise InputError unless ``value`` is a whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, got {value!r}")


def counted(n: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def names_in_words(names: Sequence[str]) -> str:
    """``A, B and C``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def score_in_words(name: str) -> str:
    """The name of a score for people."""
    return "mean log-probability" if name == "mean_logprob" else name


def check_verifier(name: str, value: object) -> None:
    """Raise InputError unless ``value`` is the name of a score."""
    if not value or not isinstance(value, str):
        raise InputError(f"{name} must be a name, got {value!r}")


@dataclass
class Registry:
    """Classes by kind, of strategies or signals; unknown kinds and parameters get near names."""

    what: str
    classes: dict[str, type[Any]] = field(default_factory=dict)
    _known: dict[type[Any], Mapping[str, bool]] = field(default_factory=dict, repr=False)

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
        known = self._parameters(cls)
        for name in given:
            if name not in known:
                raise unknown_name(f"parameter of {kind}", name, known)
        missing = [name for name, needed in known.items() if needed and name not in given]
        if missing:
            raise InputError(f"{kind} needs {', '.join(missing)}")
        return cls(**given)

    def _parameters(self, cls: type[Any]) -> Mapping[str, bool]:
        """The fields of a dataclass -> whether one must be given; a search asks by the thousand."""
        if cls not in self._known:
            self._known[cls] = {
                f.name: f.default is MISSING and f.default_factory is MISSING
                for f in (fields(cls) if is_dataclass(cls) else ())
            }
        return self._known[cls]


STRATEGIES = Registry("strategy")
register_strategy = STRATEGIES.register


def counts_equal_answers(cls: type[Any] | None) -> bool:
    """Whether a class of strategies or signals looks at how many answers are the same."""
    return bool(getattr(cls, "counts_equal_answers", False))


def build(spec: StrategySpec) -> Strategy:
    """The strategy that ``spec`` describes; raises as ``Registry.make``."""
    strategy: Strategy = STRATEGIES.make(spec.kind, dict(spec.params))
    return strategy


def top_two(answers: Iterable[str | None]) -> tuple[int, int]:
    """How often the most frequent answer was given, and the next; abstentions count for none."""
    counts = Counter(answer for answer in answers if answer is not None)
    lead, runner_up, *_ = [*(count for _, count in counts.most_common(2)), 0, 0]
    return lead, runner_up


def uncatchable(lead: int, runner_up: int, left: int) -> bool:
    """Whether ``left`` more samples cannot change the winner (not even by a tie)."""
    return lead - runner_up > left


def asks_at_once(strategy: Strategy, n_variants: int = 1) -> bool:
    """Whether all samples of an answer are asked for before one is seen: none ends it early."""
    first = strategy.step(Seen((), n_variants))
    return isinstance(first, Ask) and first.n >= width_of(strategy)


def one_answer_ends(strategy: object) -> bool:
    """Whether a vote asks for one sample, and is over once that has an answer.

    More is then asked for only after abstentions: a leader of one is sure enough at a low
    threshold, and a vote of one sample is none.
    """
    return isinstance(strategy, Vote) and strategy.more(0, 0, 0) == 1 and not strategy.more(1, 0, 1)


class Vote:
    """Plurality vote by a rule ``more(lead, runner_up, seen)``: how many samples to ask for next.

    The rule looks only at how far the leader leads. It drives ``step`` sample by sample, and
    ``evaluation`` tabulates it over all reachable counts, so that the fast path and the live path
    cannot disagree about when to stop.
    """

    counts_equal_answers: ClassVar[bool] = True

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """Samples to ask for next; 0 ends the vote. ``seen`` counts abstentions too."""
        raise NotImplementedError

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for what ``more`` says, or return the plurality answer."""
        n = self.more(*top_two(sample.answer for sample in seen.samples), len(seen.samples))
        return Ask(n) if n else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """The first sample with the plurality answer."""
        return plurality(seen.samples)

    def behaviour(self) -> Hashable:
        """Votes with equal behaviour have the same ``more`` everywhere; evaluation keys on it."""
        return self


PLAIN_PATHS: tuple[Path, ...] = ((),)
"""The paths of a strategy that asks for answers only."""


def paths_of(strategy: Strategy) -> tuple[Path, ...]:
    """Paths of the samples that a strategy may ask for."""
    paths: tuple[Path, ...] = getattr(strategy, "paths", PLAIN_PATHS)
    return paths


def asks(strategy: Strategy, turn: str) -> bool:
    """Whether a strategy may ask for a ``turn``."""
    return any(step.name == turn for path in paths_of(strategy) for step in path)


def width_of(strategy: Strategy) -> int:
    """The most samples of one path that a strategy may ask for, over all variants."""
    width: int = getattr(strategy, "width", strategy.max_samples)
    return width


def at_ends(kind: str, dimensions: Mapping[str, Dimension]) -> Iterator[Strategy]:
    """The strategies at the ends of what a space lets their parameters be."""
    ends = (d.ends if isinstance(d, Range) else d for d in dimensions.values())
    for values in itertools.product(*ends):
        try:
            yield build(StrategySpec.of(kind, dict(zip(dimensions, values, strict=True))))
        except InputError:  # ends that contradict each other
            continue


def paths_in(space: SearchSpace) -> dict[Path, int]:
    """The paths beyond plain answers that strategies of the space may ask for, parents first, with
    the most samples of each."""
    found: dict[Path, int] = {}
    for kind, dimensions in space.strategies.items():
        for strategy in at_ends(kind, dimensions):
            for path in paths_of(strategy):
                if path:
                    found[path] = max(found.get(path, 0), width_of(strategy))
    return dict(sorted(found.items(), key=lambda pair: len(pair[0])))
