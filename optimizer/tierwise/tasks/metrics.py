"""Metrics: they see the gold answer. A verifier or a difficulty signal never gets an ``Item``."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.errors import UnsupportedError
from tierwise.tasks import latex
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.item import Item

Metric = Callable[[str | None, Item], float]
"""(canonical answer or None, item) -> score in [0, 1]."""

RECORDED = "recorded"
"""The score that a recording carries; a table of recorded samples takes it from there."""


def exact_match(spec: AnswerSpec) -> Metric:
    """1 where the canonical answer equals the canonical target; an abstention scores 0."""

    def score(answer: str | None, item: Item) -> float:
        return float(answer is not None and answer == spec.canonical(item.target))

    return score


def math_equal(spec: AnswerSpec) -> Metric:
    """1 where the answer is the target mathematically, by math-verify; an abstention scores 0.

    Raises:
        InputError: math-verify is not installed (``tierwise[math]``).
    """
    latex.needed()

    def score(answer: str | None, item: Item) -> float:
        return float(answer is not None and latex.equal(spec.canonical(item.target), answer))

    return score


def recorded(spec: AnswerSpec) -> Metric:
    """No score of a new answer: a recording's own scores are all that there is."""

    def score(answer: str | None, item: Item) -> float:
        raise UnsupportedError(
            "the metric is 'recorded', the score that a recording carries: only recorded/MODEL "
            "tiers can be tuned with it; give the task a metric that scores new answers"
        )

    return score


METRICS: dict[str, Callable[[AnswerSpec], Metric]] = {
    "exact_match": exact_match,
    "math_equal": math_equal,
    RECORDED: recorded,
}
