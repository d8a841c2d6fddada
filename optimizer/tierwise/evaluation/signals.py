"""Difficulty signals over all items and orders; the contract is ``Signal.value``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.difficulty import MeanScore, NoSignal, ProbeAgreement, signal_of
from tierwise.evaluation.arm_rows import ArmRows, Floats
from tierwise.evaluation.dealt import Dealt
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Difficulty
from tierwise.strategies import Draw


def signal_rows(
    difficulty: Difficulty, table: SampleTable, n_orders: int, arms: Sequence[ArmRows]
) -> Floats:
    """(n_items * n_orders,): the signal of each row, higher is easier; ``arms`` are the probe's."""
    kind = signal_of(difficulty)
    n_rows = table.n_items * n_orders
    if isinstance(kind, NoSignal):
        return np.zeros(n_rows)
    if difficulty.probe is None:
        return np.repeat([kind.value(inputs, ()) for inputs in table.inputs], n_orders)
    k, dealt = difficulty.probe.draws, Dealt(arms)
    if k > dealt.length:
        return np.full(n_rows, np.nan)
    if isinstance(kind, ProbeAgreement):
        agreement: Floats = Standings(dealt).votes(k).lead(k) / k
        return agreement
    if isinstance(kind, MeanScore):
        return _mean_known(dealt.verifier(kind.scores[0], k))
    answers, arm_at = dealt.answers(k), dealt.arm_at
    names = dict.fromkeys(name for arm in arms for name in arm.verifiers)
    scores = {name: dealt.verifier(name, k) for name in names}
    values = np.empty(n_rows)
    for row in range(n_rows):
        probe = [
            Draw(
                None if answers[t, row] == ABSTAINED else str(answers[t, row]),
                {name: float(rows[t, row]) for name, rows in scores.items()},
                arm=arm_at[t],
            )
            for t in range(k)
        ]
        values[row] = kind.value(table.inputs[row // n_orders], probe)
    return values


def _mean_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)
