"""One variant's samples laid out by order: what all recipes that have the variant read from.

Rows are (item, order) pairs, item-major; arrays are (samples, n_rows), so that the samples at one
position lie together, and are laid out as far as anybody asks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.growing import Growing
from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.shelf import Shelf
from tierwise.evaluation.table import ABSTAINED, VariantTable

Floats = npt.NDArray[np.float64]
Measure = npt.NDArray[np.float32]
"""Scores and dollars of rows: in single precision, which is exact to 1e-7 and twice as fast."""
Codes = npt.NDArray[np.signedinteger[Any]]
Scalar = TypeVar("Scalar", bound=np.generic)


class VariantRows:
    """One variant's samples laid out by order.

    Attributes:
        answers, prompt_usd: (samples, n_rows).
        completion_paid, prompt_paid: dollars for the first t samples, the prompts as if each sample was
            a call of its own.
        complete: (n_rows,), rows whose item has all samples.
        silent: whether some sample is an abstention.
        scores: the shelf where the metric of its samples lies, with that of other variants.
    """

    def __init__(self, variant: VariantTable, permutations: Permutations, scores: Shelf) -> None:
        n_items = variant.answers.shape[0]
        self.n_samples, self.takes_n = variant.n_samples, variant.takes_n
        self._variant = variant
        self._kept: dict[Hashable, Growing[np.float64]] = {}
        self._places = permutations.places(n_items, variant.n_samples)
        self.n_rows = self._places.shape[1]
        self.answers = self.lay(_narrow(variant.answers))
        self.scores, self._scores_at = scores, list[int]()
        self._score = self._row(variant.score.astype(np.float32))
        self.silent = bool((variant.answers == ABSTAINED).any())
        self.complete = np.repeat(variant.complete, permutations.n)
        one_prompt = (variant.prompt_usd == variant.prompt_usd[:, :1]).all()
        self.prompt_of_a_call: Measure | None = None
        """(n_rows,), where an item's calls of this variant cost the same; None where not."""
        if one_prompt and variant.takes_n:
            self.prompt_of_a_call = np.repeat(
                variant.prompt_usd[:, 0].astype(np.float32), permutations.n
            )

    def lay(self, values: npt.NDArray[Scalar]) -> Growing[Scalar]:
        """(n_items, depth) -> (depth, n_rows)."""
        row = self._row(values)
        return Growing(self.n_rows, values.dtype, lambda t, _: row(t))

    def _row(self, values: npt.NDArray[Scalar]) -> Callable[[int], npt.NDArray[Scalar]]:
        flat, places = values.ravel(), self._places

        def row(t: int) -> npt.NDArray[Scalar]:
            laid: npt.NDArray[Scalar] = flat.take(places[t])
            return laid

        return row

    def score_place(self, sample: int) -> int:
        """Where on the shelf the metric of this sample lies."""
        while len(self._scores_at) <= sample:
            self._scores_at.append(self.scores.put(self._score(len(self._scores_at))))
        return self._scores_at[sample]

    @functools.cached_property
    def completion_paid(self) -> Growing[np.float32]:
        """See the class."""
        return self._running(self._variant.completion_usd)

    @functools.cached_property
    def prompt_usd(self) -> Growing[np.float32]:
        """See the class."""
        return self.lay(self._variant.prompt_usd.astype(np.float32))

    @functools.cached_property
    def prompt_paid(self) -> Growing[np.float32]:
        """See the class."""
        return self._running(self._variant.prompt_usd)

    @property
    def verifiers(self) -> tuple[str, ...]:
        """Names of the verifiers that scored this variant's samples."""
        return tuple(self._variant.scores)

    def verifier(self, name: str) -> Growing[np.float64]:
        """(samples, n_rows): the verifier's scores, NaN where there is none."""
        return self._laid(("score", name), lambda: self._scores(name))

    def rank(self, verifier: str, spoken: bool) -> Growing[np.float64]:
        """(samples, n_rows): its scores of the samples that answer, or of those that abstain.

        Where there is none, less than any; of the other samples -inf.
        """
        least = np.finfo(np.float64).min

        def ranks() -> Floats:
            of_these = (self._variant.answers != ABSTAINED) == spoken
            return np.where(of_these, np.fmax(self._scores(verifier), least), -np.inf)

        return self._laid(("rank", verifier, spoken), ranks)

    def weight(self, verifier: str) -> Growing[np.float64]:
        """(samples, n_rows): exp(score), as ``WeightedConsistency`` weighs; 0 where there is none.

        -inf of an abstention, which so never leads.
        """

        def weights() -> Floats:
            scores = self._scores(verifier)
            weighed = np.where(np.isnan(scores), 0.0, np.exp(np.minimum(scores, 0.0)))
            return np.where(self._variant.answers == ABSTAINED, -np.inf, weighed)

        return self._laid(("weight", verifier), weights)

    def _scores(self, verifier: str) -> Floats:
        missing = np.full(self._variant.score.shape, np.nan)
        return self._variant.scores.get(verifier, missing)

    def _laid(self, what: Hashable, values: Callable[[], Floats]) -> Growing[np.float64]:
        if what not in self._kept:
            self._kept[what] = self.lay(values())
        return self._kept[what]

    def _running(self, usd: Floats) -> Growing[np.float32]:
        """(samples + 1, n_rows): dollars for the first t samples."""
        row, total = self._row(usd), np.zeros(self.n_rows)

        def paid(t: int, _: Measure) -> Measure:
            if t:
                np.add(total, row(t - 1), out=total)
            return total.astype(np.float32)

        return Growing(self.n_rows, np.float32, paid)


def _narrow(answers: npt.NDArray[np.int16]) -> Codes:
    """In one byte where the codes fit: comparing them is what votes spend their time on."""
    return answers.astype(np.int8) if answers.max(initial=0) <= np.iinfo(np.int8).max else answers
