"""What the prompts of a strategy's rounds cost, for all rows at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.dealt import Dealt, Measure, pick


class Bill:
    """Prompt dollars of each row, as rounds go by.

    A round's draws of an arm are one call where the arm takes ``n``; else each is a call.
    """

    def __init__(self, dealt: Dealt) -> None:
        self._dealt = dealt
        self._left_out: dict[int, npt.NDArray[np.int16]] = {}
        self._varying = [
            a for a, arm in enumerate(dealt.arms) if arm.takes_n and arm.prompt_of_a_call is None
        ]
        self._usd = np.zeros(dealt.n_rows)
        self._begun: int | None = None

    def add(self, seen: int, n: npt.NDArray[np.int16]) -> None:
        """A round of the ``n`` draws (0: none) after the first ``seen``."""
        dealt, waits = self._dealt, self._dealt.waits[seen]
        self._begin(seen)
        for a, wait in enumerate(waits):
            if wait:
                self._absences(a)[:] += (n > 0) & (n <= wait)
        for a in self._varying:
            called = n > waits[a]
            if called.any():
                self._usd += called * dealt.arms[a].prompt_usd[dealt.counts[seen, a]]

    def add_to_all(self, seen: int, n: int) -> None:
        """A round of the same draws for all rows."""
        self._begin(seen)
        for a, wait in enumerate(self._dealt.waits[seen]):
            if n <= wait:
                self._absences(a)[:] += 1
            elif a in self._varying:
                self._usd += self._dealt.arms[a].prompt_usd[self._dealt.counts[seen, a]]

    def prompt_usd(
        self, rounds: npt.NDArray[np.int16] | int, end: npt.NDArray[np.int16] | int
    ) -> Measure:
        """(n_rows,): dollars for the prompts of all ``rounds``, which came to ``end`` draws."""
        dealt, total = self._dealt, self._usd.astype(np.float32)
        for a, arm in enumerate(dealt.arms):
            if arm.prompt_of_a_call is not None:
                calls = rounds - self._left_out[a] if a in self._left_out else rounds
                total += arm.prompt_of_a_call * np.asarray(calls, dtype=np.float32)
            elif not arm.takes_n and self._begun is not None:
                counts = dealt.counts[:, a]
                last = np.broadcast_to(counts[end], dealt.n_rows)
                total += pick(arm.prompt_paid, last, dealt.all_rows)
                total -= arm.prompt_paid[counts[self._begun]]
        return total

    def _begin(self, seen: int) -> None:
        if self._begun is None:
            self._begun = seen

    def _absences(self, arm: int) -> npt.NDArray[np.int16]:
        if arm not in self._left_out:
            self._left_out[arm] = np.zeros(self._dealt.n_rows, dtype=np.int16)
        return self._left_out[arm]
