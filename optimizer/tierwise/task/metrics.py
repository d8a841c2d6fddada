"""Metrics: they see the gold answer. A verifier or a difficulty signal never gets an ``Item``."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.task.answers import AnswerSpec
from tierwise.task.item import Item

Metric = Callable[[str | None, Item], float]
"""(canonical answer or None, item) -> score in [0, 1]."""


def exact_match(spec: AnswerSpec) -> Metric:
    """1 where the canonical answer equals the canonical target; an abstention scores 0."""

    def score(answer: str | None, item: Item) -> float:
        return float(answer is not None and answer == spec.canonical(item.target))

    return score


METRICS: dict[str, Callable[[AnswerSpec], Metric]] = {"exact_match": exact_match}
