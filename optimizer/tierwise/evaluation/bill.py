"""What a strategy's draws and the prompts of its rounds cost, for all rows at once."""

from __future__ import annotations

import numpy as np

from tierwise.evaluation.arm_rows import Measure
from tierwise.evaluation.dealt import Counts, Dealt, ones, small
from tierwise.evaluation.growing import Growing


class Bill:
    """Dollars of each row after the first ``begun`` draws, which are paid for, as rounds go by.

    A round's draws of an arm are one call where the arm takes ``n``; else each is a call.
    """

    def __init__(self, dealt: Dealt, begun: int) -> None:
        self._dealt, self._begun = dealt, begun
        self._left_out: dict[int, Counts] = {}
        self._varying = [
            a for a, arm in enumerate(dealt.arms) if arm.takes_n and arm.prompt_of_a_call is None
        ]
        self._prompts = np.zeros(dealt.n_rows if self._varying else 0)

    def add(self, seen: int, n: Counts) -> None:
        """A round of the ``n`` draws (0: none) after the first ``seen``."""
        dealt, waits = self._dealt, self._dealt.waits(seen)
        for a, wait in enumerate(waits):
            if wait:
                self._absences(a)[:] += ones((n > 0) & (n <= wait))
        for a in self._varying:
            called = n > waits[a]
            if called.any():
                self._prompts += called * dealt.arms[a].prompt_usd.at(dealt.counts[a, seen])

    def add_to_all(self, seen: int, n: int) -> None:
        """A round of the same draws for all rows."""
        for a, wait in enumerate(self._dealt.waits(seen)):
            if n <= wait:
                self._absences(a)[:] += 1
            elif a in self._varying:
                self._prompts += self._dealt.arms[a].prompt_usd.at(self._dealt.counts[a, seen])

    def usd(self, rounds: Counts | int, end: Counts | int) -> Measure:
        """(n_rows,): dollars for all ``rounds``, which came to ``end`` draws."""
        total = np.zeros(self._dealt.n_rows, dtype=np.float32)
        if self._varying:
            total += self._prompts.astype(np.float32)
        for a, arm in enumerate(self._dealt.arms):
            self._pay(total, a, arm.completion_paid, end)
            if arm.prompt_of_a_call is not None:
                calls = rounds - self._left_out[a] if a in self._left_out else rounds
                total += arm.prompt_of_a_call * np.asarray(calls, dtype=np.float32)
            elif not arm.takes_n:
                self._pay(total, a, arm.prompt_paid, end)
        return total

    def _pay(self, total: Measure, arm: int, paid: Growing[np.float32], end: Counts | int) -> None:
        """Add what the arm's draws cost among those up to ``end``; ``paid`` is for the first t."""
        dealt, counts = self._dealt, self._dealt.counts[arm]
        before = counts[self._begun]
        if isinstance(end, int):
            total += paid.at(counts[end])
        else:
            through = counts if len(dealt.arms) > 1 else None
            total += dealt.pick(paid.upto(counts[end.max()] + 1), end, through)
        if before:
            total -= paid.at(before)

    def _absences(self, arm: int) -> Counts:
        if arm not in self._left_out:
            dealt = self._dealt
            self._left_out[arm] = np.zeros(dealt.n_rows, dtype=small(dealt.length))
        return self._left_out[arm]
