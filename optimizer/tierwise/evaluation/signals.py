"""Difficulty signals over all items and orders; the contract is ``Signal.value``."""

from __future__ import annotations

import numpy as np

from tierwise.difficulty import NoSignal, ProbeAgreement, ProbeConfidence, signal
from tierwise.evaluation.dealt import ArmRows, Dealt, Floats
from tierwise.evaluation.paths import votes
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Difficulty
from tierwise.strategies import Draw


def signal_rows(
    difficulty: Difficulty, table: SampleTable, n_orders: int, arm: ArmRows | None
) -> Floats:
    """(n_items * n_orders,): the signal of each row, higher is easier."""
    kind = signal(difficulty.signal)
    n_rows = table.n_items * n_orders
    if isinstance(kind, NoSignal):
        return np.zeros(n_rows)
    if difficulty.probe is None or arm is None:
        return np.repeat([kind.value(inputs, ()) for inputs in table.inputs], n_orders)
    k = difficulty.probe.draws
    if k > arm.depth:
        return np.full(n_rows, np.nan)
    if isinstance(kind, ProbeAgreement):
        states = votes(Dealt([arm]), k)
        agreement: Floats = (states.code[k - 1] // states.base) / k
        return agreement
    if isinstance(kind, ProbeConfidence):
        return _mean_known(arm.verifier("mean_logprob")[:k])
    answers = arm.answers[:k]
    scores = {name: arm.verifier(name)[:k] for name in arm.verifiers}
    values = np.empty(n_rows)
    for row in range(n_rows):
        probe = [
            Draw(
                None if answers[t, row] == ABSTAINED else str(answers[t, row]),
                {name: float(rows[t, row]) for name, rows in scores.items()},
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
