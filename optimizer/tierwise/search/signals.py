"""Difficulty signals that are fitted: they learn on the train split, which no trial sees, when
thinking pays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tierwise.difficulty import SIGNALS, SignalFit, TrainingSamples, fitted_kinds
from tierwise.evaluation import SampleTable, VariantTable
from tierwise.pool import CutShortError
from tierwise.schema import Variant
from tierwise.search.selection import SCORE_PER_DOUBLING
from tierwise.search.stages import Explored, VariantAtOneSample
from tierwise.stats.intervals import Floats

FIT_PART = 0.15
"""Of what is left after the screening, that the samples for fitted signals may cost."""


def fit(explored: Explored) -> Explored:
    """With the fitted signals of the space.

    Thinking is the best other mode's best variant, against the cheapest mode's best. None are
    fitted where the gate is closed, nothing thinks, or the budget has no money for it.
    """
    problem, size, left = explored.problem, explored.problem.search_size, explored.left
    samples = 2 * size.fit_items * size.fit_samples
    calls = 2 * size.fit_items if explored.plan.cost.takes_n else samples
    if not (left * FIT_PART).fits(explored.plan.cost.of(samples, calls)):
        return explored
    alive = [row for row in explored.screened if row.variant in explored.variants]
    compared = _compared(alive)
    try:
        fits = _fitted(explored, *compared) if compared else {}
    except CutShortError:
        fits = {}
    if not fits:
        return explored
    ways = {kind: tuple(one.difficulty for one in found) for kind, found in fits.items()}
    return replace(
        explored,
        problem=replace(problem, ready_signals={**problem.ready_signals, **ways}),
        fitted=tuple(one for found in fits.values() for one in found),
    )


def _compared(screened: Sequence[VariantAtOneSample]) -> tuple[Variant, Variant] | None:
    quick = cheapest_mode(screened)
    direct = [row for row in screened if row.variant.mode == quick]
    think = [row for row in screened if row.variant.mode != quick]
    if not direct or not think:
        return None
    best, best_thinking = (max(rows, key=lambda row: row.score) for rows in (direct, think))
    return best.variant, best_thinking.variant


def cheapest_mode(screened: Sequence[VariantAtOneSample]) -> str:
    """The mode whose samples cost least."""
    usd: dict[str, list[float]] = {}
    for row in screened:
        usd.setdefault(row.variant.mode, []).append(row.usd)
    return min(usd, key=lambda mode: float(np.mean(usd[mode])))


def _fitted(
    explored: Explored, direct: Variant, think: Variant
) -> dict[str, tuple[SignalFit, ...]]:
    """Fitted signal of the space -> how it could be fitted, on samples bought for this alone.

    ``think`` is compared with ``direct``. None where the space names no fitted signal, the train
    split is small, or thinking pays always or never.
    """
    problem, samples, size = explored.problem, explored.samples, explored.problem.search_size
    items = problem.items["train"][: size.fit_items]
    kinds = fitted_kinds(problem.space.signals)
    kinds = tuple(kind for kind in kinds if len(items) >= SIGNALS[kind].fewest_items)
    probe_samples = int(problem.space.probe_samples.low)
    n_samples = min(size.fit_samples, samples.most(direct), samples.most(think))
    if not kinds or n_samples <= probe_samples:
        return {}
    table = samples.table(items, {direct: n_samples, think: n_samples}, "fit")
    least = _pays_from(table.variants[direct], table.variants[think], problem.operating_point)
    train = training_samples(table, direct, think, least, probe_samples)
    fits = {kind: tuple(SIGNALS[kind].fit(train)) for kind in kinds}
    return {kind: found for kind, found in fits.items() if found}


def training_samples(
    table: SampleTable, direct: Variant, think: Variant, pays_from: float, probe_samples: int
) -> TrainingSamples:
    """What a signal is fitted to; the first ``probe_samples`` of ``direct`` are a probe's."""
    rows = table.variants[direct]
    probes = [
        [rows.sample(item, column) for column in range(probe_samples)]
        for item in range(table.n_items)
    ]
    pays = paying(table, direct, think, pays_from, probe_samples)
    return TrainingSamples(direct, think, table.inputs, probes, pays.tolist(), pays_from)


def paying(
    table: SampleTable, direct: Variant, think: Variant, pays_from: float, skipped: int
) -> Floats:
    """(n_items,): share of pairs of samples in which thinking leads by more than ``pays_from``.

    The first ``skipped`` samples of ``direct`` are in no pair.
    """
    quick, slow = table.variants[direct].score[:, skipped:], table.variants[think].score
    ahead: Floats = (slow[:, :, None] - quick[:, None, :] > pays_from).mean(axis=(1, 2))
    return ahead


def _pays_from(
    direct: VariantTable, think: VariantTable, point: str | Mapping[str, float]
) -> float:
    """The gain of score at which thinking pays, by what the job says that a point is worth.

    Without a price of a point: one point for each doubling of the dollars, as the balanced point.
    """
    usd = [float(np.mean(rows.prompt_usd + rows.completion_usd)) for rows in (direct, think)]
    if not isinstance(point, str) and "usd_per_point" in point:
        return (usd[1] - usd[0]) / (100 * point["usd_per_point"])
    return SCORE_PER_DOUBLING * max(math.log2(usd[1] / usd[0]), 0.0) if min(usd) > 0 else 0.0
