"""Policies judged on stored draws, vectorised: equal to ``replay``, a thousand times as fast.

What costs time is how a strategy goes through the draws of a recipe's arms; that is computed once
for each distinct (arms, prefill, behaviour) and kept. A policy is then a choice between such
components by the bucket of each row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.episode import strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.chains import chains
from tierwise.evaluation.closed_forms import expected
from tierwise.evaluation.dealt import ArmRows, Codes, Dealt, Floats, pick
from tierwise.evaluation.limits import may_bind
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.orders import Orders
from tierwise.evaluation.paths import chained, path, votes
from tierwise.evaluation.replay import replayed
from tierwise.evaluation.signals import signal_rows
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Arm, Difficulty, Policy, Probe, Recipe
from tierwise.strategies import PLAIN, Retrieval, Strategy, Vote, deal, paths_of

Measures = npt.NDArray[np.floating[Any]]
PROBING = "probe_agreement"


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


class _ChainRows(NamedTuple):
    """An arm's chains laid out by order, and the rounds that each takes, (depth, n_rows)."""

    rows: ArmRows
    queries: Codes
    forced: Codes


class Evaluator:
    """Judges policies on one table, under one set of orders.

    ``exact=False`` leaves closed forms out. Where policies are compared that do nearly the same,
    the noise of the orders must be common to both, or be in neither.
    """

    def __init__(
        self,
        table: SampleTable,
        orders: Orders | None = None,
        *,
        exact: bool = True,
        cache_bytes: int = 400_000_000,
    ) -> None:
        self.table, self.exact = table, exact
        self.orders = orders or Orders()
        self.n_rows = table.n_items * self.orders.n
        self._weights = np.full(self.orders.n, 1 / self.orders.n)
        self._arms: dict[Arm, ArmRows] = {}
        self._chained: dict[Hashable, _ChainRows] = {}
        self._dealt: Cache[Dealt] = Cache(cache_bytes // 2)
        self._components: Cache[Measures] = Cache(cache_bytes)
        self._means: Cache[Rows] = Cache(cache_bytes // 4)
        self._signals: Cache[Floats] = Cache(cache_bytes // 8)

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
        total = _select(self.bucket_rows(policy.difficulty), components)
        probe = policy.difficulty.probe
        if probe:
            if not self._has(probe):
                return self._unsupported()
            total[1] += self._probe_usd(probe)
            total[2] += probe.draws
            total[3] += 1
        return Rows(*total)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._arms.clear()
        self._chained.clear()
        for cache in (self._dealt, self._components, self._means, self._signals):
            cache.clear()

    def signal(self, difficulty: Difficulty) -> Floats:
        """The difficulty signal of each row, (n_items * n_orders,)."""
        key = difficulty.uncut
        arms = [self._arm(arm) for arm in difficulty.probe.arms] if difficulty.probe else []
        return self._signals.get(
            key, lambda: signal_rows(difficulty, self.table, self.orders.n, arms)
        )

    def bucket_rows(self, difficulty: Difficulty) -> npt.NDArray[np.intp]:
        """Index of the bucket of each row, 0 the easiest."""
        if not difficulty.thresholds:
            return np.zeros(self.n_rows, dtype=np.intp)
        values = self.signal(difficulty)
        bucket = np.zeros(self.n_rows, dtype=np.intp)
        for cut in difficulty.thresholds:
            bucket += values < cut
        return bucket

    def _rows_share(self, policy: Policy) -> tuple[float, ...]:
        bucket = self.bucket_rows(policy.difficulty)
        counts = np.bincount(bucket, minlength=len(policy.buckets))
        return tuple(float(c) / len(bucket) for c in counts)

    def _mean(self, rows: Rows, shares: tuple[float, ...]) -> Evaluation:
        score, usd, draws, rounds = (self._over_orders(values) for values in rows)
        return Evaluation(score, usd, draws, rounds, shares)

    def _over_orders(self, values: Floats) -> Floats:
        """(n_items,): the mean over orders, as a matrix product, which is the fastest way."""
        mean: Floats = values.reshape(-1, self.orders.n) @ self._weights
        return mean

    def _by_item(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Evaluation:
        means = [
            self._component_mean(recipe, strategy)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        if len(means) == 1:
            return Evaluation(*means[0], (1.0,))
        bucket = self.bucket_rows(policy.difficulty)[:: self.orders.n]
        score, usd, draws, rounds = _select(bucket, [np.array(m) for m in means])
        counts = np.bincount(bucket, minlength=len(means))
        shares = tuple(float(c) / len(bucket) for c in counts)
        return Evaluation(score, usd, draws, rounds, shares)

    def _component_mean(self, recipe: Recipe, strategy: Strategy) -> Rows:
        def compute() -> Rows:
            if self.exact and paths_of(strategy) == PLAIN:
                exact = expected(strategy, [self.table.of(arm) for arm in recipe.arms])
                if exact is not None:
                    return Rows(*exact)
            rows = self._walk(recipe, strategy, None)
            return Rows(*(self._over_orders(values) for values in rows))

        return self._means.get((recipe.arms, _behaviour(strategy)), compute)

    def _component(self, recipe: Recipe, strategy: Strategy, difficulty: Difficulty) -> Measures:
        """(4, n_rows): the measures of ``Rows`` for one bucket's recipe, without the probe."""
        probe = difficulty.probe.among(recipe.arms) if difficulty.probe else None
        key = (recipe.arms, probe, _behaviour(strategy))
        return self._components.get(
            key, lambda: np.array(self._walk(recipe, strategy, probe), dtype=np.float32)
        )

    def _walk(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Rows:
        """What a strategy does after ``probe``, whose draws are its first."""
        if isinstance(strategy, Retrieval):
            if strategy.rounds:
                return self._walk_chains(recipe, strategy, probe)
            strategy = strategy.vote
        if (paths := paths_of(strategy)) != PLAIN:
            nodes = [arm._replace(path=path) for arm in recipe.arms for path in paths]
            if any(node not in self.table.everything for node in nodes):
                return self._unsupported()
            return self._walk_replayed(recipe, strategy, probe)
        first = tuple(recipe.arms.index(arm) for arm in probe.dealt) if probe else ()
        seen = len(first)
        if first == tuple(deal([0] * len(recipe.arms), seen)):
            first = ()  # the probe's draws are those that would have been dealt anyway
        dealt = self._dealt.get(
            (recipe.arms, first), lambda: Dealt([self._arm(a) for a in recipe.arms], first)
        )
        if max(strategy.max_draws, seen) > dealt.length:
            return self._unsupported()
        went = path(strategy, dealt, seen)
        if went is None:
            return self._walk_replayed(recipe, strategy, probe)
        rows = np.empty((4, self.n_rows))
        rows[0] = dealt.score_at(went.chosen)
        np.add(went.prompt_usd, dealt.completion_usd(seen, went.end), out=rows[1])
        rows[2] = went.end - seen
        rows[3] = went.rounds
        if not dealt.complete.all():
            rows[:, ~dealt.complete] = np.nan
        return Rows(*rows)

    def _walk_chains(self, recipe: Recipe, strategy: Retrieval, probe: Probe | None) -> Rows:
        """The same for a vote of chains, which a probe's plain answers take no part in."""
        nodes = [arm._replace(path=path) for arm in recipe.arms for path in paths_of(strategy)]
        if any(node not in self.table.everything for node in nodes):
            return self._unsupported()
        arms = [self._chains(arm, strategy) for arm in recipe.arms]
        alone = strategy.rounds, strategy.passages, strategy.stop_when_stale
        dealt = self._dealt.get((recipe.arms, alone), lambda: Dealt([arm.rows for arm in arms]))
        if strategy.draws > dealt.length:
            return self._unsupported()
        queries, forced = (
            dealt.merge([getattr(arm, name) for arm in arms], dealt.length)
            for name in ("queries", "forced")
        )
        went = chained(strategy.vote, strategy.draws, dealt, queries, forced)
        rows = np.empty((4, self.n_rows))
        rows[0] = dealt.score_at(went.chosen)
        if probe is not None:
            said = pick(dealt.answers(dealt.length), went.chosen, dealt.all_rows) != ABSTAINED
            rows[0] = np.where(said, rows[0], self._probed(recipe, probe, rows[0]))
        np.add(went.prompt_usd, dealt.completion_usd(0, went.end), out=rows[1])
        taken = np.cumsum(queries + forced, axis=0, dtype=np.intp)
        rows[2] = pick(taken, np.broadcast_to(went.end, self.n_rows) - 1, dealt.all_rows)
        rows[3] = went.rounds
        if not dealt.complete.all():
            rows[:, ~dealt.complete] = np.nan
        return Rows(*rows)

    def _probed(self, recipe: Recipe, probe: Probe, silent: Floats) -> Floats:
        """The score of the plurality of a probe's draws; ``silent`` where these say nothing too."""
        first = tuple(recipe.arms.index(arm) for arm in probe.dealt)
        dealt = Dealt([self._arm(arm) for arm in recipe.arms], first)
        chosen = votes(dealt, len(first)).winner[len(first) - 1].astype(np.intp)
        said = pick(dealt.answers(len(first)), chosen, dealt.all_rows) != ABSTAINED
        return np.where(said, dealt.score_at(chosen), silent)

    def _chains(self, arm: Arm, strategy: Retrieval) -> _ChainRows:
        key = arm, strategy.rounds, strategy.passages, strategy.stop_when_stale
        if key not in self._chained:
            found = chains(self.table, arm, strategy)
            rows = ArmRows(found.table, self.orders)
            self._chained[key] = _ChainRows(
                rows, rows.lay(found.queries), rows.lay(found.forced.astype(np.int16))
            )
        return self._chained[key]

    def _walk_replayed(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Rows:
        """The same for a strategy without a vectorised path."""
        alone = Policy((recipe,), Difficulty(PROBING if probe else "none", (), probe))
        rows = self._replayed(alone, (strategy,))
        if probe is None:
            return rows
        usd = rows.usd - self._probe_usd(probe)
        return Rows(rows.score, usd, rows.draws - probe.draws, rows.rounds - 1)

    def _probe_usd(self, probe: Probe) -> Floats:
        usd = np.zeros(self.n_rows)
        for arm, n in Counter(probe.dealt).items():
            rows = self._arm(arm)
            usd += rows.prompt_usd[0] if rows.takes_n else rows.prompt_paid[n]
            usd += rows.completion_paid[n]
        return usd

    def _has(self, probe: Probe) -> bool:
        """Whether there are the draws of ``probe``."""
        return all(n <= self._arm(arm).depth for arm, n in Counter(probe.dealt).items())

    def _unsupported(self) -> Rows:
        return Rows(*np.full((4, self.n_rows), np.nan))

    def _replayed(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Rows:
        measures = np.full((4, self.table.n_items, self.orders.n), np.nan)
        for item in range(self.table.n_items):
            for order in range(self.orders.n):
                try:
                    went = replayed(
                        policy, self.table, item, self.orders, order, strategies=strategies
                    )
                except UnsupportedError:
                    continue
                out, score = went.outcome, went.score(self.table, item)
                measures[:, item, order] = score, out.usd, len(out.draws), len(out.rounds)
        return Rows(*measures.reshape(4, -1))

    def _arm(self, arm: Arm) -> ArmRows:
        if arm not in self._arms:
            self._arms[arm] = ArmRows(self.table.of(arm), self.orders)
        return self._arms[arm]


def _behaviour(strategy: Strategy) -> Hashable:
    return strategy.behaviour() if isinstance(strategy, Vote) else (strategy,)


def _select(bucket: npt.NDArray[np.intp], measures: list[Measures]) -> Floats:
    """(4, n): for each column the measures of its bucket, easiest first."""
    chosen = measures[0].astype(np.float64)
    for b, other in enumerate(measures[1:], start=1):
        np.copyto(chosen, other, where=bucket == b)
    return chosen
