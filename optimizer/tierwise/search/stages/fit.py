"""Fit: the router learns on the train split, which no trial sees, when thinking pays.

Only where the space names it; its samples are bought for this alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tierwise.difficulty import Router
from tierwise.evaluation import VariantTable
from tierwise.schema import Variant
from tierwise.search.compute_gate import cheapest_mode
from tierwise.search.router import FEWEST_ITEMS, fit_router
from tierwise.search.selection import POINT_A_DOUBLING
from tierwise.search.stages.screen import Screened
from tierwise.search.stages.spend import GateDecision


def fit(allowed: GateDecision, screened: Screened) -> GateDecision:
    """``allowed`` with the routers that could be fitted: one that sees a probe, and one before it.

    Thinking is the best other mode's best variant, against the cheapest mode's best. None where the
    gate is closed, nothing thinks, the train split is small, or thinking pays always or never.
    """
    q = allowed.problem
    items = q.items("train")[: q.search_size.fit_items]
    variants = _compared(screened)
    if Router.kind not in q.space.signals or variants is None or len(items) < FEWEST_ITEMS:
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
    fits = [
        fit_router(table, direct, think, least, probe_samples, probed=probed)
        for probed in (False, True)
    ]
    routers = tuple(found for found in fits if found is not None)
    if not routers:
        return allowed
    told = {**q.told, Router.kind: tuple(found.difficulty for found in routers)}
    racers = tuple(dict.fromkeys((*allowed.racers, direct, think)))
    return replace(allowed, problem=replace(q, told=told), racers=racers, routers=routers)


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
