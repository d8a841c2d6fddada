"""A search loop: the model asks a corpus, reads what was found, asks again, and answers.

Rounds of search follow the same rising, then flat curve as reasoning does (arXiv 2506.18959), and
the last rounds can be spared. Chains vote, like draws. A chain is nested: cut at any depth it has
an answer, the one that it is made to give there, so that what was bought to depth B says what every
smaller number of rounds would have come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.recipe import Path, Turn
from tierwise.strategies._base import Ask, Draw, Return, Seen, plurality, register, whole
from tierwise.strategies._paths import PLAIN
from tierwise.strategies.adaptive_consistency import AdaptiveConsistency
from tierwise.strategies.self_consistency import SelfConsistency

QUERY, ANSWER = "query", "answer"


@register
@dataclass(frozen=True, slots=True)
class Retrieval:
    """Up to ``rounds`` queries a chain, each of which gets ``passages``; then the answer.

    A chain ends when the model answers instead of asking; at ``rounds``, when it asks nothing, and,
    with ``stop_when_stale``, when a round brought nothing new, it is made to answer now. New is a
    passage that its chain did not have and that has at least ``least_match`` of the words of its
    query: a search by words always brings something, and what was asked for may not be there. Up to
    ``draws`` chains vote: all at once at a ``threshold`` of 1, below it as adaptive consistency
    does. Where the first look-up of a chain fails, the model answers without one. ``rounds=0`` is a
    vote of plain answers.
    """

    rounds: int
    passages: int = 2
    draws: int = 1
    threshold: float = 1.0
    stop_when_stale: bool = True
    least_match: float = 0.0

    kind: ClassVar[str] = "retrieval"

    def __post_init__(self) -> None:
        whole("retrieval.rounds", self.rounds, 0)
        whole("retrieval.passages", self.passages, 1)
        whole("retrieval.draws", self.draws, 1)
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
            return SelfConsistency(self.draws)
        return AdaptiveConsistency(self.threshold, self.draws)

    @property
    def chain(self) -> Retrieval:
        """One chain alone: what a chain comes to does not depend on how many vote, or how."""
        return replace(self, draws=1, threshold=1.0)

    @property
    def width(self) -> int:
        """``draws``."""
        return self.draws

    @property
    def max_draws(self) -> int:
        """A draw a round and an answer, of each chain."""
        return self.draws * (self.rounds + 1)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Plain answers (for want of a first look-up), then queries with the answers below them."""
        found: list[Path] = [*PLAIN]
        for n in range(1, self.rounds + 1):
            asked = (Turn(QUERY, self.passages),) * n
            found += [asked, (*asked, Turn(ANSWER))]
        return tuple(found)

    def step(self, seen: Seen) -> Ask | Return:
        """Go on with every chain at once; when all have ended, vote."""
        if not self.rounds:
            return self.vote.step(seen)
        draws, ends = seen.draws, _ends(seen.draws)
        asking = [i for i in ends if self._goes_on(draws, i)]
        if asking:
            return Ask.below(asking, QUERY, self.passages)
        silent = [i for i in (_before(draws, e) for e in ends) if _must_answer(draws[i])]
        if silent:
            return Ask.below(silent, ANSWER)
        plain = sum(d.parent is None and d.turn == ANSWER for d in draws)
        lost = sum(draws[i].failed and draws[i].parent is None for i in ends)
        if lost > plain:
            return Ask(lost - plain)
        counts = sorted(_counts([draws[i].answer for i in ends]), reverse=True)
        lead, runner_up = [*counts, 0, 0][:2]
        n = self.vote.more(lead, runner_up, len(ends))
        return Ask(n, turn=QUERY, passages=self.passages) if n else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """The first chain with the answer of most chains; plain answers where no chain has one."""
        ends = _ends(seen.draws) if self.rounds else []
        if any(seen.draws[i].answer is not None for i in ends):
            return ends[plurality([seen.draws[i] for i in ends])]
        return plurality(seen.draws)

    def _goes_on(self, draws: Sequence[Draw], end: int) -> bool:
        draw = draws[end]
        if draw.failed or draw.turn != QUERY or draw.fresh is None:
            return False
        stale = draw.fresh == 0 or draw.match < self.least_match
        return not (self.stop_when_stale and stale) and _depth(draws, end) < self.rounds


def _ends(draws: Sequence[Draw]) -> list[int]:
    """The last draw of each chain, chains in the order in which they began."""
    end = {i: i for i, d in enumerate(draws) if d.parent is None and d.turn == QUERY}
    root: dict[int, int] = {i: i for i in end}
    for i, draw in enumerate(draws):
        if draw.parent in root:
            root[i] = root[draw.parent]
            end[root[i]] = i
    return list(end.values())


def _before(draws: Sequence[Draw], end: int) -> int:
    """The draw that a chain goes on from: its end, or what that followed if it failed asking."""
    draw = draws[end]
    broken = draw.failed and draw.turn == QUERY and draw.parent is not None
    return draw.parent if broken and draw.parent is not None else end


def _must_answer(draw: Draw) -> bool:
    return draw.turn == QUERY and draw.answer is None and not draw.failed


def _depth(draws: Sequence[Draw], i: int) -> int:
    depth, at = 1, draws[i].parent
    while at is not None:
        depth, at = depth + 1, draws[at].parent
    return depth


def _counts(answers: Sequence[str | None]) -> list[int]:
    said = [a for a in answers if a is not None]
    return [said.count(a) for a in dict.fromkeys(said)]
