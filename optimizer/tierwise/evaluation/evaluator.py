"""Policies judged on stored samples, vectorised: equal to ``replay``, a thousand times as fast.

What costs time is how a strategy walks through the samples of a recipe's variants; that is done once for
each distinct (variants, prefill, behaviour) and kept. A policy is then a choice between such components
by the bucket of each row.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from tierwise.episode import strategies_of
from tierwise.evaluation.closed_forms import expected
from tierwise.evaluation.limits import may_bind
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.measures import Evaluation, Measures, Rows, select
from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.signals import signal_rows
from tierwise.evaluation.table import SampleTable
from tierwise.evaluation.variant_rows import Floats
from tierwise.evaluation.walks import Walks
from tierwise.schema import Difficulty, Policy, Probe, Recipe
from tierwise.strategies import PLAIN, Strategy, Vote, paths_of

Mask = npt.NDArray[np.bool_]


class Evaluator:
    """Judges policies on one table, under one set of orders.

    ``exact=False`` leaves closed forms out. Where policies are compared that do nearly the same,
    the noise of the orders must be common to both, or be in neither.
    """

    def __init__(
        self,
        table: SampleTable,
        permutations: Permutations | None = None,
        *,
        exact: bool = True,
        cache_bytes: int = 400_000_000,
    ) -> None:
        self.table, self.exact = table, exact
        self.permutations = permutations or Permutations()
        self.n_rows = table.n_items * self.permutations.n
        self._ones = np.ones(self.permutations.n, dtype=np.float32)
        self._walks = Walks(table, self.permutations, cache_bytes)
        self._components: Cache[Measures] = Cache(cache_bytes // 4)
        self._means: Cache[Floats] = Cache(cache_bytes // 4)
        self._signals: Cache[Floats] = Cache(cache_bytes // 8)

    def evaluate(self, policy: Policy) -> Evaluation:
        """Score, dollars, samples and rounds of each item under ``policy``."""
        strategies = strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            replayed = np.array(self._walks.replayed_rows(policy, strategies), dtype=np.float32)
            shares = _shares(self._harder(policy.difficulty), self.n_rows)
            return Evaluation.of(self._over_permutations(replayed), shares)
        if policy.difficulty.probe is None:
            return self._by_item(policy, strategies)
        return self._by_row(policy, strategies, policy.difficulty.probe)

    def rows(self, policy: Policy, strategies: tuple[Strategy, ...] | None = None) -> Rows:
        """The same for each (item, order), without closed forms."""
        strategies = strategies or strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            return self._walks.replayed_rows(policy, strategies)
        components = self._components_of(policy, strategies)
        total = select(self.bucket_rows(policy.difficulty), components)
        probe = policy.difficulty.probe
        if probe:
            if not self._walks.has(probe):
                return Rows(*self._walks.unsupported().astype(np.float64))
            total[1] += self._walks.probe_usd(probe)
            total[2] += probe.samples
            total[3] += 1
        return Rows(*total)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._walks.forget()
        for cache in (self._components, self._means, self._signals):
            cache.clear()

    def signal(self, difficulty: Difficulty) -> Floats:
        """The difficulty signal of each row, (n_items * n_orders,)."""
        key = difficulty.uncut
        variants = (
            [self._walks.variant(variant) for variant in difficulty.probe.variants]
            if difficulty.probe
            else []
        )
        return self._signals.get(
            key, lambda: signal_rows(difficulty, self.table, self.permutations.n, variants)
        )

    def bucket_rows(self, difficulty: Difficulty) -> npt.NDArray[np.intp]:
        """Index of the bucket of each row, 0 the easiest."""
        return _bucket(self._harder(difficulty), self.n_rows)

    def _harder(self, difficulty: Difficulty, step: int = 1) -> list[Mask]:
        """For each threshold which of every ``step``-th row lie below it: each lies within the one
        before."""
        if not difficulty.thresholds:
            return []
        values = self.signal(difficulty)[::step]
        return [values < cut for cut in difficulty.thresholds]

    def _over_permutations(self, measures: Measures) -> Floats:
        """(4, n_items): means over the orders."""
        sums = measures.reshape(-1, self.permutations.n) @ self._ones  # the fastest way to sum
        return sums.reshape(4, -1).astype(np.float64) / self.permutations.n

    def _by_item(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Evaluation:
        means = [
            self._component_mean(recipe, strategy)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        if len(means) == 1:
            return Evaluation.of(means[0], (1.0,))
        # Nothing is sampled to tell these buckets, so that all orders of an item are in one.
        harder, n_items = self._harder(policy.difficulty, self.permutations.n), self.table.n_items
        return Evaluation.of(select(_bucket(harder, n_items), means), _shares(harder, n_items))

    def _by_row(self, policy: Policy, strategies: tuple[Strategy, ...], probe: Probe) -> Evaluation:
        """Where the bucket hangs on samples: each order of an item may be in another."""
        harder = self._harder(policy.difficulty)
        components = self._components_of(policy, strategies)
        if harder:
            means = self._over_buckets(components, harder)
            if np.isnan(means).any():  # not a number times 0 is not 0
                chosen = select(_bucket(harder, self.n_rows), components)
                means = self._over_permutations(chosen.astype(np.float32))
        else:
            means = self._over_permutations(components[0])
        return Evaluation.of(means + self._probe_mean(probe), _shares(harder, self.n_rows))

    def _over_buckets(self, components: list[Measures], harder: list[Mask]) -> Floats:
        """(4, n_items): means over the orders of each row's own bucket."""
        inside = [~harder[0], *(a & ~b for a, b in itertools.pairwise(harder)), harder[-1]]
        total = components[0] * inside[0].astype(np.float32)
        for rows, mask in zip(components[1:], inside[1:], strict=True):
            total += rows * mask.astype(np.float32)
        return self._over_permutations(total)

    def _probe_mean(self, probe: Probe) -> Floats:
        """(4, n_items): what asking the probe adds to the measures; NaN where it cannot be."""

        def compute() -> Floats:
            if not self._walks.has(probe):
                return self._over_permutations(self._walks.unsupported())
            added = np.zeros((4, self.n_rows), dtype=np.float32)
            added[1], added[2], added[3] = self._walks.probe_usd(probe), probe.samples, 1
            return self._over_permutations(added)

        return self._means.get(probe, compute)

    def _components_of(self, policy: Policy, strategies: tuple[Strategy, ...]) -> list[Measures]:
        return [
            self._component(recipe, strategy, policy.difficulty.probe)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]

    def _component_mean(self, recipe: Recipe, strategy: Strategy) -> Floats:
        def compute() -> Floats:
            if self.exact and paths_of(strategy) == PLAIN:
                exact = expected(strategy, [self.table.of(variant) for variant in recipe.variants])
                if exact is not None:
                    return np.array(exact)
            return self._over_permutations(self._walks.walk(recipe, strategy, None))

        return self._means.get((recipe.variants, _behaviour(strategy)), compute)

    def _component(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """(4, n_rows): the measures of one bucket's recipe, without the probe."""
        reused = probe.among(recipe.variants) if probe else None
        key = (recipe.variants, reused, _behaviour(strategy))
        return self._components.get(key, lambda: self._walks.walk(recipe, strategy, reused))


def _behaviour(strategy: Strategy) -> Hashable:
    return strategy.behaviour() if isinstance(strategy, Vote) else (strategy,)


def _bucket(harder: list[Mask], n: int) -> npt.NDArray[np.intp]:
    """(n,): index of the bucket, 0 the easiest."""
    return np.sum(harder, axis=0, dtype=np.intp) if harder else np.zeros(n, dtype=np.intp)


def _shares(harder: list[Mask], n: int) -> tuple[float, ...]:
    at_least = [n, *(int(np.count_nonzero(rows)) for rows in harder), 0]
    return tuple((a - b) / n for a, b in itertools.pairwise(at_least))
