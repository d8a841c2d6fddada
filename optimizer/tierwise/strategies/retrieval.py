"""A search loop: the model asks a corpus, reads what was found, asks again, and answers.

Rounds of search follow the same rising, then flat curve as reasoning does (arXiv 2506.18959), and
the last rounds can be spared. Chains vote, like samples. A chain is nested: cut at any depth it has
an answer, the one that it is made to give there, so that what was bought to depth B says what every
smaller number of rounds would have come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.schema import Path, Turn
from tierwise.strategies._base import (
    PLAIN_PATHS,
    Ask,
    Return,
    Sample,
    Seen,
    counted,
    names_in_words,
    plurality,
    register_strategy,
    top_two,
    whole,
)
from tierwise.strategies.adaptive_consistency import AdaptiveConsistency
from tierwise.strategies.self_consistency import SelfConsistency

QUERY, ANSWER = "query", "answer"


@register_strategy
@dataclass(frozen=True, slots=True)
class Retrieval:
    """Up to ``rounds`` queries a chain, each of which gets ``passages``; then the answer.

    A chain ends when the model answers instead of asking; at ``rounds``, when it asks nothing, and,
    with ``stop_when_stale``, when a round brought nothing new, it is made to answer now. New is a
    passage that its chain did not have and that has at least ``least_match`` of the words of its
    query: a search by words always brings something, and what was asked for may not be there. Up to
    ``samples`` chains vote: all at once at a ``threshold`` of 1, below it as adaptive consistency
    does. Where the first look-up of a chain fails, the model answers without one. ``rounds=0`` is a
    vote of plain answers.
    """

    rounds: int
    passages: int = 2
    samples: int = 1
    threshold: float = 1.0
    stop_when_stale: bool = True
    least_match: float = 0.0

    kind: ClassVar[str] = "retrieval"

    def __post_init__(self) -> None:
        whole("retrieval.rounds", self.rounds, 0)
        whole("retrieval.passages", self.passages, 1)
        whole("retrieval.samples", self.samples, 1)
        if not isinstance(self.threshold, int | float) or not 0.5 <= self.threshold <= 1:
            raise InputError(f"retrieval.threshold must be in [0.5, 1], got {self.threshold!r}")
        if not isinstance(self.stop_when_stale, bool):
            raise InputError(
                f"retrieval.stop_when_stale must be true or false, got {self.stop_when_stale!r}"
            )
        if not isinstance(self.least_match, int | float) or not 0 <= self.least_match <= 1:
            raise InputError(f"retrieval.least_match must be in [0, 1], got {self.least_match!r}")

    @property
    def vote(self) -> SelfConsistency | AdaptiveConsistency:
        """How the chains vote."""
        if self.threshold == 1:
            return SelfConsistency(self.samples)
        return AdaptiveConsistency(self.threshold, self.samples)

    @property
    def chain(self) -> Retrieval:
        """One chain alone: what a chain comes to does not depend on how many vote, or how."""
        return replace(self, samples=1, threshold=1.0)

    @property
    def width(self) -> int:
        """``samples``."""
        return self.samples

    @property
    def max_samples(self) -> int:
        """A sample a round and an answer, of each chain."""
        return self.samples * (self.rounds + 1)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Plain answers (for want of a first look-up), then queries with the answers below them."""
        found: list[Path] = [*PLAIN_PATHS]
        for n in range(1, self.rounds + 1):
            asked = (Turn(QUERY, self.passages),) * n
            found += [asked, (*asked, Turn(ANSWER))]
        return tuple(found)

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        names, n = names_in_words(variants), self.samples
        sure = "" if self.threshold == 1 else f", until the leader is {self.threshold:.0%} sure"
        if not self.rounds:
            return f"one sample of {names}" if n == 1 else f"a vote of {n} samples of {names}{sure}"
        said = f"up to {counted(self.rounds, 'round')} of search by {names}, "
        said += f"{counted(self.passages, 'passage')} each"
        if self.stop_when_stale:
            words = f" with {self.least_match:.0%} of the query's words" if self.least_match else ""
            said += f", until none is new{words}"
        return said if n == 1 else f"{said}; a vote of {n} such chains{sure}"

    def step(self, seen: Seen) -> Ask | Return:
        """Go on with every chain at once; when all have ended, vote."""
        if not self.rounds:
            return self.vote.step(seen)
        samples, ends = seen.samples, _ends(seen.samples)
        asking = [i for i in ends if self._goes_on(samples, i)]
        if asking:
            return Ask.below(asking, QUERY, self.passages)
        silent = [i for i in (_before(samples, e) for e in ends) if _must_answer(samples[i])]
        if silent:
            return Ask.below(silent, ANSWER)
        plain = sum(d.parent is None and d.turn == ANSWER for d in samples)
        lost = sum(samples[i].failed and samples[i].parent is None for i in ends)
        if lost > plain:
            return Ask(lost - plain)
        n = self.vote.more(*top_two(samples[i].answer for i in ends), len(ends))
        return Ask(n, turn=QUERY, passages=self.passages) if n else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """The first chain with the answer of most chains; plain answers where no chain has one."""
        ends = _ends(seen.samples) if self.rounds else []
        if any(seen.samples[i].answer is not None for i in ends):
            return ends[plurality([seen.samples[i] for i in ends])]
        return plurality(seen.samples)

    def _goes_on(self, samples: Sequence[Sample], end: int) -> bool:
        sample = samples[end]
        if sample.failed or sample.turn != QUERY or sample.fresh is None:
            return False
        stale = sample.fresh == 0 or sample.match < self.least_match
        return not (self.stop_when_stale and stale) and _depth(samples, end) < self.rounds


def _ends(samples: Sequence[Sample]) -> list[int]:
    """The last sample of each chain, chains in the order in which they began."""
    end = {i: i for i, d in enumerate(samples) if d.parent is None and d.turn == QUERY}
    root: dict[int, int] = {i: i for i in end}
    for i, sample in enumerate(samples):
        if sample.parent in root:
            root[i] = root[sample.parent]
            end[root[i]] = i
    return list(end.values())


def _before(samples: Sequence[Sample], end: int) -> int:
    """The sample that a chain goes on from: its end, or what that followed if it failed asking."""
    sample = samples[end]
    broken = sample.failed and sample.turn == QUERY and sample.parent is not None
    return sample.parent if broken and sample.parent is not None else end


def _must_answer(sample: Sample) -> bool:
    return sample.turn == QUERY and sample.answer is None and not sample.failed


def _depth(samples: Sequence[Sample], i: int) -> int:
    depth, at = 1, samples[i].parent
    while at is not None:
        depth, at = depth + 1, samples[at].parent
    return depth
