"""Difficulty signals that need samples of their own: those that ask the model, and fitted ones.

A self-report signal asks about the task with prompts that are no candidates for an answer: each
paraphrase once an item, at temperature 0. The screening keeps the paraphrase that tells best. A
fitted signal learns on the train split, which no trial sees, when thinking pays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tierwise.difficulty import SIGNALS, SignalFit, TrainingSamples, asking, fitted_kinds
from tierwise.evaluation import Evaluator, Permutations, SampleTable, VariantTable
from tierwise.schema import Difficulty, Probe, Variant
from tierwise.search.problem import TierProblem
from tierwise.search.samples import Samples
from tierwise.search.selection import SCORE_PER_DOUBLING
from tierwise.stats.intervals import Floats
from tierwise.stats.rank import auroc

ASK_SAMPLES = 1


def best_way_to_ask(
    table: SampleTable, variants: Mapping[str, Sequence[Variant]]
) -> dict[str, tuple[Difficulty]]:
    """Signal -> how it is told by the paraphrase that orders the items best by their mean score.

    A signal that says the same of all items is left out. ``table`` has the answers too.
    """
    success = np.mean([rows.score.mean(axis=1) for rows in table.variants.values()], axis=0)
    easier = success >= np.median(success)
    if easier.all():
        easier = success > np.median(success)
    evaluator = Evaluator(table, Permutations(1, shuffled=False))
    found: dict[str, tuple[Difficulty]] = {}
    for kind, paraphrases in variants.items():
        ways = [Difficulty(kind, (), Probe((variant,), ASK_SAMPLES)) for variant in paraphrases]
        values = [np.nan_to_num(evaluator.signal(way), neginf=-1e9) for way in ways]
        tells = [
            (area if (area := auroc(v, easier)) == area else 0.5) if len(np.unique(v)) > 1 else 0.0
            for v in values
        ]
        if max(tells, default=0.0) > 0:
            found[kind] = (ways[int(np.argmax(tells))],)
    return found


def asked_of(ready: Mapping[str, Sequence[Difficulty]]) -> dict[Variant, int]:
    """Variant -> samples an item that these ways to tell ask for, beside any answers."""
    return {
        variant: way.probe.samples
        for kind, ways in ready.items()
        if kind in asking((kind,))
        for way in ways
        if way.probe
        for variant in way.probe.variants
    }


def watched(ready: Mapping[str, Sequence[Difficulty]]) -> tuple[Variant, ...]:
    """Variants of answers whose first samples a fitted signal sees, which must stay in the race."""
    return tuple(
        dict.fromkeys(
            variant
            for kind, ways in ready.items()
            if not asking((kind,))
            for way in ways
            if way.probe
            for variant in way.probe.variants
        )
    )


def fit_signals(
    problem: TierProblem, samples: Samples, direct: Variant, think: Variant
) -> dict[str, tuple[SignalFit, ...]]:
    """Fitted signal of the space -> how it could be fitted, on samples bought for this alone.

    ``think`` is compared with ``direct``. None where the space names no fitted signal, the train
    split is small, or thinking pays always or never.
    """
    size = problem.search_size
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
