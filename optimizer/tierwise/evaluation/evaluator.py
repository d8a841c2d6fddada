"""Policies judged on stored draws, vectorised: equal to ``replay``, a thousand times as fast.

What costs time is how a strategy goes through the draws of a recipe's arms; that is computed once
for each distinct (arms, prefill, behaviour) and kept. A policy is then a choice between such
components by the bucket of each row.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from tierwise.episode import strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.chains import ChainRows, chain_rows
from tierwise.evaluation.closed_forms import expected
from tierwise.evaluation.dealt import ArmRows, Dealt, Floats, Measure, pick
from tierwise.evaluation.limits import may_bind
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.measures import Evaluation, Measures, Rows, select
from tierwise.evaluation.orders import Orders
from tierwise.evaluation.paths import Path, chained, path
from tierwise.evaluation.replay import replayed
from tierwise.evaluation.signals import signal_rows
from tierwise.evaluation.standings import votes
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Arm, Difficulty, Policy, Probe, Recipe
from tierwise.strategies import PLAIN, Retrieval, Strategy, Vote, deal, paths_of

Mask = npt.NDArray[np.bool_]
PROBING = "probe_agreement"


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
        self._ones = np.ones(self.orders.n, dtype=np.float32)
        self._arms: dict[Arm, ArmRows] = {}
        self._chained: dict[Hashable, ChainRows] = {}
        self._dealt: Cache[Dealt] = Cache(cache_bytes)
        self._components: Cache[Measures] = Cache(cache_bytes // 4)
        self._means: Cache[Floats] = Cache(cache_bytes // 4)
        self._signals: Cache[Floats] = Cache(cache_bytes // 8)

    def evaluate(self, policy: Policy) -> Evaluation:
        """Score, dollars, draws and rounds of each item under ``policy``."""
        strategies = strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            replayed = np.array(self._replayed(policy, strategies), dtype=np.float32)
            return Evaluation.of(self._over_orders(replayed), self._shares(policy.difficulty))
        if policy.difficulty.probe is None:
            return self._by_item(policy, strategies)
        return self._by_row(policy, strategies, policy.difficulty.probe)

    def rows(self, policy: Policy, strategies: tuple[Strategy, ...] | None = None) -> Rows:
        """The same for each (item, order), without closed forms."""
        strategies = strategies or strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            return self._replayed(policy, strategies)
        components = self._components_of(policy, strategies)
        total = select(self.bucket_rows(policy.difficulty), components)
        probe = policy.difficulty.probe
        if probe:
            if not self._has(probe):
                return Rows(*self._unsupported().astype(np.float64))
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

    def judged_by(self, arm: Arm) -> tuple[Arm, ...]:
        """The arms whose draws a recipe of ``arm`` is judged by."""
        return (arm,)

    def signal(self, difficulty: Difficulty) -> Floats:
        """The difficulty signal of each row, (n_items * n_orders,)."""
        key = difficulty.uncut
        arms = [self._arm(arm) for arm in difficulty.probe.arms] if difficulty.probe else []
        return self._signals.get(
            key, lambda: signal_rows(difficulty, self.table, self.orders.n, arms)
        )

    def bucket_rows(self, difficulty: Difficulty) -> npt.NDArray[np.intp]:
        """Index of the bucket of each row, 0 the easiest."""
        bucket = np.zeros(self.n_rows, dtype=np.intp)
        for harder in self._harder(difficulty):
            bucket += harder
        return bucket

    def _harder(self, difficulty: Difficulty) -> list[Mask]:
        """For each threshold the rows below it: each lies within the one before."""
        if not difficulty.thresholds:
            return []
        values = self.signal(difficulty)
        return [values < cut for cut in difficulty.thresholds]

    def _shares(self, difficulty: Difficulty) -> tuple[float, ...]:
        harder = [np.count_nonzero(rows) for rows in self._harder(difficulty)]
        return tuple(-np.diff([self.n_rows, *harder, 0]) / self.n_rows)

    def _over_orders(self, measures: Measures) -> Floats:
        """(4, n_items): means over the orders."""
        sums = measures.reshape(-1, self.orders.n) @ self._ones  # the fastest way to sum
        return sums.reshape(4, -1).astype(np.float64) / self.orders.n

    def _by_item(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Evaluation:
        means = [
            self._component_mean(recipe, strategy)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        if len(means) == 1:
            return Evaluation.of(means[0], (1.0,))
        bucket = self.bucket_rows(policy.difficulty)[:: self.orders.n]
        return Evaluation.of(select(bucket, means), self._shares(policy.difficulty))

    def _by_row(self, policy: Policy, strategies: tuple[Strategy, ...], probe: Probe) -> Evaluation:
        """Where the bucket hangs on draws: each order of an item may be in another."""
        if not self._has(probe):
            return Evaluation.of(
                self._over_orders(self._unsupported()), self._shares(policy.difficulty)
            )
        components = self._components_of(policy, strategies)
        harder = self._harder(policy.difficulty)
        if harder:
            means = self._over_buckets(components, harder)
            if np.isnan(means).any():  # not a number times 0 is not 0
                chosen = select(self.bucket_rows(policy.difficulty), components)
                means = self._over_orders(chosen.astype(np.float32))
        else:
            means = self._over_orders(components[0])
        means = means + self._probe_mean(probe)
        return Evaluation.of(means, self._shares(policy.difficulty))

    def _over_buckets(self, components: list[Measures], harder: list[Mask]) -> Floats:
        """(4, n_items): means over the orders of each row's own bucket."""
        inside = [~harder[0], *(a & ~b for a, b in itertools.pairwise(harder)), harder[-1]]
        shape = self.table.n_items, self.orders.n
        sums = sum(
            np.einsum("mio,io->mi", rows.reshape(4, *shape), mask.astype(np.float32).reshape(shape))
            for rows, mask in zip(components, inside, strict=True)
        )
        means: Floats = sums / float(self.orders.n)
        return means

    def _probe_mean(self, probe: Probe) -> Floats:
        """(4, n_items): what asking the probe adds to the measures."""

        def compute() -> Floats:
            added = np.zeros((4, self.n_rows), dtype=np.float32)
            added[1], added[2], added[3] = self._probe_usd(probe), probe.draws, 1
            return self._over_orders(added)

        return self._means.get(probe, compute)

    def _components_of(self, policy: Policy, strategies: tuple[Strategy, ...]) -> list[Measures]:
        return [
            self._component(recipe, strategy, policy.difficulty.probe)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]

    def _component_mean(self, recipe: Recipe, strategy: Strategy) -> Floats:
        def compute() -> Floats:
            if self.exact and paths_of(strategy) == PLAIN:
                exact = expected(strategy, [self.table.of(arm) for arm in recipe.arms])
                if exact is not None:
                    return np.array(exact)
            return self._over_orders(self._walk(recipe, strategy, None))

        return self._means.get((recipe.arms, _behaviour(strategy)), compute)

    def _component(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """(4, n_rows): the measures of one bucket's recipe, without the probe."""
        reused = probe.among(recipe.arms) if probe else None
        key = (recipe.arms, reused, _behaviour(strategy))
        return self._components.get(key, lambda: self._walk(recipe, strategy, reused))

    def _walk(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
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
        return self._measured(dealt, went, seen, max(strategy.max_draws, seen))

    def _measured(self, dealt: Dealt, went: Path, seen: int, upto: int) -> Measures:
        """Of a path over the first ``upto`` draws at most, after ``seen`` that are paid for."""
        rows = np.empty((4, self.n_rows), dtype=np.float32)
        rows[0] = dealt.score_at(went.chosen, upto)
        np.add(went.prompt_usd, dealt.completion_usd(seen, went.end, upto), out=rows[1])
        rows[2] = went.end - seen
        rows[3] = went.rounds
        if not dealt.whole:
            rows[:, ~dealt.complete] = np.nan
        return rows

    def _walk_chains(self, recipe: Recipe, strategy: Retrieval, probe: Probe | None) -> Measures:
        """The same for a vote of chains, which a probe's plain answers take no part in."""
        nodes = [arm._replace(path=path) for arm in recipe.arms for path in paths_of(strategy)]
        if any(node not in self.table.everything for node in nodes):
            return self._unsupported()
        arms = [self._chains(arm, strategy) for arm in recipe.arms]
        dealt = self._dealt.get(
            (recipe.arms, strategy.chain), lambda: Dealt([arm.rows for arm in arms])
        )
        if strategy.draws > dealt.length:
            return self._unsupported()
        queries, forced = (
            dealt.merge([getattr(arm, name) for arm in arms], dealt.length)
            for name in ("queries", "forced")
        )
        went = chained(strategy.vote, strategy.draws, dealt, queries, forced)
        rows = self._measured(dealt, went, 0, strategy.draws)
        if probe is not None:
            said = pick(dealt.answers(strategy.draws), went.chosen, dealt.all_rows) != ABSTAINED
            rows[0] = np.where(said, rows[0], self._probed(recipe, probe, rows[0]))
        taken = np.cumsum(queries + forced, axis=0, dtype=np.int16)
        rows[2] = pick(taken, np.broadcast_to(went.end, self.n_rows) - 1, dealt.all_rows)
        if not dealt.whole:
            rows[:, ~dealt.complete] = np.nan
        return rows

    def _probed(self, recipe: Recipe, probe: Probe, silent: Measure) -> Measure:
        """The score of the plurality of a probe's draws; ``silent`` where these say nothing too."""
        first = tuple(recipe.arms.index(arm) for arm in probe.dealt)
        dealt, n = Dealt([self._arm(arm) for arm in recipe.arms], first), len(first)
        chosen = votes(dealt, n).winner[n - 1]
        said = pick(dealt.answers(n), chosen, dealt.all_rows) != ABSTAINED
        return np.where(said, dealt.score_at(chosen, n), silent)

    def _chains(self, arm: Arm, strategy: Retrieval) -> ChainRows:
        key = arm, strategy.chain
        if key not in self._chained:
            self._chained[key] = chain_rows(self.table, arm, strategy, self.orders)
        return self._chained[key]

    def _walk_replayed(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """The same for a strategy without a vectorised path."""
        alone = Policy((recipe,), Difficulty(PROBING if probe else "none", (), probe))
        rows = np.array(self._replayed(alone, (strategy,)))
        if probe:
            rows[1] -= self._probe_usd(probe)
            rows[2] -= probe.draws
            rows[3] -= 1
        return rows.astype(np.float32)

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

    def _unsupported(self) -> Measures:
        return np.full((4, self.n_rows), np.nan, dtype=np.float32)

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
