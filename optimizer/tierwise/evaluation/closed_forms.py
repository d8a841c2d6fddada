"""Expectations over all orders at once, where there is a closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.evaluation.table import ABSTAINED, ArmTable, Floats
from tierwise.strategies import BestOfN, Single, Strategy

Expected = tuple[Floats, Floats, Floats, Floats]
"""Score, dollars, draws and rounds of each item."""


def expected(strategy: Strategy, arms: Sequence[ArmTable]) -> Expected | None:
    """Exact (score, usd, draws, rounds) of each item, or None where there is no closed form.

    One draw is the mean over all draws. Best-of-n picks rank j (0 the best) of N stored draws with
    probability C(N-1-j, n-1) / C(N, n); draws of equal rank share theirs.
    """
    if len(arms) != 1:
        return None
    arm = arms[0]
    if isinstance(strategy, Single):
        return _cost(arm, 1, np.where(arm.complete, arm.score.mean(axis=1), np.nan))
    if isinstance(strategy, BestOfN):
        return _cost(arm, strategy.draws, best_of_n(arm, strategy.draws, strategy.verifier))
    return None


def best_of_n(arm: ArmTable, n: int, verifier: str) -> Floats:
    """(n_items,): expected metric of the verifier's pick among ``n`` of the stored draws."""
    depth = arm.depth
    if n > depth:
        return np.full(arm.answers.shape[0], np.nan)
    score = arm.scores.get(verifier, np.full(arm.score.shape, np.nan))
    known = np.where(np.isnan(score), -np.finfo(np.float64).max, score)
    silent = arm.answers == ABSTAINED
    order = np.lexsort((-known, silent), axis=1)
    keys = np.take_along_axis(known, order, axis=1), np.take_along_axis(silent, order, axis=1)
    gold = np.take_along_axis(arm.score, order, axis=1)
    weight = np.tile(_rank_weights(depth, n), (len(gold), 1))
    tied = (keys[0][:, 1:] == keys[0][:, :-1]) & (keys[1][:, 1:] == keys[1][:, :-1])
    for i in np.flatnonzero(tied.any(axis=1)):
        groups = np.concatenate([[0], np.cumsum(~tied[i])])
        weight[i] = (np.bincount(groups, weight[i]) / np.bincount(groups))[groups]
    return np.where(arm.complete, (weight * gold).sum(axis=1), np.nan)


def _rank_weights(depth: int, n: int) -> Floats:
    """Probability that rank j of ``depth`` is the best among ``n`` drawn without replacement."""
    weights = np.zeros(depth)
    weights[0] = n / depth
    for j in range(1, depth - n + 1):
        weights[j] = weights[j - 1] * (depth - n - j + 1) / (depth - j)
    return weights


def _cost(arm: ArmTable, n: int, score: Floats) -> Expected:
    if n > arm.depth:
        unsupported = np.full(len(score), np.nan)
        return score, unsupported, unsupported, unsupported
    supported = np.where(arm.complete, 0.0, np.nan)
    calls = 1 if arm.takes_n else n
    usd = calls * arm.prompt_usd.mean(axis=1) + n * arm.completion_usd.mean(axis=1) + supported
    return score, usd, n + supported, 1.0 + supported
