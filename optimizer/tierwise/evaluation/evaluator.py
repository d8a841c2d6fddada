"""Policies judged on stored samples, vectorised: equal to ``replay``, a thousand times as fast.

What costs time is how a strategy goes through the samples of a recipe's variants; that is done once
for each distinct (variants, prefill, behaviour) and kept. A policy is then a choice between such
components by the bucket of each row.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.episode import strategies_of
from tierwise.errors import UnsupportedError
from tierwise.evaluation.interleaved import (
    Interleaved,
    Measure,
    ScoreBlock,
    VariantRows,
    small_uint,
)
from tierwise.evaluation.measures import (
    Evaluation,
    MeasureRows,
    Measures,
    expected_measures,
    rows_by_bucket,
    signal_rows,
)
from tierwise.evaluation.paths import (
    ChainRows,
    StrategyPath,
    chain_rows,
    chained_path,
    strategy_path,
)
from tierwise.evaluation.permutations import Blocks, Permutations
from tierwise.evaluation.replay import replay_columns
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.schema import Difficulty, Policy, Probe, Recipe, Variant
from tierwise.stats.intervals import Floats
from tierwise.strategies import (
    PLAIN_PATHS,
    Cascade,
    Retrieval,
    Strategy,
    Vote,
    interleave,
    paths_of,
)

_Mask = npt.NDArray[np.bool_]
_Value = TypeVar("_Value")
_PROBING = "probe_agreement"


class Evaluator:
    """Judges policies on one table, under one set of permutations.

    ``exact=False`` leaves closed forms out. Where policies are compared that do nearly the same,
    the noise of the permutations must be common to both, or be in neither.
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
        self._walks = StrategyWalks(table, self.permutations, cache_bytes)
        self._components: LRUCache[Measures] = LRUCache(cache_bytes // 4)
        self._means: LRUCache[Floats] = LRUCache(cache_bytes // 4)
        self._signals: LRUCache[Floats] = LRUCache(cache_bytes // 8)

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

    def rows(self, policy: Policy, strategies: tuple[Strategy, ...] | None = None) -> MeasureRows:
        """The same for each (item, permutation), without closed forms."""
        strategies = strategies or strategies_of(policy)
        if may_bind(policy, strategies, self.table):
            return self._walks.replayed_rows(policy, strategies)
        components = self._components_of(policy, strategies)
        total = rows_by_bucket(self.bucket_rows(policy.difficulty), components)
        probe = policy.difficulty.probe
        if probe:
            if not self._walks.has(probe):
                return MeasureRows(*self._walks.unsupported().astype(np.float64))
            total[1] += self._walks.probe_usd(probe)
            total[2] += probe.samples
            total[3] += 1
        return MeasureRows(*total)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._walks.forget()
        for cache in (self._components, self._means, self._signals):
            cache.clear()

    def signal(self, difficulty: Difficulty) -> Floats:
        """The difficulty signal of each row, (n_items * n_permutations,)."""
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

    def _harder(self, difficulty: Difficulty, step: int = 1) -> list[_Mask]:
        """For each threshold which of every ``step``-th row lie below it: each lies within the one
        before."""
        if not difficulty.thresholds:
            return []
        values = self.signal(difficulty)[::step]
        return [values < cut for cut in difficulty.thresholds]

    def _over_permutations(self, measures: Measures) -> Floats:
        """(4, n_items): means over the permutations."""
        sums = measures.reshape(-1, self.permutations.n) @ self._ones  # the fastest way to sum
        return sums.reshape(4, -1).astype(np.float64) / self.permutations.n

    def _by_item(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Evaluation:
        means = [
            self._component_mean(recipe, strategy)
            for recipe, strategy in zip(policy.buckets, strategies, strict=True)
        ]
        if len(means) == 1:
            return Evaluation.of(means[0], (1.0,))
        # Nothing is sampled to tell these buckets, so that all permutations of an item are in one.
        harder, n_items = self._harder(policy.difficulty, self.permutations.n), self.table.n_items
        return Evaluation.of(
            rows_by_bucket(_bucket(harder, n_items), means), _shares(harder, n_items)
        )

    def _by_row(self, policy: Policy, strategies: tuple[Strategy, ...], probe: Probe) -> Evaluation:
        """Where the bucket hangs on samples: each permutation of an item may be in another."""
        harder = self._harder(policy.difficulty)
        components = self._components_of(policy, strategies)
        if harder:
            means = self._over_buckets(components, harder)
            if np.isnan(means).any():  # not a number times 0 is not 0
                chosen = rows_by_bucket(_bucket(harder, self.n_rows), components)
                means = self._over_permutations(chosen.astype(np.float32))
        else:
            means = self._over_permutations(components[0])
        return Evaluation.of(means + self._probe_mean(probe), _shares(harder, self.n_rows))

    def _over_buckets(self, components: list[Measures], harder: list[_Mask]) -> Floats:
        """(4, n_items): means over the permutations of each row's own bucket."""
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
            if self.exact and paths_of(strategy) == PLAIN_PATHS:
                exact = expected_measures(
                    strategy, [self.table.of(variant) for variant in recipe.variants]
                )
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


def _bucket(harder: list[_Mask], n: int) -> npt.NDArray[np.intp]:
    """(n,): index of the bucket, 0 the easiest."""
    return np.sum(harder, axis=0, dtype=np.intp) if harder else np.zeros(n, dtype=np.intp)


def _shares(harder: list[_Mask], n: int) -> tuple[float, ...]:
    at_least = [n, *(int(np.count_nonzero(rows)) for rows in harder), 0]
    return tuple((a - b) / n for a, b in itertools.pairwise(at_least))


class StrategyWalks:
    """Strategies over a table's samples; keeps the samples as they are interleaved."""

    def __init__(self, table: SampleTable, permutations: Permutations, cache_bytes: int) -> None:
        self.table, self.permutations = table, permutations
        self.n_rows = table.n_items * permutations.n
        self._scores = ScoreBlock(self.n_rows)
        self._variants: dict[Variant, VariantRows] = {}
        self._chained: dict[Hashable, ChainRows] = {}
        self._standings: LRUCache[Standings] = LRUCache(cache_bytes)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._scores = ScoreBlock(self.n_rows)
        self._variants.clear()
        self._chained.clear()
        self._standings.clear()

    def walk(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """What a strategy does after ``probe``, whose samples are its first."""
        if isinstance(strategy, Retrieval):
            if strategy.rounds and not self.table.objects:
                return self._along_chains(recipe, strategy, probe)
            strategy = strategy if strategy.rounds else strategy.vote
        if (paths := paths_of(strategy)) != PLAIN_PATHS:
            nodes = [variant._replace(path=path) for variant in recipe.variants for path in paths]
            if any(node not in self.table.everything for node in nodes):
                return self.unsupported()
            return self._replay_alone(recipe, strategy, probe)
        first = (
            tuple(recipe.variants.index(variant) for variant in probe.interleaved) if probe else ()
        )
        seen = len(first)
        if isinstance(strategy, Cascade):
            if strategy.n_variants > len(recipe.variants):
                return self.unsupported()
            first += tuple(itertools.chain.from_iterable(strategy.schedule(first)))
        elif first == tuple(interleave([0] * len(recipe.variants), seen)):
            first = ()  # the probe's samples are those that would have been interleaved anyway
        standings = self._standings.get(
            (recipe.variants, first),
            lambda: Standings(Interleaved([self.variant(a) for a in recipe.variants], first)),
        )
        most = len(first) if isinstance(strategy, Cascade) else max(strategy.max_samples, seen)
        if most > standings.interleaved.length:
            return self.unsupported()
        went = strategy_path(strategy, standings, seen)
        if went is None:
            return self._replay_alone(recipe, strategy, probe)
        return self._measured(standings, went, seen, most)

    def _measured(self, standings: Standings, went: StrategyPath, seen: int, upto: int) -> Measures:
        """Of a path over the first ``upto`` samples at most, after ``seen`` that are paid for."""
        rows = np.empty((4, self.n_rows), dtype=np.float32)
        rows[0] = self._score_of(standings.interleaved, went, upto)
        rows[1] = went.usd
        rows[2] = went.end - seen
        rows[3] = went.rounds
        if not standings.interleaved.whole:
            rows[:, ~standings.interleaved.complete] = np.nan
        return rows

    def _score_of(self, interleaved: Interleaved, went: StrategyPath, upto: int) -> Measure:
        """(n_rows,): of the sample that has all that was elected, else of the object put together.

        As ``by_field._elected``, but for the place of the sample, which evaluation does not ask.
        """
        if len(went.chosen) == 1:
            return interleaved.score_at(went.chosen[0], upto)
        cast = [interleaved.cast(ballot, upto) for ballot in range(len(went.chosen))]
        values = [interleaved.pick(of, at) for of, at in zip(cast, went.chosen, strict=True)]
        place = np.full(interleaved.n_rows, upto, dtype=small_uint(upto))
        for t in reversed(range(upto)):
            has_all = np.logical_and.reduce(
                [of[t] == value for of, value in zip(cast, values, strict=True)]
            )
            place[has_all & (t < np.asarray(went.end))] = t
        alone = place == upto
        place[alone] = 0
        same = np.logical_and.reduce([at == went.chosen[0] for at in went.chosen])
        place[same] = went.chosen[0][same]
        score = interleaved.score_at(place, upto)
        rows = np.flatnonzero(alone & interleaved.complete)
        items = rows // self.permutations.n
        elected = np.stack([items, *(value[rows] for value in values)], axis=1)
        different, of_row = np.unique(elected, axis=0, return_inverse=True)
        objects = self.table.objects
        made = [objects[item].score(tuple(codes)) for item, *codes in different.tolist()]
        score[rows] = np.array(made, dtype=np.float32)[of_row]
        return score

    def _along_chains(self, recipe: Recipe, strategy: Retrieval, probe: Probe | None) -> Measures:
        """The same for a vote of chains, which a probe's plain answers take no part in."""
        nodes = [
            variant._replace(path=path)
            for variant in recipe.variants
            for path in paths_of(strategy)
        ]
        if any(node not in self.table.everything for node in nodes):
            return self.unsupported()
        variants = [self._chains(variant, strategy) for variant in recipe.variants]
        standings = self._standings.get(
            (recipe.variants, strategy.chain),
            lambda: Standings(Interleaved([variant.rows for variant in variants])),
        )
        interleaved = standings.interleaved
        if strategy.samples > interleaved.length:
            return self.unsupported()
        queries, forced = (
            interleaved.merge([getattr(variant, name) for variant in variants], interleaved.length)
            for name in ("queries", "forced")
        )
        went = chained_path(strategy.vote, strategy.samples, standings, queries, forced)
        rows = self._measured(standings, went, 0, strategy.samples)
        if probe is not None:
            said = (
                interleaved.pick(interleaved.answers(strategy.samples), went.chosen[0]) != ABSTAINED
            )
            rows[0] = np.where(said, rows[0], self._probed(recipe, probe, rows[0]))
        taken = np.cumsum(queries + forced, axis=0, dtype=np.int16)
        rows[2] = interleaved.pick(taken, np.broadcast_to(went.end, self.n_rows) - 1)
        if not interleaved.whole:
            rows[:, ~interleaved.complete] = np.nan
        broken = np.flatnonzero(self.table.unanswered(recipe.variants))
        if broken.size:  # a chain goes on from before the turn that failed
            alone = self._replay_alone(recipe, strategy, probe, broken)
            rows = np.where(np.isnan(alone[2]), rows, alone)
        return rows

    def _probed(self, recipe: Recipe, probe: Probe, silent: Measure) -> Measure:
        """The score of the plurality of a probe's samples; ``silent`` where all abstain."""
        first = tuple(recipe.variants.index(variant) for variant in probe.interleaved)
        standings = Standings(
            Interleaved([self.variant(variant) for variant in recipe.variants], first)
        )
        n, interleaved = len(first), standings.interleaved
        chosen = standings.votes(n).winner[n - 1]
        said = interleaved.pick(interleaved.answers(n), chosen) != ABSTAINED
        return np.where(said, interleaved.score_at(chosen, n), silent)

    def _chains(self, variant: Variant, strategy: Retrieval) -> ChainRows:
        key = variant, strategy.chain
        if key not in self._chained:
            self._chained[key] = chain_rows(
                self.table, variant, strategy, self.permutations, self._scores
            )
        return self._chained[key]

    def _replay_alone(
        self,
        recipe: Recipe,
        strategy: Strategy,
        probe: Probe | None,
        items: Iterable[int] | None = None,
    ) -> Measures:
        """The same for a strategy without a vectorised path; NaN for others than ``items``."""
        alone = Policy((recipe,), Difficulty(_PROBING if probe else "none", (), probe))
        rows = np.array(self.replayed_rows(alone, (strategy,), items))
        if probe:
            rows[1] -= self.probe_usd(probe)
            rows[2] -= probe.samples
            rows[3] -= 1
        return rows.astype(np.float32)

    def probe_usd(self, probe: Probe) -> Floats:
        """(n_rows,): dollars for the samples of ``probe``."""
        usd = np.zeros(self.n_rows)
        for variant, n in Counter(probe.interleaved).items():
            rows = self.variant(variant)
            usd += rows.prompt_usd.at(0) if rows.takes_n else rows.prompt_paid.at(n)
            usd += rows.completion_paid.at(n)
        return usd

    def has(self, probe: Probe) -> bool:
        """Whether there are the samples of ``probe``."""
        return all(
            n <= self.variant(variant).n_samples
            for variant, n in Counter(probe.interleaved).items()
        )

    def unsupported(self) -> Measures:
        """What the samples do not support: not a number."""
        return np.full((4, self.n_rows), np.nan, dtype=np.float32)

    def replayed_rows(
        self, policy: Policy, strategies: tuple[Strategy, ...], items: Iterable[int] | None = None
    ) -> MeasureRows:
        """Each row of ``policy`` by the plain replay: slow, and right for whatever there is."""
        measures = np.full((4, self.table.n_items, self.permutations.n), np.nan)
        orders = self.permutations
        if blocks := {block for s in strategies if (block := getattr(s, "block", 0))}:
            # Which samples are chosen among was settled when they were bought: no other order, and
            # no probe in front, is known.
            if len(policy.buckets) > 1 or policy.difficulty.probe is not None:
                return MeasureRows(*measures.reshape(4, -1))
            orders = Blocks(orders.n, size=blocks.pop())
        for item in range(self.table.n_items) if items is None else items:
            for order in range(self.permutations.n):
                try:
                    went = replay_columns(
                        policy, self.table, item, orders, order, strategies=strategies
                    )
                except UnsupportedError:
                    continue
                out, score = went.outcome, went.score(self.table, item)
                measures[:, item, order] = score, out.usd, len(out.samples), len(out.rounds)
        return MeasureRows(*measures.reshape(4, -1))

    def variant(self, variant: Variant) -> VariantRows:
        """The variant's samples laid out by permutation."""
        if variant not in self._variants:
            self._variants[variant] = VariantRows(
                self.table.of(variant), self.permutations, self._scores
            )
        return self._variants[variant]


def may_bind(policy: Policy, strategies: Sequence[Strategy], table: SampleTable) -> bool:
    """False where no limit can be reached, so that the vectorised path may leave them out."""
    limits, probe = policy.limits, policy.difficulty.probe
    most = max(s.max_samples for s in strategies) + (probe.samples if probe else 0)
    if limits.max_samples is not None and limits.max_samples < most:
        return True
    # Every round has at least one sample. The slowest of all first: mostly that settles it.
    slow = limits.timeout_s is not None and limits.timeout_s <= table.slowest_s * most
    if not slow and limits.max_usd_per_request is None:
        return False
    used = set(policy.variants)
    variants = [rows for variant, rows in table.everything.items() if variant.root in used]
    if limits.max_usd_per_request is not None:
        highest = max(float(np.nanmax(a.prompt_usd + a.completion_usd)) for a in variants)
        if limits.max_usd_per_request <= highest * most:
            return True
    if limits.timeout_s is None:
        return False
    return limits.timeout_s <= max(a.slowest_s for a in variants) * most


class LRUCache(Generic[_Value]):
    """``get(key, compute)``; what is thrown out is computed again."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], _Value]) -> _Value:
        """The value of ``key``, computed at most once while it is kept."""
        found = self._kept.pop(key, None)
        value, before = found or (compute(), 0)
        size = _size(value)  # again: some values grow with use
        self._kept[key] = (value, size)
        self.bytes += size - before
        while self.bytes > self.max_bytes and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.bytes = 0


def _size(value: object) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, tuple):
        return sum(_size(v) for v in value)
    size = getattr(value, "nbytes", 0)
    return int(size)
