"""What a strategy does on each (item, order) of a table by one recipe: policies are made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation.chains import ChainRows, chain_rows
from tierwise.evaluation.interleaved import Interleaved
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.measures import Measures, Rows
from tierwise.evaluation.paths import Path, chained, path
from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.replay import replayed
from tierwise.evaluation.shelf import Shelf
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.evaluation.variant_rows import Floats, Measure, VariantRows
from tierwise.schema import Difficulty, Policy, Probe, Recipe, Variant
from tierwise.strategies import PLAIN, Retrieval, Strategy, interleave, paths_of

PROBING = "probe_agreement"


class Walks:
    """Walks strategies through a table's samples, keeping the samples as they are interleaved."""

    def __init__(self, table: SampleTable, permutations: Permutations, cache_bytes: int) -> None:
        self.table, self.permutations = table, permutations
        self.n_rows = table.n_items * permutations.n
        self._scores = Shelf(self.n_rows)
        self._variants: dict[Variant, VariantRows] = {}
        self._chained: dict[Hashable, ChainRows] = {}
        self._standings: Cache[Standings] = Cache(cache_bytes)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._scores = Shelf(self.n_rows)
        self._variants.clear()
        self._chained.clear()
        self._standings.clear()

    def walk(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """What a strategy does after ``probe``, whose samples are its first."""
        if isinstance(strategy, Retrieval):
            if strategy.rounds:
                return self._along_chains(recipe, strategy, probe)
            strategy = strategy.vote
        if (paths := paths_of(strategy)) != PLAIN:
            nodes = [variant._replace(path=path) for variant in recipe.variants for path in paths]
            if any(node not in self.table.everything for node in nodes):
                return self.unsupported()
            return self._replay_alone(recipe, strategy, probe)
        first = (
            tuple(recipe.variants.index(variant) for variant in probe.interleaved) if probe else ()
        )
        seen = len(first)
        if first == tuple(interleave([0] * len(recipe.variants), seen)):
            first = ()  # the probe's samples are those that would have been interleaved anyway
        standings = self._standings.get(
            (recipe.variants, first),
            lambda: Standings(Interleaved([self.variant(a) for a in recipe.variants], first)),
        )
        if max(strategy.max_samples, seen) > standings.interleaved.length:
            return self.unsupported()
        went = path(strategy, standings, seen)
        if went is None:
            return self._replay_alone(recipe, strategy, probe)
        return self._measured(standings, went, seen, max(strategy.max_samples, seen))

    def _measured(self, standings: Standings, went: Path, seen: int, upto: int) -> Measures:
        """Of a path over the first ``upto`` samples at most, after ``seen`` that are paid for."""
        rows = np.empty((4, self.n_rows), dtype=np.float32)
        rows[0] = standings.interleaved.score_at(went.chosen, upto)
        rows[1] = went.usd
        rows[2] = went.end - seen
        rows[3] = went.rounds
        if not standings.interleaved.whole:
            rows[:, ~standings.interleaved.complete] = np.nan
        return rows

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
        went = chained(strategy.vote, strategy.samples, standings, queries, forced)
        rows = self._measured(standings, went, 0, strategy.samples)
        if probe is not None:
            said = interleaved.pick(interleaved.answers(strategy.samples), went.chosen) != ABSTAINED
            rows[0] = np.where(said, rows[0], self._probed(recipe, probe, rows[0]))
        taken = np.cumsum(queries + forced, axis=0, dtype=np.int16)
        rows[2] = interleaved.pick(taken, np.broadcast_to(went.end, self.n_rows) - 1)
        if not interleaved.whole:
            rows[:, ~interleaved.complete] = np.nan
        return rows

    def _probed(self, recipe: Recipe, probe: Probe, silent: Measure) -> Measure:
        """The score of the plurality of a probe's samples; ``silent`` where these say nothing too."""
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

    def _replay_alone(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """The same for a strategy without a vectorised path."""
        alone = Policy((recipe,), Difficulty(PROBING if probe else "none", (), probe))
        rows = np.array(self.replayed_rows(alone, (strategy,)))
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

    def replayed_rows(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Rows:
        """Each row of ``policy`` by the plain replay: slow, and right for whatever there is."""
        measures = np.full((4, self.table.n_items, self.permutations.n), np.nan)
        for item in range(self.table.n_items):
            for order in range(self.permutations.n):
                try:
                    went = replayed(
                        policy, self.table, item, self.permutations, order, strategies=strategies
                    )
                except UnsupportedError:
                    continue
                out, score = went.outcome, went.score(self.table, item)
                measures[:, item, order] = score, out.usd, len(out.samples), len(out.rounds)
        return Rows(*measures.reshape(4, -1))

    def variant(self, variant: Variant) -> VariantRows:
        """The variant's samples laid out by order."""
        if variant not in self._variants:
            self._variants[variant] = VariantRows(
                self.table.of(variant), self.permutations, self._scores
            )
        return self._variants[variant]
