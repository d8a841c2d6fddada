"""What a strategy does on each (item, order) of a table by one recipe: policies are made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation.arm_rows import ArmRows, Floats, Measure
from tierwise.evaluation.chains import ChainRows, chain_rows
from tierwise.evaluation.dealt import Dealt
from tierwise.evaluation.lru import Cache
from tierwise.evaluation.measures import Measures, Rows
from tierwise.evaluation.orders import Orders
from tierwise.evaluation.paths import Path, chained, path
from tierwise.evaluation.replay import replayed
from tierwise.evaluation.shelf import Shelf
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.table import ABSTAINED, SampleTable
from tierwise.recipe import Arm, Difficulty, Policy, Probe, Recipe
from tierwise.strategies import PLAIN, Retrieval, Strategy, deal, paths_of

PROBING = "probe_agreement"


class Walks:
    """Walks strategies through a table's draws, keeping the draws as they are dealt."""

    def __init__(self, table: SampleTable, orders: Orders, cache_bytes: int) -> None:
        self.table, self.orders = table, orders
        self.n_rows = table.n_items * orders.n
        self._scores = Shelf(self.n_rows)
        self._arms: dict[Arm, ArmRows] = {}
        self._chained: dict[Hashable, ChainRows] = {}
        self._standings: Cache[Standings] = Cache(cache_bytes)

    def forget(self) -> None:
        """Free what was kept; it is computed again where it is asked for."""
        self._scores = Shelf(self.n_rows)
        self._arms.clear()
        self._chained.clear()
        self._standings.clear()

    def walk(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """What a strategy does after ``probe``, whose draws are its first."""
        if isinstance(strategy, Retrieval):
            if strategy.rounds:
                return self._along_chains(recipe, strategy, probe)
            strategy = strategy.vote
        if (paths := paths_of(strategy)) != PLAIN:
            nodes = [arm._replace(path=path) for arm in recipe.arms for path in paths]
            if any(node not in self.table.everything for node in nodes):
                return self.unsupported()
            return self._replay_alone(recipe, strategy, probe)
        first = tuple(recipe.arms.index(arm) for arm in probe.dealt) if probe else ()
        seen = len(first)
        if first == tuple(deal([0] * len(recipe.arms), seen)):
            first = ()  # the probe's draws are those that would have been dealt anyway
        standings = self._standings.get(
            (recipe.arms, first),
            lambda: Standings(Dealt([self.arm(a) for a in recipe.arms], first)),
        )
        if max(strategy.max_draws, seen) > standings.dealt.length:
            return self.unsupported()
        went = path(strategy, standings, seen)
        if went is None:
            return self._replay_alone(recipe, strategy, probe)
        return self._measured(standings, went, seen, max(strategy.max_draws, seen))

    def _measured(self, standings: Standings, went: Path, seen: int, upto: int) -> Measures:
        """Of a path over the first ``upto`` draws at most, after ``seen`` that are paid for."""
        rows = np.empty((4, self.n_rows), dtype=np.float32)
        rows[0] = standings.dealt.score_at(went.chosen, upto)
        rows[1] = went.usd
        rows[2] = went.end - seen
        rows[3] = went.rounds
        if not standings.dealt.whole:
            rows[:, ~standings.dealt.complete] = np.nan
        return rows

    def _along_chains(self, recipe: Recipe, strategy: Retrieval, probe: Probe | None) -> Measures:
        """The same for a vote of chains, which a probe's plain answers take no part in."""
        nodes = [arm._replace(path=path) for arm in recipe.arms for path in paths_of(strategy)]
        if any(node not in self.table.everything for node in nodes):
            return self.unsupported()
        arms = [self._chains(arm, strategy) for arm in recipe.arms]
        standings = self._standings.get(
            (recipe.arms, strategy.chain), lambda: Standings(Dealt([arm.rows for arm in arms]))
        )
        dealt = standings.dealt
        if strategy.draws > dealt.length:
            return self.unsupported()
        queries, forced = (
            dealt.merge([getattr(arm, name) for arm in arms], dealt.length)
            for name in ("queries", "forced")
        )
        went = chained(strategy.vote, strategy.draws, standings, queries, forced)
        rows = self._measured(standings, went, 0, strategy.draws)
        if probe is not None:
            said = dealt.pick(dealt.answers(strategy.draws), went.chosen) != ABSTAINED
            rows[0] = np.where(said, rows[0], self._probed(recipe, probe, rows[0]))
        taken = np.cumsum(queries + forced, axis=0, dtype=np.int16)
        rows[2] = dealt.pick(taken, np.broadcast_to(went.end, self.n_rows) - 1)
        if not dealt.whole:
            rows[:, ~dealt.complete] = np.nan
        return rows

    def _probed(self, recipe: Recipe, probe: Probe, silent: Measure) -> Measure:
        """The score of the plurality of a probe's draws; ``silent`` where these say nothing too."""
        first = tuple(recipe.arms.index(arm) for arm in probe.dealt)
        standings = Standings(Dealt([self.arm(arm) for arm in recipe.arms], first))
        n, dealt = len(first), standings.dealt
        chosen = standings.votes(n).winner[n - 1]
        said = dealt.pick(dealt.answers(n), chosen) != ABSTAINED
        return np.where(said, dealt.score_at(chosen, n), silent)

    def _chains(self, arm: Arm, strategy: Retrieval) -> ChainRows:
        key = arm, strategy.chain
        if key not in self._chained:
            self._chained[key] = chain_rows(self.table, arm, strategy, self.orders, self._scores)
        return self._chained[key]

    def _replay_alone(self, recipe: Recipe, strategy: Strategy, probe: Probe | None) -> Measures:
        """The same for a strategy without a vectorised path."""
        alone = Policy((recipe,), Difficulty(PROBING if probe else "none", (), probe))
        rows = np.array(self.replayed_rows(alone, (strategy,)))
        if probe:
            rows[1] -= self.probe_usd(probe)
            rows[2] -= probe.draws
            rows[3] -= 1
        return rows.astype(np.float32)

    def probe_usd(self, probe: Probe) -> Floats:
        """(n_rows,): dollars for the draws of ``probe``."""
        usd = np.zeros(self.n_rows)
        for arm, n in Counter(probe.dealt).items():
            rows = self.arm(arm)
            usd += rows.prompt_usd.at(0) if rows.takes_n else rows.prompt_paid.at(n)
            usd += rows.completion_paid.at(n)
        return usd

    def has(self, probe: Probe) -> bool:
        """Whether there are the draws of ``probe``."""
        return all(n <= self.arm(arm).depth for arm, n in Counter(probe.dealt).items())

    def unsupported(self) -> Measures:
        """What the draws do not support: not a number."""
        return np.full((4, self.n_rows), np.nan, dtype=np.float32)

    def replayed_rows(self, policy: Policy, strategies: tuple[Strategy, ...]) -> Rows:
        """Each row of ``policy`` by the plain replay: slow, and right for whatever there is."""
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

    def arm(self, arm: Arm) -> ArmRows:
        """The arm's draws laid out by order."""
        if arm not in self._arms:
            self._arms[arm] = ArmRows(self.table.of(arm), self.orders, self._scores)
        return self._arms[arm]
