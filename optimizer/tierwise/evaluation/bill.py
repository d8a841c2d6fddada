"""What a strategy's samples and the prompts of its rounds cost, for all rows at once."""

from __future__ import annotations

import numpy as np

from tierwise.evaluation.growing import Growing
from tierwise.evaluation.interleaved import Counts, Interleaved, ones, small
from tierwise.evaluation.variant_rows import Measure


class Bill:
    """Dollars of each row after the first ``begun`` samples, which are paid for, as rounds go by.

    A round's samples of a variant are one call where the variant takes ``n``; else each is a call.
    """

    def __init__(self, interleaved: Interleaved, begun: int) -> None:
        self._interleaved, self._begun = interleaved, begun
        self._left_out: dict[int, Counts] = {}
        self._varying = [
            a
            for a, variant in enumerate(interleaved.variants)
            if variant.takes_n and variant.prompt_of_a_call is None
        ]
        self._prompts = np.zeros(interleaved.n_rows if self._varying else 0)

    def add(self, seen: int, n: Counts) -> None:
        """A round of the ``n`` samples (0: none) after the first ``seen``."""
        interleaved, waits = self._interleaved, self._interleaved.waits(seen)
        for a, wait in enumerate(waits):
            if wait:
                self._absences(a)[:] += ones((n > 0) & (n <= wait))
        for a in self._varying:
            called = n > waits[a]
            if called.any():
                self._prompts += called * interleaved.variants[a].prompt_usd.at(
                    interleaved.counts[a, seen]
                )

    def add_to_all(self, seen: int, n: int) -> None:
        """A round of the same samples for all rows."""
        for a, wait in enumerate(self._interleaved.waits(seen)):
            if n <= wait:
                self._absences(a)[:] += 1
            elif a in self._varying:
                self._prompts += self._interleaved.variants[a].prompt_usd.at(
                    self._interleaved.counts[a, seen]
                )

    def usd(self, rounds: Counts | int, end: Counts | int) -> Measure:
        """(n_rows,): dollars for all ``rounds``, which came to ``end`` samples."""
        total = np.zeros(self._interleaved.n_rows, dtype=np.float32)
        if self._varying:
            total += self._prompts.astype(np.float32)
        for a, variant in enumerate(self._interleaved.variants):
            self._pay(total, a, variant.completion_paid, end)
            if variant.prompt_of_a_call is not None:
                calls = rounds - self._left_out[a] if a in self._left_out else rounds
                total += variant.prompt_of_a_call * np.asarray(calls, dtype=np.float32)
            elif not variant.takes_n:
                self._pay(total, a, variant.prompt_paid, end)
        return total

    def _pay(
        self, total: Measure, variant: int, paid: Growing[np.float32], end: Counts | int
    ) -> None:
        """Add what the variant's samples cost among those up to ``end``; ``paid`` is for the first t."""
        interleaved, counts = self._interleaved, self._interleaved.counts[variant]
        before = counts[self._begun]
        if isinstance(end, int):
            total += paid.at(counts[end])
        else:
            through = counts if len(interleaved.variants) > 1 else None
            total += interleaved.pick(paid.upto(counts[end.max()] + 1), end, through)
        if before:
            total -= paid.at(before)

    def _absences(self, variant: int) -> Counts:
        if variant not in self._left_out:
            interleaved = self._interleaved
            self._left_out[variant] = np.zeros(interleaved.n_rows, dtype=small(interleaved.length))
        return self._left_out[variant]
