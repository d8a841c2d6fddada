"""Samples laid out by permutation, and interleaved over a recipe's variants.

Rows are (item, permutation) pairs, item-major. Arrays are (samples, n_rows), so that the samples at
one position lie together, and are laid out as far as anybody asks. Interleaving looks only at how
many samples each variant has had, hence it is the same for all rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.table import ABSTAINED, Codes, VariantTable
from tierwise.stats.intervals import Floats
from tierwise.strategies import interleave

Measure = npt.NDArray[np.float32]
"""Scores and dollars of rows: in single precision, which is exact to 1e-7 and twice as fast."""
AnswerCodes = npt.NDArray[np.signedinteger[Any]]
Positions = npt.NDArray[np.intp]
Counts = npt.NDArray[np.unsignedinteger[Any]]
"""Numbers and places of samples: in bytes where these are enough, see ``small_uint``."""
ArrayScalar = TypeVar("ArrayScalar", bound=np.generic)

USUAL_SAMPLES = 17
"""Most strategies stop by then."""
FIRST_ROOM = 64
"""Rows that a ``ScoreBlock`` has room for at first; it doubles as more are put into it."""

_BYTE, _WORD = np.dtype(np.uint8), np.dtype(np.uint16)


class Growing(Generic[ArrayScalar]):
    """``values``, (samples, n_rows): row t is ``row(t, values)``, made from the rows before it.

    There is room for the usual samples at first; it doubles as more are asked for.

    Attributes:
        nbytes: what the known rows take.
    """

    def __init__(
        self,
        n_rows: int,
        dtype: npt.DTypeLike,
        row: Callable[[int, npt.NDArray[ArrayScalar]], npt.NDArray[ArrayScalar]],
    ) -> None:
        self._values: npt.NDArray[ArrayScalar] = np.empty((USUAL_SAMPLES, n_rows), dtype=dtype)
        self._row, self._known, self.nbytes = row, 0, 0

    def upto(self, samples: int) -> npt.NDArray[ArrayScalar]:
        """The array; the first ``samples`` rows are known, what lies beyond may not be."""
        if samples > self._known:
            self._grow(samples)
        return self._values

    def at(self, sample: int) -> npt.NDArray[ArrayScalar]:
        """Row ``sample``."""
        row: npt.NDArray[ArrayScalar] = self.upto(sample + 1)[sample]
        return row

    def _grow(self, samples: int) -> None:
        if samples > len(self._values):
            room = max(samples, 2 * len(self._values))
            wider = np.empty((room, self._values.shape[1]), dtype=self._values.dtype)
            wider[: self._known] = self._values[: self._known]
            self._values = wider
        for t in range(self._known, samples):
            self._values[t] = self._row(t, self._values)
        self._known, self.nbytes = samples, self._values[:samples].nbytes


class ScoreBlock:
    """``values``, (rows, n_rows): what was put down, in the order in which it came."""

    def __init__(self, n_rows: int) -> None:
        self._values = np.empty((FIRST_ROOM, n_rows), dtype=np.float32)
        self._taken = 0

    def put(self, row: npt.NDArray[np.float32]) -> int:
        """The place that ``row`` got."""
        if self._taken == len(self._values):
            wider = np.empty((2 * self._taken, self._values.shape[1]), dtype=np.float32)
            wider[: self._taken] = self._values
            self._values = wider
        self._values[self._taken] = row
        self._taken += 1
        return self._taken - 1

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The block; rows beyond those put down mean nothing."""
        return self._values


class VariantRows:
    """One variant's samples laid out by permutation.

    Attributes:
        answers, prompt_usd: (samples, n_rows).
        ballots: (samples, n_rows) each, what is voted on: the answers, or the values of each field.
        completion_paid, prompt_paid: dollars for the first t samples, the prompts as if each sample
            was a call of its own.
        complete: (n_rows,), rows whose item has all samples.
        silent: whether some sample is an abstention.
        scores: the block where the metric of its samples lies, with that of other variants.
    """

    def __init__(
        self, variant: VariantTable, permutations: Permutations, scores: ScoreBlock
    ) -> None:
        n_items = variant.answers.shape[0]
        self.n_samples, self.takes_n = variant.n_samples, variant.takes_n
        self._variant = variant
        self._kept: dict[Hashable, Growing[np.float64]] = {}
        self._places = permutations.places(n_items, variant.n_samples)
        self.n_rows = self._places.shape[1]
        self.answers = self.lay(_narrow(variant.answers))
        self.ballots: tuple[Growing[np.signedinteger[Any]], ...] = (self.answers,)
        if variant.fields is not None:
            values = np.moveaxis(variant.fields, -1, 0)
            self.ballots = tuple(self.lay(_narrow(np.ascontiguousarray(of))) for of in values)
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

    def lay(self, values: npt.NDArray[ArrayScalar]) -> Growing[ArrayScalar]:
        """(n_items, n_samples) -> (n_samples, n_rows)."""
        row = self._row(values)
        return Growing(self.n_rows, values.dtype, lambda t, _: row(t))

    def _row(self, values: npt.NDArray[ArrayScalar]) -> Callable[[int], npt.NDArray[ArrayScalar]]:
        flat, places = values.ravel(), self._places

        def row(t: int) -> npt.NDArray[ArrayScalar]:
            laid: npt.NDArray[ArrayScalar] = flat.take(places[t])
            return laid

        return row

    def score_place(self, sample: int) -> int:
        """Where in the block the metric of this sample lies."""
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
    def by_field(self) -> bool:
        """Whether the fields of its answers are voted on one by one."""
        return self._variant.fields is not None

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


