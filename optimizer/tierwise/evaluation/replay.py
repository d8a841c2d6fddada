"""The plain evaluation: an episode over stored samples, one item and one permutation at a time.

This is the contract that the vectorised path (``evaluator``) must equal to the last choice.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tierwise.episode import Outcome, Sampled, episode, strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.measures import Evaluation
from tierwise.evaluation.permutations import STORED, Permutations
from tierwise.evaluation.table import SampleTable, VariantTable
from tierwise.schema import Policy, SampleBill, Variant
from tierwise.strategies import Sample, Strategy


class Replayed(NamedTuple):
    """An episode over stored samples, and in which column of its variant's table each sample is."""

    outcome: Outcome
    columns: tuple[int, ...]

    def score(self, table: SampleTable, item: int) -> float:
        """The metric of the answer that was returned; 0 where there is none.

        NaN of an object that votes put together where the metric is not at hand.
        """
        index = self.outcome.index
        if index is None:
            return 0.0
        if codes := tuple(map(int, self.outcome.elected)):
            return table.objects[item].score(codes)
        return float(table.of(self.outcome.variants[index]).score[item, self.columns[index]])

    def parts(self, table: SampleTable, item: int) -> list[float]:
        """The parts of that metric; none where it has none."""
        index, n = self.outcome.index, table.n_parts
        if index is None:
            return [0.0] * n
        if codes := tuple(map(int, self.outcome.elected)):
            return list(table.objects[item].scores(codes)[1:]) or [math.nan] * n
        parts = table.of(self.outcome.variants[index]).parts
        return [] if parts is None else parts[item, self.columns[index]].tolist()


def replay_item(
    policy: Policy,
    table: SampleTable,
    item: int,
    permutations: Permutations = STORED,
    order: int = 0,
) -> Outcome:
    """The episode of one item under one permutation of its samples.

    Raises:
        UnsupportedError: the episode asks for a sample or a variant that the table does not have.
    """
    return replay_columns(policy, table, item, permutations, order).outcome


def replay_columns(
    policy: Policy,
    table: SampleTable,
    item: int,
    permutations: Permutations = STORED,
    order: int = 0,
    *,
    strategies: Sequence[Strategy] | None = None,
) -> Replayed:
    """``replay_item``, with the place of each sample in the table."""
    rounds = episode(policy, strategies or strategies_of(policy), table.inputs[item])
    taken: dict[Variant, int] = {}
    columns: list[int] = []
    try:
        round_ = next(rounds)
        while True:
            sampled = []
            for variant, parent in zip(round_.variants, round_.parents, strict=True):
                if parent is None:
                    position = taken.get(variant, 0)
                    taken[variant] = position + 1
                    column = column_of(table, item, permutations, order, variant, position)
                else:
                    column = columns[parent]
                columns.append(column)
                rows = _rows_with(table, item, variant, column)
                call = variant if parent is None else (variant, parent)
                sampled.append(_sample(rows, (item, column), call, round_.timeout_s))
            round_ = rounds.send(sampled)
    except StopIteration as end:
        return Replayed(end.value, tuple(columns))


def replay_parts(policy: Policy, table: SampleTable) -> list[float]:
    """The mean of each part of a weighted metric over the items that ``policy`` answers, as
    ``replay_table`` does; none where the metric has no parts."""
    strategies, rows = strategies_of(policy), []
    for item in range(table.n_items):
        with contextlib.suppress(UnsupportedError):
            went = replay_columns(policy, table, item, strategies=strategies)
            rows.append(went.parts(table, item))
    return np.mean(rows, axis=0).tolist() if rows and rows[0] else []


def replay_table(policy: Policy, table: SampleTable) -> Evaluation:
    """``policy`` on every item in stored order, as serving would have answered it.

    One episode an item needs no sample that it does not ask for, so that a table may hold of each
    item just what its policies asked for. An item with a sample missing has NaN.
    """
    strategies = strategies_of(policy)
    measures = np.full((4, table.n_items), np.nan)
    buckets = np.zeros(len(policy.buckets))
    for item in range(table.n_items):
        try:
            found = replay_columns(policy, table, item, strategies=strategies)
        except UnsupportedError:
            continue
        outcome = found.outcome
        buckets[outcome.bucket] += 1
        measures[:, item] = (
            found.score(table, item),
            outcome.usd,
            len(outcome.samples),
            len(outcome.rounds),
        )
    return Evaluation.of(measures, tuple((buckets / max(buckets.sum(), 1)).tolist()))


def samples_asked(
    policy: Policy, table: SampleTable, item: int, strategies: Sequence[Strategy]
) -> tuple[Mapping[Variant, int], bool]:
    """Samples of each variant that an episode asks for in stored order, and whether it ended.

    It goes as far as the table has samples, and the round that it stops at is counted. For policies
    whose samples follow no other.
    """
    rounds, asked = episode(policy, strategies, table.inputs[item]), Counter[Variant]()
    try:
        round_ = next(rounds)
        while True:
            places = []
            for variant in round_.variants:
                places.append((variant, asked[variant]))
                asked[variant] += 1
            if not all(_stored(table, item, *place) for place in places):
                return asked, False
            round_ = rounds.send(
                [
                    _sample(table.of(variant), (item, column), variant, round_.timeout_s)
                    for variant, column in places
                ]
            )
    except StopIteration:
        return asked, True


def _stored(table: SampleTable, item: int, variant: Variant, column: int) -> bool:
    rows = table.variants.get(variant) or table.nodes.get(variant)
    return rows is not None and column < rows.n_samples and not np.isnan(rows.score[item, column])


def column_of(
    table: SampleTable,
    item: int,
    permutations: Permutations,
    order: int,
    variant: Variant,
    position: int,
) -> int:
    """Column of the sample that is a variant's ``position``-th under this permutation."""
    rows = table.of(variant)
    n_samples = rows.n_samples
    if position >= n_samples:
        raise UnsupportedError(
            f"{variant.label} has {n_samples} samples an item, {position + 1} were asked"
        )
    column = int(permutations.columns(table.n_items, n_samples)[item, order, position])
    _rows_with(table, item, variant, column)
    return column


def _rows_with(table: SampleTable, item: int, variant: Variant, column: int) -> VariantTable:
    rows = table.of(variant)
    if column >= rows.n_samples or np.isnan(rows.score[item, column]):
        raise UnsupportedError(f"sample {column} of {variant.label} is missing for item {item}")
    return rows


def _sample(
    rows: VariantTable, at: tuple[int, int], call: object, timeout_s: float | None
) -> Sampled:
    bill = SampleBill(
        call, float(rows.prompt_usd[at]), float(rows.completion_usd[at]), rows.takes_n
    )
    latency_s = float(rows.latency_s[at])
    if timeout_s is not None and latency_s > timeout_s:
        # It was sent and is billed, but came too late.
        return Sampled(Sample(None, failed=True), bill, timeout_s)
    if rows.failed is not None and rows.failed[at]:
        return Sampled(Sample(None, failed=True), bill, latency_s)
    return Sampled(rows.sample(*at), bill, latency_s)
