"""Expectations over all orders at once, where there is a closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.evaluation.table import ABSTAINED, Floats, VariantTable
from tierwise.stats.estimators import best_of_n_score
from tierwise.strategies import BestOfN, Single, Strategy

Expected = tuple[Floats, Floats, Floats, Floats]
"""Score, dollars, samples and rounds of each item."""


def expected(strategy: Strategy, variants: Sequence[VariantTable]) -> Expected | None:
    """Exact (score, usd, samples, rounds) of each item, or None where there is no closed form."""
    if len(variants) != 1:
        return None
    variant = variants[0]
    if isinstance(strategy, Single):
        return _cost(variant, 1, np.where(variant.complete, variant.score.mean(axis=1), np.nan))
    if isinstance(strategy, BestOfN):
        unscored = np.full(variant.score.shape, np.nan)
        score = best_of_n_score(
            variant.score,
            variant.scores.get(strategy.verifier, unscored),
            strategy.samples,
            abstained=variant.answers == ABSTAINED,
        )
        return _cost(variant, strategy.samples, score)
    return None


def _cost(variant: VariantTable, n: int, score: Floats) -> Expected:
    if n > variant.n_samples:
        unsupported = np.full(len(score), np.nan)
        return score, unsupported, unsupported, unsupported
    supported = np.where(variant.complete, 0.0, np.nan)
    calls = 1 if variant.takes_n else n
    usd = (
        calls * variant.prompt_usd.mean(axis=1)
        + n * variant.completion_usd.mean(axis=1)
        + supported
    )
    return score, usd, n + supported, 1.0 + supported
