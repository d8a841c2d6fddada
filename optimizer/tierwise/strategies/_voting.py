"""What the votes have in common: they look only at how far the leader leads.

A vote is a rule ``more(lead, runner_up, seen)``: how many samples to ask for next, 0 to stop. It
drives ``step`` sample by sample, and ``evaluation`` tabulates it over all reachable counts: so the fast
path and the live path cannot disagree about when to stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from tierwise.strategies._base import Ask, Return, Seen, plurality


def uncatchable(lead: int, runner_up: int, left: int) -> bool:
    """Whether ``left`` more samples cannot change the winner (not even by a tie)."""
    return lead - runner_up > left


def one_answer_ends(strategy: object) -> bool:
    """Whether a vote asks for one sample, and is over once that has an answer.

    More is then asked for only after abstentions: a leader of one is sure enough at a low
    threshold, and a vote of one sample is none.
    """
    return isinstance(strategy, Vote) and strategy.more(0, 0, 0) == 1 and not strategy.more(1, 0, 1)


class Vote:
    """Plurality vote; a subclass says when there is enough."""

    def more(self, lead: int, runner_up: int, seen: int) -> int:
        """Samples to ask for next; 0 ends the vote. ``seen`` counts abstentions too."""
        raise NotImplementedError

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for what ``more`` says, or return the plurality answer."""
        counts = Counter(d.answer for d in seen.samples if d.answer is not None)
        top = [count for _, count in counts.most_common(2)] + [0, 0]
        n = self.more(top[0], top[1], len(seen.samples))
        return Ask(n) if n else Return(self.choose(seen))

    def choose(self, seen: Seen) -> int:
        """The first sample with the plurality answer."""
        return plurality(seen.samples)

    def behaviour(self) -> Hashable:
        """Votes with equal behaviour have the same ``more`` everywhere; evaluation keys on it."""
        return self
