"""A recording as a table: what evaluation reads, without a store and without a call."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation.table import ArmTable, Floats, SampleTable, encode_answers
from tierwise.llm.recorded import Recording
from tierwise.llm.recording_file import RecordedDraw
from tierwise.recipe import Arm, Price, Tier
from tierwise.task import NORMALISERS, AnswerSpec, Item, Metric, verified

INVALID = "[invalid]"
"""What published recordings write where no answer could be read: an abstention."""

VERIFIERS = ("verifier_score", "mean_logprob", "confidence")


def recorded_table(
    recording: Recording,
    tier: Tier,
    items: Sequence[Item],
    answer: AnswerSpec,
    *,
    metric: Metric | None = None,
    arms: Sequence[Arm] | None = None,
    verifiers: Sequence[str] = (),
    others: Mapping[str, tuple[Recording, Tier]] | None = None,
) -> SampleTable:
    """The recorded draws of ``arms`` (all of them) on ``items``, at the tier's prices.

    An arm that names another tier is looked up in ``others``, at that tier's prices.

    Column d is the recorded draw d; one that is not recorded, or failed, has NaN for score, dollars
    and seconds. The recording's own answers are taken where it has them, else those in the text.
    ``metric`` None is the metric ``recorded``: the recording's own score. The verifiers
    ``verifier_score``, ``mean_logprob`` and ``confidence`` are there where some draw has them, and
    those of ``verifiers``, which score the recorded answers.

    Raises:
        UnsupportedError: the metric is ``recorded`` and a draw has no score, or an arm is not
            recorded at all.
    """
    chosen = tuple(recording.arms) if arms is None else tuple(arms)
    of = {arm: (others or {}).get(arm.tier or "", (recording, tier)) for arm in chosen}
    grids = {arm: _grid(of[arm][0], arm, items) for arm in chosen}
    codes = [
        encode_answers([[_answer(draw, answer) for draw in grids[arm][i]] for arm in chosen])
        for i in range(len(items))
    ]
    tables = {
        arm: _arm_table(
            grids[arm], [row[k] for row in codes], _scores(grids[arm], items, answer, metric, arm),
            of[arm][1].price, _verified(grids[arm], items, answer, verifiers),
            takes_n=of[arm][1].takes_n,
        )
        for k, arm in enumerate(chosen)
    }  # fmt: skip
    return SampleTable(tuple(i.id for i in items), tuple(i.inputs for i in items), tables)


_Grid = list[list[RecordedDraw | None]]


def _grid(recording: Recording, arm: Arm, items: Sequence[Item]) -> _Grid:
    arm = arm._replace(tier=None)
    if arm not in recording.draws:
        known = ", ".join(a.label for a in recording.draws)
        raise UnsupportedError(f"{arm.label} is not recorded; recorded: {known}")
    by_item = recording.draws[arm]
    depth = max((max(by_item[i.id]) + 1 for i in items if i.id in by_item), default=0)
    return [[by_item.get(item.id, {}).get(d) for d in range(depth)] for item in items]


def _answer(draw: RecordedDraw | None, spec: AnswerSpec) -> str | None:
    if draw is None or draw.error is not None:
        return None
    if not draw.answered:
        return spec.extract(draw.text)
    if draw.answer is None or draw.answer == INVALID:
        return None
    return NORMALISERS[spec.normalise](draw.answer)


def _scores(
    grid: _Grid, items: Sequence[Item], spec: AnswerSpec, metric: Metric | None, arm: Arm
) -> Floats:
    def score(draw: RecordedDraw, item: Item) -> float:
        if metric is not None:
            return metric(_answer(draw, spec), item)
        if draw.score is None:
            raise UnsupportedError(
                f"the metric is 'recorded', but a draw of {arm.label} on item {item.id!r} "
                "carries no score"
            )
        return draw.score

    values = np.full((len(grid), len(grid[0]) if grid else 0), np.nan)
    for i, (row, item) in enumerate(zip(grid, items, strict=True)):
        for d, draw in enumerate(row):
            if draw is not None and draw.error is None:
                values[i, d] = score(draw, item)
    return values


def _verified(
    grid: _Grid, items: Sequence[Item], spec: AnswerSpec, names: Sequence[str]
) -> dict[str, Floats]:
    """The verifiers' scores, NaN where there is no draw."""
    values = {name: np.full((len(grid), len(grid[0]) if grid else 0), np.nan) for name in names}
    for i, (row, item) in enumerate(zip(grid, items, strict=True)):
        for d, draw in enumerate(row):
            if draw is not None and draw.error is None:
                found = verified(names, item.inputs, draw.text, _answer(draw, spec))
                for name, score in found.items():
                    values[name][i, d] = score
    return values


def _arm_table(
    grid: _Grid, codes: list[list[int]], scores: Floats, price: Price,
    verified: Mapping[str, Floats], *, takes_n: bool,
) -> ArmTable:  # fmt: skip
    def column(value: Callable[[RecordedDraw], float | None]) -> Floats:
        found = [
            [None if draw is None or draw.error is not None else value(draw) for draw in row]
            for row in grid
        ]
        return np.array(found, dtype=np.float64).reshape(scores.shape)  # None becomes NaN

    verifiers: Mapping[str, Floats] = {
        name: column(operator.attrgetter(name)) for name in VERIFIERS
    }
    return ArmTable(
        answers=np.array(codes, dtype=np.int16).reshape(scores.shape),
        score=scores,
        prompt_usd=column(lambda d: price.prompt_usd(d.prompt_tokens)),
        completion_usd=column(lambda d: price.completion_usd(d.completion_tokens)),
        latency_s=column(lambda d: d.latency_s),
        scores={
            name: values
            for name, values in (*verifiers.items(), *verified.items())
            if not np.isnan(values).all()
        },
        takes_n=takes_n,
    )
