"""Expectations over all orders at once, where there is a closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.evaluation.table import ABSTAINED, ArmTable, Floats
from tierwise.stats.estimators import best_of_n_score
from tierwise.strategies import BestOfN, Single, Strategy

Expected = tuple[Floats, Floats, Floats, Floats]
"""Score, dollars, draws and rounds of each item."""


def expected(strategy: Strategy, arms: Sequence[ArmTable]) -> Expected | None:
    """Exact (score, usd, draws, rounds) of each item, or None where there is no closed form."""
    if len(arms) != 1:
        return None
    arm = arms[0]
    if isinstance(strategy, Single):
        return _cost(arm, 1, np.where(arm.complete, arm.score.mean(axis=1), np.nan))
    if isinstance(strategy, BestOfN):
        unscored = np.full(arm.score.shape, np.nan)
        score = best_of_n_score(
            arm.score, arm.scores.get(strategy.verifier, unscored), strategy.draws,
            abstained=arm.answers == ABSTAINED,
        )  # fmt: skip
        return _cost(arm, strategy.draws, score)
    return None


def _cost(arm: ArmTable, n: int, score: Floats) -> Expected:
    if n > arm.depth:
        unsupported = np.full(len(score), np.nan)
        return score, unsupported, unsupported, unsupported
    supported = np.where(arm.complete, 0.0, np.nan)
    calls = 1 if arm.takes_n else n
    usd = calls * arm.prompt_usd.mean(axis=1) + n * arm.completion_usd.mean(axis=1) + supported
    return score, usd, n + supported, 1.0 + supported
