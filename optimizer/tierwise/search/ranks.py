"""Each candidate's rank at one draw against its rank in the strategy that will run it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tierwise.evaluation import Evaluator
from tierwise.recipe import Arm, StrategySpec, uniform
from tierwise.search.found import Found

SINGLE = StrategySpec.of("single")


def ranks(found: Found) -> list[dict[str, Any]]:
    """A row an arm of the last study, best in the chosen strategy first.

    Both scores are means over the same items and draw orders of the study. The strategy is that of
    the chosen policy's hardest bucket. Arms that were out of the race before the study come last,
    with their score at one draw in the screening and no rank.
    """
    strategy = found.points[found.chosen].policy.buckets[-1].strategy
    table, q = found.study_table, found.question
    arms = tuple(table.arms)
    judge = q.evaluator(table)
    single, chosen = _scores(judge, arms, SINGLE), _scores(judge, arms, strategy)

    def named(arm: Arm, how: str, items: int) -> dict[str, Any]:
        origin = q.arms.prompts[arm.prompt].origin
        return {"arm": arm.label, "origin": origin, "strategy": how, "items": items}

    rows = [
        {
            **named(arm, str(strategy), table.n_items),
            "score_at_one_draw": float(single[i]), "rank_at_one_draw": _rank(single, i),
            "score_in_strategy": _number(chosen[i]), "rank_in_strategy": _rank(chosen, i),
        }
        for i, arm in enumerate(arms)
    ]  # fmt: skip
    rows.sort(key=lambda row: row["rank_in_strategy"] or len(rows) + 1)
    return rows + [
        {
            **named(arm, "out of the race", q.effort.screen_items),
            "score_at_one_draw": score, "rank_at_one_draw": None,
            "score_in_strategy": None, "rank_in_strategy": None,
        }
        for arm, score, _ in found.screened if arm not in table.arms
    ]  # fmt: skip


def _scores(judge: Evaluator, arms: tuple[Arm, ...], strategy: StrategySpec) -> np.ndarray:
    return np.array([judge.evaluate(uniform(arm, strategy)).mean_score for arm in arms])


def _rank(scores: np.ndarray, i: int) -> int | None:
    return None if np.isnan(scores[i]) else 1 + int((scores > scores[i]).sum())


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
