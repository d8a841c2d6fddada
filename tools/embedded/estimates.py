"""Accuracy of several draws from stored ones: random subsets of the draws at hand, per item."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SUBSETS = 20


class Arm(NamedTuple):
    """Draws of one prompt in one mode; arrays are (items, draws)."""

    right: NDArray[np.bool_]
    answers: list[list[str | None]]
    logprob: NDArray[np.float64]
    """Mean log-probability of the model's own tokens."""
    tokens: NDArray[np.int64]


def vote(arm: Arm, n: int) -> NDArray[np.float64]:
    """How often the plurality of ``n`` draws is right; the answer seen first wins a tie."""

    def pick(row: int, drawn: Sequence[int]) -> int | None:
        counts = Counter(a for i in drawn if (a := arm.answers[row][i]) is not None)
        return arm.answers[row].index(counts.most_common(1)[0][0]) if counts else None

    return _subsets(arm, n, pick)


def best_of(arm: Arm, n: int) -> NDArray[np.float64]:
    """How often the draw of the highest mean log-probability is right."""

    def pick(row: int, drawn: Sequence[int]) -> int | None:
        return max(drawn, key=lambda i: float(arm.logprob[row, i]))

    return _subsets(arm, n, pick)


def _subsets(
    arm: Arm, n: int, pick: Callable[[int, Sequence[int]], int | None]
) -> NDArray[np.float64]:
    items, draws = arm.right.shape
    rng = random.Random(0)
    rounds = SUBSETS if n < draws else 1
    wins = np.zeros(items)
    for row in range(items):
        for _ in range(rounds):
            chosen = pick(row, rng.sample(range(draws), n))
            wins[row] += 0.0 if chosen is None else float(arm.right[row, chosen])
    return wins / rounds


class Flip(NamedTuple):
    """The difference a - b at one draw and under a vote, each with its 95% half-width."""

    a: str
    b: str
    one: tuple[float, float]
    voted: tuple[float, float]


def flips(one: dict[str, NDArray[np.float64]], voted: dict[str, NDArray[np.float64]]) -> list[Flip]:
    """Pairs whose order turns under the vote, paired by item."""
    names = list(one)
    found = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            pair = [_difference(x[a], x[b]) for x in (one, voted)]
            if pair[0][0] * pair[1][0] < 0:
                found.append(Flip(a, b, pair[0], pair[1]))
    return found


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    gap = a - b
    return float(gap.mean()), float(1.96 * gap.std(ddof=1) / np.sqrt(len(gap)))
