"""Policies judged on stored draws, vectorised: equal to ``replay``, a thousand times as fast.

What costs time is how a strategy goes through the draws of a recipe's arms; that is computed once
for each distinct (arms, prefill, behaviour) and kept. A policy is then a choice between such
components by the bucket of each row.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.episode import strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.closed_forms import expected
from tierwise.evaluation.dealt import ArmRows, Dealt, Floats
from tierwise.evaluation.limits import may_bind
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.orders import Orders
from tierwise.evaluation.paths import path
from tierwise.evaluation.replay import replay
from tierwise.evaluation.signals import signal_rows
from tierwise.evaluation.table import SampleTable
from tierwise.recipe import Arm, Difficulty, Policy, Recipe
from tierwise.strategies import Strategy, Vote


class Rows(NamedTuple):
    """A measure of each (item, order), item-major; NaN where the draws do not support it."""

    score: Floats
    usd: Floats
    draws: Floats
    rounds: Floats


@dataclass(frozen=True)
class Evaluation:
    """What a policy does on each item, as the mean over orders; all arrays are (n_items,).

    ``shares`` are the buckets' shares of the (item, order) pairs.
    """

    score: Floats
    usd: Floats
    draws: Floats
    rounds: Floats
    shares: tuple[float, ...]

    @property
    def mean_score(self) -> float:
        """Mean over items; NaN where an item is not supported."""
        return float(self.score.mean())

    @property
    def mean_usd(self) -> float:
        """Dollars an item."""
        return float(self.usd.mean())


class Evaluator:
    """Judges policies on one table, under one set of orders."""

    def __init__(
        self, table: SampleTable, orders: Orders | None = None, *, cache_bytes: int = 150_000_000
    ) -> None:
        self.table = table
        self.orders = orders or Orders()
        self.n_rows = table.n_items * self.orders.n
        self._arms: dict[Arm, ArmRows] = {}
        self._dealt: Cache[Dealt] = Cache(cache_bytes // 3)
        self._components: Cache[Rows] = Cache(cache_bytes)
        self._means: Cache[Rows] = Cache(cache_bytes // 10)
        self._signals: Cache[Floats] = Cache(cache_bytes // 5)

    def evaluate(self, policy: Policy) -> Evaluation:
        """Score, dollars, draws and rounds of each item under ``policy``."""
        strategies = strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            return self._mean(self._replayed(policy, strategies), self._rows_share(policy))
        if policy.difficulty.probe is None:
            return self._by_item(policy, strategies)
        return self._mean(self.rows(policy, strategies), self._rows_share(policy))

    def rows(self, policy: Policy, strategies: tuple[Strategy, ...] | None = None) -> Rows:
        """The same for each (item, order), without closed forms."""
        strategies = strategies or strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            return self._replayed(policy, strategies)
        components = [
            self._component(recipe, strategy, policy.difficulty)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        bucket = self.bucket_rows(policy.difficulty)
        total = [_select(bucket, [c[i] for c in components]) for i in range(4)]
        probe = policy.difficulty.probe
        if probe:
            arm = self._arm(probe.arm)
            if probe.draws > arm.depth:
                return Rows(*(np.full(self.n_rows, np.nan) for _ in range(4)))
            prompt = arm.prompt_usd[0] if arm.takes_n else arm.prompt_paid[probe.draws]
            total[1] = total[1] + prompt + arm.completion_paid[probe.draws]
            total[2] = total[2] + probe.draws
            total[3] = total[3] + 1
        return Rows(*total)

    def signal(self, difficulty: Difficulty) -> Floats:
        """The difficulty signal of each row, (n_items * n_orders,)."""
        key = (difficulty.signal, difficulty.probe)
        arm = self._arm(difficulty.probe.arm) if difficulty.probe else None
        return self._signals.get(
            key, lambda: signal_rows(difficulty, self.table, self.orders.n, arm)
        )

    def bucket_rows(self, difficulty: Difficulty) -> npt.NDArray[np.intp]:
        """Index of the bucket of each row, 0 the easiest."""
        if not difficulty.thresholds:
            return np.zeros(self.n_rows, dtype=np.intp)
        values = self.signal(difficulty)
        cuts = np.array(difficulty.thresholds)
        bucket: npt.NDArray[np.intp] = (values[:, None] < cuts).sum(axis=1)
        return bucket

    def _rows_share(self, policy: Policy) -> tuple[float, ...]:
        bucket = self.bucket_rows(policy.difficulty)
        counts = np.bincount(bucket, minlength=len(policy.buckets))
        return tuple(float(c) / len(bucket) for c in counts)

    def _mean(self, rows: Rows, shares: tuple[float, ...]) -> Evaluation:
        score, usd, draws, rounds = (v.reshape(-1, self.orders.n).mean(axis=1) for v in rows)
        return Evaluation(score, usd, draws, rounds, shares)

    def _by_item(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Evaluation:
        means = [
            self._component_mean(recipe, strategy)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        if len(means) == 1:
            return Evaluation(*means[0], (1.0,))
        bucket = self.bucket_rows(policy.difficulty)[:: self.orders.n]
        score, usd, draws, rounds = (_select(bucket, [m[i] for m in means]) for i in range(4))
        counts = np.bincount(bucket, minlength=len(means))
        shares = tuple(float(c) / len(bucket) for c in counts)
        return Evaluation(score, usd, draws, rounds, shares)

    def _component_mean(self, recipe: Recipe, strategy: Strategy) -> Rows:
        key = (recipe.arms, _behaviour(strategy))

        def compute() -> Rows:
            exact = expected(strategy, [self.table.arms[a] for a in self._known(recipe.arms)])
            if exact is not None:
                return Rows(*exact)
            rows = self._component(recipe, strategy, Difficulty())
            return Rows(*(v.reshape(-1, self.orders.n).mean(axis=1) for v in rows))

        return self._means.get(key, compute)

    def _component(self, recipe: Recipe, strategy: Strategy, difficulty: Difficulty) -> Rows:
        probe = difficulty.probe
        reused = probe.draws if probe and probe.arm in recipe.arms else 0
        prefilled = recipe.arms.index(probe.arm) if probe and reused else 0
        dealing = (recipe.arms, prefilled, reused)
        key = (*dealing, _behaviour(strategy))

        def deal() -> Dealt:
            arms = [self._arm(a) for a in recipe.arms]
            return Dealt(arms, prefilled, reused)

        def compute() -> Rows:
            return self._walk(recipe, strategy, difficulty, self._dealt.get(dealing, deal))

        return self._components.get(key, compute)

    def _walk(
        self, recipe: Recipe, strategy: Strategy, difficulty: Difficulty, dealt: Dealt
    ) -> Rows:
        if max(strategy.max_draws, dealt.prefill) > dealt.length:
            return Rows(*(np.full(self.n_rows, np.nan) for _ in range(4)))
        went = path(strategy, dealt)
        if went is None:
            return self._bucket_replayed(recipe, strategy, difficulty, dealt)
        all_rows = np.arange(self.n_rows)
        usd = went.prompt_usd + dealt.completion_usd(dealt.prefill, went.end, all_rows)
        score = dealt.score[went.chosen, all_rows]
        supported = np.where(dealt.complete, 0.0, np.nan)
        return Rows(
            score + supported,
            usd + supported,
            supported + (went.end - dealt.prefill),
            supported + went.rounds,
        )

    def _bucket_replayed(
        self, recipe: Recipe, strategy: Strategy, difficulty: Difficulty, dealt: Dealt
    ) -> Rows:
        """A strategy without a vectorised path: one bucket, replayed plainly."""
        probe = difficulty.probe if dealt.prefill else None
        kind = difficulty.signal if probe else "none"
        alone = Policy((recipe,), Difficulty(kind, (), probe))
        rows = self._replayed(alone, (strategy,))
        if probe is None:
            return rows
        arm = self._arm(probe.arm)
        prompt = arm.prompt_usd[0] if arm.takes_n else arm.prompt_paid[probe.draws]
        return Rows(
            rows.score,
            rows.usd - prompt - arm.completion_paid[probe.draws],
            rows.draws - probe.draws,
            rows.rounds - 1,
        )

    def _replayed(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Rows:
        measures = np.full((4, self.table.n_items, self.orders.n), np.nan)
        for item in range(self.table.n_items):
            for order in range(self.orders.n):
                try:
                    out = replay(
                        policy, self.table, item, self.orders, order, strategies=strategies
                    )
                except UnsupportedError:
                    continue
                score = self._score(out.index, out.arms, item, order)
                measures[:, item, order] = score, out.usd, len(out.draws), len(out.rounds)
        return Rows(*measures.reshape(4, -1))

    def _score(self, index: int | None, arms: tuple[Arm, ...], item: int, order: int) -> float:
        if index is None:
            return 0.0
        arm = arms[index]
        position = arms[:index].count(arm)
        return float(self._arm(arm).score[position, item * self.orders.n + order])

    def _arm(self, arm: Arm) -> ArmRows:
        if arm not in self._arms:
            self._arms[arm] = ArmRows(self.table.arms[self._known((arm,))[0]], self.orders)
        return self._arms[arm]

    def _known(self, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        for arm in arms:
            if arm not in self.table.arms:
                raise UnsupportedError(f"no draws of {arm.label} are stored")
        return arms


def _behaviour(strategy: Strategy) -> Hashable:
    return strategy.behaviour() if isinstance(strategy, Vote) else (strategy,)


def _select(bucket: npt.NDArray[np.intp], values: list[Floats]) -> Floats:
    chosen = values[-1]
    for b in range(len(values) - 2, -1, -1):
        chosen = np.where(bucket == b, values[b], chosen)
    return chosen
