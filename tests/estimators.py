"""Closed forms that tests and benchmarks compare with: a plurality vote, and McNemar's test."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def majority_at_n(answers: Sequence[object], scores: Sequence[float], n: int) -> float:
    """The mean score of a vote over ``n`` of the ``answers``, over all subsets.

    Answers that tie are equally likely to win. None is an abstention, which takes part in the n
    and has no vote; a vote in which everyone abstained scores 0.
    """

    def vote(subset: tuple[int, ...]) -> float:
        voted = [answers[i] for i in subset if answers[i] is not None]
        most = max((voted.count(answer) for answer in voted), default=0)
        top = {answers[i]: scores[i] for i in subset if voted.count(answers[i]) == most > 0}
        return float(np.mean(list(top.values()))) if top else 0.0

    return float(np.mean([vote(s) for s in itertools.combinations(range(len(answers)), n)]))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test from the discordant pairs; 1 where there are none."""
    n, k = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 0
    for i in range(k + 1):
        tail += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * tail / (1 << n))