def _narrow(codes: Codes) -> AnswerCodes:
    """In one byte where the codes fit: comparing them is what votes spend their time on."""
    fits = codes.max(initial=0) <= np.iinfo(np.int8).max
    return codes.astype(np.int8) if fits else codes


def small_uint(most: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The type that holds numbers up to ``most``: passes over bytes are what is fast here."""
    return _BYTE if most < 2**8 else _WORD


def as_uint8(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The mask as numbers: to multiply by a mask itself takes twice as long."""
    return mask.view(np.uint8)


@functools.lru_cache(maxsize=64)
def _numbers(n: int) -> Positions:
    """0 to ``n - 1``; one array for all, which so stays in the processor's cache."""
    numbers = np.arange(n)
    numbers.setflags(write=False)
    return numbers


class Interleaved:
    """The samples of ``variants`` as interleaved, after those of ``first`` (indices of variants: a
    probe's samples).

    Attributes:
        length: samples until a variant would run out.
        counts: (n_variants, length + 1), samples of each variant among the first t.
        variant_at: the variant of each of the ``length`` samples.
    """

    def __init__(self, variants: Sequence[VariantRows], first: Sequence[int] = ()) -> None:
        self.variants = tuple(variants)
        begun = [list(first).count(variant) for variant in range(len(variants))]
        counts, variant_at, position_at = [[0] * len(variants)], list[int](), list[int]()
        for variant in [*first, *interleave(begun, sum(variant.n_samples for variant in variants))]:
            have = counts[-1].copy()
            if have[variant] == variants[variant].n_samples:
                break
            variant_at.append(variant)
            position_at.append(have[variant])
            have[variant] += 1
            counts.append(have)
        self.length = len(variant_at)
        self.variant_at = variant_at
        self.counts = np.array(counts, dtype=np.intp).T.copy()
        self._places = list(zip(variant_at, position_at, strict=True))
        self.n_rows = variants[0].n_rows
        self.n_ballots = len(variants[0].ballots)
        self._all_rows = _numbers(self.n_rows)
        self._waits: dict[int, list[int]] = {}

    @functools.cached_property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n_rows,): rows that have all samples."""
        complete: npt.NDArray[np.bool_] = np.logical_and.reduce([a.complete for a in self.variants])
        return complete

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all rows have all samples."""
        return bool(self.complete.all())

    def at(self, sample: int, values: Sequence[Growing[ArrayScalar]]) -> npt.NDArray[ArrayScalar]:
        """(n_rows,): what the interleaved ``sample`` has in one (samples, n_rows) a variant."""
        variant, position = self._places[sample]
        return values[variant].at(position)

    def merge(self, values: Sequence[Growing[ArrayScalar]], upto: int) -> npt.NDArray[ArrayScalar]:
        """(upto, n_rows), the first ``upto`` interleaved, from one (samples, n_rows) a variant."""
        return np.array([self.at(t, values) for t in range(upto)])

    def flat(
        self, position: npt.NDArray[np.integer[Any]], through: Positions | None = None
    ) -> Positions:
        """(n_rows,): where each row's ``position`` lies in a ravelled (samples, n_rows).

        With ``through`` it is ``through[position]``.
        """
        at: Positions
        if through is None:
            at = position.astype(np.intp)
            at *= self.n_rows
        else:
            at = (through * self.n_rows).take(position)
        at += self._all_rows
        return at

    def pick(
        self,
        values: npt.NDArray[ArrayScalar],
        position: npt.NDArray[np.integer[Any]],
        through: Positions | None = None,
    ) -> npt.NDArray[ArrayScalar]:
        """(n_rows,): of each row ``values[position]``; ``values`` is a contiguous (samples,
        n_rows).

        With ``through`` it is ``values[through[position]]``. Read flat, which is faster.
        """
        picked: npt.NDArray[ArrayScalar] = values.ravel().take(self.flat(position, through))
        return picked

    def score_at(self, chosen: Counts, upto: int) -> Measure:
        """(n_rows,): the metric of the sample at ``chosen``, one of the first ``upto``."""
        places = [
            self.variants[variant].score_place(position)
            for variant, position in self._places[:upto]
        ]
        return self.pick(self.variants[0].scores.values, chosen, np.array(places))

    def verifier(self, name: str, upto: int) -> Floats:
        """(upto, n_rows): a verifier's scores."""
        return self.merge([variant.verifier(name) for variant in self.variants], upto)

    def answers(self, upto: int) -> AnswerCodes:
        """(upto, n_rows): answer codes."""
        return self.merge([variant.answers for variant in self.variants], upto)

    def cast(self, ballot: int, upto: int) -> AnswerCodes:
        """(upto, n_rows): the codes that are voted on in a ballot."""
        return self.merge([variant.ballots[ballot] for variant in self.variants], upto)

    def waits(self, seen: int) -> list[int]:
        """For each variant: samples of others that come before its next, after ``seen``."""
        if seen not in self._waits:
            self._waits[seen] = [
                self.variant_at.index(variant, seen) - seen
                if variant in self.variant_at[seen:]
                else self.length - seen
                for variant in range(len(self.variants))
            ]
        return self._waits[seen]
