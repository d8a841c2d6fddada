"""Screen: every arm on few items at five draws or more, since ranks flip under voting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierwise.evaluation import Evaluator, Orders, SampleTable
from tierwise.pool import Cap
from tierwise.recipe import Arm, StrategySpec, Tier, uniform
from tierwise.search.asking import DRAWS as ASK_DRAWS
from tierwise.search.asking import told
from tierwise.search.buying import Draws
from tierwise.search.depths import most_draws, nodes_an_item, with_nodes
from tierwise.search.effort import DrawCost, StageDraws, affordable
from tierwise.search.question import Question
from tierwise.search.sensitivity import pss_of

SCREENED_CHAINS = 1
"""Chains of search an item, where a space searches: what search is worth shows in one."""


@dataclass(frozen=True)
class Screened:
    """Every arm on the screening items.

    Attributes:
        question: with an effort that the budget affords at the measured cost, and the arms' pss.
        table: the draws.
        single: (arm, score, dollars) at one draw.
        depth: the most draws of an arm that the study may look at.
        cost: what a draw turned out to use.
    """

    question: Question
    table: SampleTable
    single: Sequence[tuple[Arm, float, float]]
    depth: int
    cost: DrawCost


def screen(question: Question, draws: Draws) -> Screened:
    """Buy the first draws of every arm.

    Raises:
        BudgetError: the budget does not last to the end of the smallest search.
    """
    q, name, arms = question, question.tier.name, question.arms.candidates
    depth = min(most_draws(q.space), max(draws.most(arm) for arm in arms))
    effort = q.effort.within(q.task, q.space.signals)
    nodes = nodes_an_item(q.space, depth)
    first = nodes_an_item(q.space, depth, SCREENED_CHAINS)
    wordings = q.arms.drawn_beside
    assumed = replace(q.assumed, nodes=nodes, screened=first, wordings=wordings)
    effort = affordable(effort, len(arms), depth, assumed, q.cap, tier=name)
    items = q.items("tune")[: effort.screen_items]
    screen_depth = min(effort.screen_draws, max(depth, 1))
    asked = dict.fromkeys((arm for of in q.arms.asking.values() for arm in of), ASK_DRAWS)
    plain = with_nodes(arms, screen_depth, q.space, SCREENED_CHAINS)
    table = draws.table(items, {**plain, **asked}, "screen")
    measured = replace(
        _measured_cost(table, q.tier), nodes=nodes, screened=first, wordings=wordings
    )
    left = _left(q.cap, effort.stages(len(arms), depth, nodes, first)[0], measured)
    effort = affordable(effort, len(arms), depth, measured, left, tier=name, done=("screen",))
    q = replace(q, effort=effort, pss=pss_of(table, q.families), told=told(table, q.arms.asking))
    return Screened(q, table, _at_one_draw(table, arms), depth, measured)


def _left(cap: Cap, bought: StageDraws, cost: DrawCost) -> Cap:
    """What the screening left of ``cap``: counted, not read from the books, in which a resumed run
    finds more than its screening."""
    draws = bought.draws * cost.worded(bought.stage)
    calls = bought.requests * cost.worded(bought.stage) if cost.takes_n else draws
    return Cap(
        None if cap.usd is None else cap.usd - draws * cost.usd,
        None if cap.calls is None else cap.calls - calls,
        None if cap.tokens is None else cap.tokens - int(draws * cost.tokens),
    )


def _at_one_draw(table: SampleTable, arms: Sequence[Arm]) -> list[tuple[Arm, float, float]]:
    single = Evaluator(table, Orders(1))
    judged = [single.evaluate(uniform(arm, StrategySpec.of("single"))) for arm in arms]
    return [(arm, e.mean_score, e.mean_usd) for arm, e in zip(arms, judged, strict=True)]


def _measured_cost(table: SampleTable, tier: Tier) -> DrawCost:
    """Means over the screened arms; prompts as if each draw was a call where ``n`` is not taken."""
    usd, tokens = [], []
    for rows in table.arms.values():
        prompt = float(rows.prompt_usd.mean()) / (rows.depth if rows.takes_n else 1)
        completion = float(rows.completion_usd.mean())
        usd.append(prompt + completion)
        each = tier.price.completion_usd(1.0), tier.price.prompt_usd(1.0)
        tokens.append(
            (completion / each[0] if each[0] else 0) + (prompt / each[1] if each[1] else 0)
        )
    return DrawCost(float(np.mean(usd)), float(np.mean(tokens)), tier.takes_n)
