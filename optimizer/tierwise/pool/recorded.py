"""A recording as a table: what evaluation reads, without a store and without a call."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation.table import (
    ABSTAINED,
    Codes,
    ElectedScores,
    SampleTable,
    VariantTable,
    elected_scores,
    encode_answers,
)
from tierwise.llm.recorded import RecordedSample, Recording
from tierwise.schema import Price, Tier, Variant
from tierwise.stats.intervals import Floats
from tierwise.tasks import AnswerSpec, Item, Metric, parts_of, verified

INVALID = "[invalid]"
"""What published recordings write where no answer could be read: an abstention."""

_VERIFIERS = ("verifier_score", "mean_logprob", "confidence")


def recorded_table(
    recording: Recording,
    tier: Tier,
    items: Sequence[Item],
    answer: AnswerSpec,
    *,
    metric: Metric | None = None,
    variants: Sequence[Variant] | None = None,
    verifiers: Sequence[str] = (),
    others: Mapping[str, tuple[Recording, Tier]] | None = None,
) -> SampleTable:
    """The recorded samples of ``variants`` (all of them) on ``items``, at the tier's prices.

    A variant that names another tier is looked up in ``others``, at that tier's prices.

    Column d is the recorded sample d; one that is not recorded, or failed, has NaN for score,
    dollars and seconds. The recording's own answers are taken where it has them, else those in the
    text. ``metric`` None is the metric ``recorded``: the recording's own score. The verifiers
    ``verifier_score``, ``mean_logprob`` and ``confidence`` are there where some sample has them,
    and those of ``verifiers``, which score the recorded answers.

    Raises:
        UnsupportedError: the metric is ``recorded`` and a sample has no score, or a variant is not
            recorded at all.
    """
    chosen = tuple(recording.variants) if variants is None else tuple(variants)
    of = {variant: (others or {}).get(variant.tier or "", (recording, tier)) for variant in chosen}
    grids = {variant: _grid(of[variant][0], variant, items) for variant in chosen}
    objects = () if metric is None else tuple(elected_scores(answer, metric, items))
    codes = [
        encode_answers(
            [[_answer(sample, answer) for sample in grids[variant][i]] for variant in chosen]
        )
        for i in range(len(items))
    ]
    tables = {
        variant: _variant_table(
            grids[variant],
            [row[k] for row in codes],
            _scores(grids[variant], items, answer, metric, variant),
            of[variant][1].price,
            _verified(grids[variant], items, answer, verifiers),
            takes_n=of[variant][1].takes_n,
            fields=_fields(grids[variant], answer, objects),
            parts=_parts(grids[variant], items, answer, metric, variant),
        )
        for k, variant in enumerate(chosen)
    }
    ids, inputs = tuple(i.id for i in items), tuple(i.inputs for i in items)
    return SampleTable(ids, inputs, tables, objects=objects)


_Grid = list[list[RecordedSample | None]]


def _grid(recording: Recording, variant: Variant, items: Sequence[Item]) -> _Grid:
    variant = variant._replace(tier=None)
    if variant not in recording.samples:
        known = ", ".join(a.label for a in recording.samples)
        raise UnsupportedError(f"{variant.label} is not recorded; recorded: {known}")
    by_item = recording.samples[variant]
    n_samples = max((max(by_item[i.id]) + 1 for i in items if i.id in by_item), default=0)
    return [[by_item.get(item.id, {}).get(d) for d in range(n_samples)] for item in items]


def _answer(sample: RecordedSample | None, spec: AnswerSpec) -> str | None:
    if sample is None or sample.error is not None:
        return None
    if not sample.answered:
        return spec.extract(sample.text)
    if sample.answer is None or sample.answer == INVALID:
        return None
    return spec.read(sample.answer)


def _scores(
    grid: _Grid, items: Sequence[Item], spec: AnswerSpec, metric: Metric | None, variant: Variant
) -> Floats:
    def score(sample: RecordedSample, item: Item) -> float:
        if metric is not None:
            return metric(_answer(sample, spec), item)
        if sample.score is None:
            raise UnsupportedError(
                f"the metric is 'recorded', but a sample of {variant.label} on item {item.id!r} "
                "carries no score"
            )
        return sample.score

    values = np.full((len(grid), len(grid[0]) if grid else 0), np.nan)
    for i, (row, item) in enumerate(zip(grid, items, strict=True)):
        for d, sample in enumerate(row):
            if sample is not None and sample.error is None:
                values[i, d] = score(sample, item)
    return values


def _parts(
    grid: _Grid, items: Sequence[Item], spec: AnswerSpec, metric: Metric | None, variant: Variant
) -> Floats | None:
    """(n_items, n_samples, n_parts) of a weighted metric."""
    parts = () if metric is None else parts_of(metric)
    of_each = [_scores(grid, items, spec, part.metric, variant) for part in parts]
    return np.stack(of_each, axis=-1) if of_each else None


def _fields(grid: _Grid, spec: AnswerSpec, objects: Sequence[ElectedScores]) -> Codes | None:
    """Codes of the fields that are voted on, (n_items, n_samples, n_fields)."""
    if not objects:
        return None
    none = (ABSTAINED,) * len(spec.ballots)
    codes = [
        [
            of.encode(values) if (values := spec.values(_answer(sample, spec))) else none
            for sample in row
        ]
        for row, of in zip(grid, objects, strict=True)
    ]
    shape = len(grid), len(grid[0]) if grid else 0, len(none)
    return np.array(codes, dtype=np.int16).reshape(shape)


def _verified(
    grid: _Grid, items: Sequence[Item], spec: AnswerSpec, names: Sequence[str]
) -> dict[str, Floats]:
    """The verifiers' scores, NaN where there is no sample."""
    values = {name: np.full((len(grid), len(grid[0]) if grid else 0), np.nan) for name in names}
    for i, (row, item) in enumerate(zip(grid, items, strict=True)):
        for d, sample in enumerate(row):
            if sample is not None and sample.error is None:
                found = verified(names, item.inputs, sample.text, _answer(sample, spec))
                for name, score in found.items():
                    values[name][i, d] = score
    return values


def _variant_table(
    grid: _Grid,
    codes: list[list[int]],
    scores: Floats,
    price: Price,
    verified: Mapping[str, Floats],
    *,
    takes_n: bool,
    fields: Codes | None,
    parts: Floats | None,
) -> VariantTable:
    def column(value: Callable[[RecordedSample], float | None]) -> Floats:
        found = [
            [
                None if sample is None or sample.error is not None else value(sample)
                for sample in row
            ]
            for row in grid
        ]
        return np.array(found, dtype=np.float64).reshape(scores.shape)  # None becomes NaN

    verifiers: Mapping[str, Floats] = {
        name: column(operator.attrgetter(name)) for name in _VERIFIERS
    }
    return VariantTable(
        answers=np.array(codes, dtype=np.int16).reshape(scores.shape),
        score=scores,
        prompt_usd=column(lambda d: price.prompt_usd(d.prompt_tokens)),
        completion_usd=column(
            lambda d: price.completion_usd(d.completion_tokens, prompt_tokens=d.prompt_tokens)
        ),
        latency_s=column(lambda d: d.latency_s),
        scores={
            name: values
            for name, values in (*verifiers.items(), *verified.items())
            if not np.isnan(values).all()
        },
        takes_n=takes_n,
        fields=fields,
        parts=parts,
    )
