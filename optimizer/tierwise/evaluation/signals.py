"""Difficulty signals over all items and orders; the contract is ``Signal.value``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.difficulty import MeanScore, NoSignal, ProbeAgreement, signal_of
from tierwise.evaluation.interleaved import Interleaved
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.evaluation.variant_rows import Floats, VariantRows
from tierwise.schema import Difficulty
from tierwise.strategies import Sample


def signal_rows(
    difficulty: Difficulty, table: SampleTable, n_permutations: int, variants: Sequence[VariantRows]
) -> Floats:
    """(n_items * n_orders,): the signal of each row, higher is easier; ``variants`` are the probe's."""
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
        agreement: Floats = Standings(interleaved).votes(k).lead(k) / k
        return agreement
    if isinstance(kind, MeanScore):
        return _mean_known(interleaved.verifier(kind.scores[0], k))
    answers, variant_at = interleaved.answers(k), interleaved.variant_at
    names = dict.fromkeys(name for variant in variants for name in variant.verifiers)
    scores = {name: interleaved.verifier(name, k) for name in names}
    values = np.empty(n_rows)
    for row in range(n_rows):
        probe = [
            Sample(
                None if answers[t, row] == ABSTAINED else str(answers[t, row]),
                {name: float(rows[t, row]) for name, rows in scores.items()},
                variant=variant_at[t],
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
