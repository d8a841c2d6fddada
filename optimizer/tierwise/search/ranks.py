"""Each candidate's rank at one sample against its rank in the strategy that will run it."""

from __future__ import annotations

import numpy as np

from tierwise.evaluation import Evaluator
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.result import RankRow, number
from tierwise.search.tier import TierResult

SINGLE = StrategySpec.of("single")


def ranks(found: TierResult) -> tuple[RankRow, ...]:
    """A row a variant of the last study, best in the chosen strategy first.

    Both scores are means over the same items and sample orders of the study. The strategy is that of
    the chosen policy's hardest bucket. Variants that were out of the race before the study come last,
    with their score at one sample in the screening and no rank.
    """
    strategy = found.points[found.chosen].policy.buckets[-1].strategy
    table, q = found.study_table, found.problem
    variants = tuple(table.variants)
    judge = q.evaluator(table)
    single, chosen = _scores(judge, variants, SINGLE), _scores(judge, variants, strategy)

    def origin(variant: Variant) -> str:
        return q.variants.prompts[variant.prompt].origin

    raced = [
        RankRow(
            variant=variant.label,
            origin=origin(variant),
            strategy=str(strategy),
            items=table.n_items,
            score_at_one_sample=float(single[i]),
            rank_at_one_sample=_rank(single, i),
            score_in_strategy=number(chosen[i]),
            rank_in_strategy=_rank(chosen, i),
        )
        for i, variant in enumerate(variants)
    ]
    raced.sort(key=lambda row: row.rank_in_strategy or len(raced) + 1)
    dropped = [
        RankRow(
            variant=variant.label,
            origin=origin(variant),
            strategy="out of the race",
            items=q.search_size.screen_items,
            score_at_one_sample=score,
            rank_at_one_sample=None,
            score_in_strategy=None,
            rank_in_strategy=None,
        )
        for variant, score, _ in found.screened
        if variant not in table.variants
    ]
    return (*raced, *dropped)


def _scores(judge: Evaluator, variants: tuple[Variant, ...], strategy: StrategySpec) -> np.ndarray:
    return np.array([judge.evaluate(uniform(variant, strategy)).mean_score for variant in variants])


def _rank(scores: np.ndarray, i: int) -> int | None:
    return None if np.isnan(scores[i]) else 1 + int((scores > scores[i]).sum())
