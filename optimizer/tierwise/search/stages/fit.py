"""Fit: signals with ``fit`` learn on the train split, which no trial sees, when thinking pays.

Only where the space names one; its samples are bought for this alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tierwise.difficulty import SIGNALS, TrainingSamples, fitted_kinds
from tierwise.evaluation import ABSTAINED, SampleTable, VariantTable
from tierwise.schema import Variant
from tierwise.search.compute_gate import cheapest_mode
from tierwise.search.selection import POINT_A_DOUBLING
from tierwise.search.stages.screen import Screened
from tierwise.search.stages.spend import GateDecision
from tierwise.stats.intervals import Floats
from tierwise.strategies import Sample


def fit(allowed: GateDecision, screened: Screened) -> GateDecision:
    """``allowed`` with the signals that could be fitted.

    Thinking is the best other mode's best variant, against the cheapest mode's best. None where the
    gate is closed, nothing thinks, the train split is small, or thinking pays always or never.
    """
    q = allowed.problem
    items = q.items("train")[: q.search_size.fit_items]
    variants = _compared(screened)
    kinds = [k for k in fitted_kinds(q.space.signals) if len(items) >= SIGNALS[k].fewest_items]
    if not kinds or variants is None:
        return allowed
    direct, think = variants
    probe_samples = int(q.space.probe_samples.low)
    n_samples = min(
        q.search_size.fit_samples, allowed.samples.most(direct), allowed.samples.most(think)
    )
    if n_samples <= probe_samples:
        return allowed
    table = allowed.samples.table(items, {direct: n_samples, think: n_samples}, "fit")
    least = _pays_from(table.variants[direct], table.variants[think], q.operating_point)
    train = training_samples(table, direct, think, least, probe_samples)
    fits = {kind: found for kind in kinds if (found := SIGNALS[kind].fit(train))}
    if not fits:
        return allowed
    told = dict(q.told)
    for kind, found in fits.items():
        told[kind] = tuple(one.difficulty for one in found)
    routers = tuple(one for found in fits.values() for one in found)
    racers = tuple(dict.fromkeys((*allowed.racers, direct, think)))
    return replace(allowed, problem=replace(q, told=told), racers=racers, routers=routers)


def training_samples(
    table: SampleTable, direct: Variant, think: Variant, pays_from: float, probe_samples: int
) -> TrainingSamples:
    """What a signal is fitted to; the first ``probe_samples`` of ``direct`` are a probe's."""
    rows = table.variants[direct]
    probes = [
        [_sample(rows, item, column) for column in range(probe_samples)]
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


def _sample(rows: VariantTable, item: int, column: int) -> Sample:
    code = rows.answers[item, column]
    scores = {name: float(values[item, column]) for name, values in rows.scores.items()}
    return Sample(None if code == ABSTAINED else str(code), scores)


def _compared(screened: Screened) -> tuple[Variant, Variant] | None:
    quick = cheapest_mode(screened.single)
    direct = [row for row in screened.single if row[0].mode == quick]
    think = [row for row in screened.single if row[0].mode != quick]
    if not direct or not think:
        return None
    best, best_thinking = (max(rows, key=lambda row: row[1])[0] for rows in (direct, think))
    return best, best_thinking


def _pays_from(
    direct: VariantTable, think: VariantTable, point: str | Mapping[str, float]
) -> float:
    """The gain of score at which thinking pays, by what the job says that a point is worth.

    Without a price of a point: one point for each doubling of the dollars, as the balanced point.
    """
    usd = [float(np.mean(rows.prompt_usd + rows.completion_usd)) for rows in (direct, think)]
    if not isinstance(point, str) and "usd_per_point" in point:
        return (usd[1] - usd[0]) / (100 * point["usd_per_point"])
    return POINT_A_DOUBLING * max(math.log2(usd[1] / usd[0]), 0.0) if min(usd) > 0 else 0.0
