"""Self-Refine (Madaan et al., arXiv 2303.17651): answer, criticise, answer again.

Right answers get revised to wrong ones, so the final answer is chosen over the whole chain, not
taken from its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tierwise.errors import InputError
from tierwise.schema import Path, Turn
from tierwise.schema.turns import path_below
from tierwise.strategies._base import (
    Ask,
    Return,
    Seen,
    check_verifier,
    counted,
    names_in_words,
    plurality,
    register_strategy,
    score_in_words,
    whole,
)
from tierwise.strategies.best_of_n import best

CRITIQUE, REFINE = Turn("critique"), Turn("refine")


@register_strategy
@dataclass(frozen=True, slots=True)
class SelfRefine:
    """One answer, then up to ``rounds`` times a critique and a new answer.

    ``verifier`` picks among all answers of the chain; without one the most frequent does, the one
    seen first on a tie. With ``until_stable`` the chain ends when a new answer is the one before.
    Samples that a probe made vote too, and the chain goes on from the first of them that arrived.
    """

    rounds: int
    verifier: str | None = None
    until_stable: bool = True

    kind: ClassVar[str] = "self_refine"
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        whole("self_refine.rounds", self.rounds, 1)
        if self.verifier is not None:
            check_verifier("self_refine.verifier", self.verifier)
        if not isinstance(self.until_stable, bool):
            raise InputError(
                f"self_refine.until_stable must be true or false, got {self.until_stable!r}"
            )

    @property
    def max_samples(self) -> int:
        """An answer, and two samples a round."""
        return 1 + 2 * self.rounds

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of a chain, from its root."""
        found: list[Path] = [()]
        for _ in range(self.rounds):
            for turn in (CRITIQUE, REFINE):
                found.append(path_below(found[-1], turn))
        return tuple(found)

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        stop = ", until an answer stays the same" if self.until_stable else ""
        best_by = f"best by {score_in_words(self.verifier)}" if self.verifier else "most frequent"
        return (
            f"one sample of {names_in_words(variants)}, then up to {counted(self.rounds, 'round')} "
            f"of critique and a new answer{stop}; of these answers the {best_by}"
        )

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for the next turn of the chain, or choose among its answers."""
        samples = seen.samples
        chain = [i for i, d in enumerate(samples) if d.turn == REFINE.name]
        if not samples:
            return Ask(1)
        last = len(samples) - 1
        if samples[last].turn == CRITIQUE.name and not samples[last].failed:
            return Ask.below((last,), REFINE.name)
        answers = [samples[i].answer for i in (self._root(seen), *chain)]
        stable = chain and answers[-1] is not None and answers[-1] == answers[-2]
        broken = samples[last].failed and samples[last].parent is not None
        end = chain[-1] if chain else self._root(seen)
        if (
            broken
            or samples[end].failed
            or len(chain) == self.rounds
            or (self.until_stable and stable)
        ):
            return Return(self.choose(seen))
        return Ask.below((end,), CRITIQUE.name)

    def choose(self, seen: Seen) -> int:
        """The best answer of the chain, wherever it stands."""
        answers = [i for i, d in enumerate(seen.samples) if d.turn != CRITIQUE.name]
        among = [seen.samples[i] for i in answers]
        if self.verifier is None:
            return answers[plurality(among)]
        return answers[best(among, self.verifier)]

    def _root(self, seen: Seen) -> int:
        roots = [i for i, d in enumerate(seen.samples) if d.parent is None]
        return next((i for i in roots if not seen.samples[i].failed), roots[0])
