"""What an evaluation says: score, dollars, samples and rounds, by row and by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import MeanScore, NoSignal, ProbeAgreement, signal_of
from tierwise.evaluation.interleaved import Interleaved, VariantRows
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable, VariantTable
from tierwise.schema import Difficulty
from tierwise.stats.estimators import best_of_n_score
from tierwise.stats.intervals import Floats
from tierwise.strategies import BestOfN, Sample, Single, Strategy

Measures = npt.NDArray[np.float32]
"""(4, n_rows): the measures of ``MeasureRows``."""


class MeasureRows(NamedTuple):
    """A measure of each (item, permutation), item-major; NaN where samples are missing."""

    score: Floats
    usd: Floats
    samples: Floats
    rounds: Floats


@dataclass(frozen=True)
class Evaluation:
    """What a policy does on each item, as the mean over permutations; all arrays are (n_items,).

    ``shares`` are the buckets' shares of the (item, permutation) pairs.
    """

    score: Floats
    usd: Floats
    samples: Floats
    rounds: Floats
    shares: tuple[float, ...]

    @classmethod
    def of(cls, means: Floats, shares: tuple[float, ...]) -> Evaluation:
        """From (4, n_items): the measures in the order of ``MeasureRows``."""
        score, usd, samples, rounds = means
        return cls(score, usd, samples, rounds, shares)

    @property
    def mean_score(self) -> float:
        """Mean over items; NaN where an item is not supported."""
        return float(self.score.mean())

    @property
    def mean_usd(self) -> float:
        """Dollars an item."""
        return float(self.usd.mean())

    @property
    def known(self) -> bool:
        """Whether every item is supported."""
        return not np.isnan(self.score).any()


def rows_by_bucket(bucket: npt.NDArray[np.intp], measures: Sequence[Measures | Floats]) -> Floats:
    """(4, n): for each column the measures of its bucket, easiest first."""
    chosen = measures[0].astype(np.float64)
    for b, other in enumerate(measures[1:], start=1):
        np.copyto(chosen, other, where=bucket == b)
    return chosen


_Expected = tuple[Floats, Floats, Floats, Floats]
"""Score, dollars, samples and rounds of each item."""


def expected_measures(strategy: Strategy, variants: Sequence[VariantTable]) -> _Expected | None:
    """Exact (score, usd, samples, rounds) of each item, or None where there is no closed form."""
    if len(variants) != 1:
        return None
    variant = variants[0]
    if isinstance(strategy, Single):
        return _cost(variant, 1, np.where(variant.complete, variant.score.mean(axis=1), np.nan))
    if isinstance(strategy, BestOfN) and strategy.stop_at is None:
        unscored = np.full(variant.score.shape, np.nan)
        score = best_of_n_score(
            variant.score,
            variant.scores.get(strategy.verifier, unscored),
            strategy.samples,
            abstained=variant.answers == ABSTAINED,
        )
        return _cost(variant, strategy.samples, score)
    return None


def _cost(variant: VariantTable, n: int, score: Floats) -> _Expected:
    if n > variant.n_samples:
        unsupported = np.full(len(score), np.nan)
        return score, unsupported, unsupported, unsupported
    supported = np.where(variant.complete, 0.0, np.nan)
    calls = 1 if variant.takes_n else n
    usd = (
        calls * variant.prompt_usd.mean(axis=1)
        + n * variant.completion_usd.mean(axis=1)
        + supported
    )
    return score, usd, n + supported, 1.0 + supported


def signal_rows(
    difficulty: Difficulty, table: SampleTable, n_permutations: int, variants: Sequence[VariantRows]
) -> Floats:
    """(n_items * n_permutations,): the signal of each row; ``variants`` are the probe's."""
    kind = signal_of(difficulty)
    n_rows = table.n_items * n_permutations
    if isinstance(kind, NoSignal):
        return np.zeros(n_rows)
    if difficulty.probe is None:
        return np.repeat([kind.value(inputs, ()) for inputs in table.inputs], n_permutations)
    k, interleaved = difficulty.probe.samples, Interleaved(variants)
    if k > interleaved.length:
        return np.full(n_rows, np.nan)
    if isinstance(kind, ProbeAgreement):
        leads = [votes.lead(k).astype(np.intp) for votes in Standings(interleaved).ballots(k)]
        agreement: Floats = np.sum(leads, axis=0) / (k * len(leads))
        return agreement
    if isinstance(kind, MeanScore):
        return _mean_known(interleaved.verifier(kind.scores[0], k))
    answers, variant_at = interleaved.answers(k), interleaved.variant_at
    values_of = [interleaved.cast(ballot, k) for ballot in range(interleaved.n_ballots)]
    by_field = any(variant.by_field for variant in variants)
    names = dict.fromkeys(name for variant in variants for name in variant.verifiers)
    scores = {name: interleaved.verifier(name, k) for name in names}
    values = np.empty(n_rows)
    for row in range(n_rows):
        probe = [
            Sample(
                None if answers[t, row] == ABSTAINED else str(answers[t, row]),
                {name: float(rows[t, row]) for name, rows in scores.items()},
                variant=variant_at[t],
                fields=tuple(str(of[t, row]) for of in values_of)
                if by_field and answers[t, row] != ABSTAINED
                else (),
            )
            for t in range(k)
        ]
        values[row] = kind.value(table.inputs[row // n_permutations], probe)
    return values


def _mean_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)
