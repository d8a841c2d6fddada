"""How each strategy goes through interleaved samples, vectorised; anything else is replayed.

A path says for every row (item, order) where the strategy stopped, which sample it returned, how many
rounds it took and what their prompts cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tierwise.evaluation.bill import Bill
from tierwise.evaluation.interleaved import Counts, ones, small
from tierwise.evaluation.standings import Standings
from tierwise.evaluation.variant_rows import Codes, Measure
from tierwise.strategies import BestOfN, EarlyStopping, Single, Strategy, Vote, WeightedConsistency


class Path(NamedTuple):
    """Where a strategy went, one entry a row (``end``, ``rounds``: or the same for all)."""

    end: Counts | int
    chosen: Counts
    rounds: Counts | int
    usd: Measure


def path(strategy: Strategy, standings: Standings, seen: int) -> Path | None:
    """The strategy's path after ``seen`` samples (a reused probe), or None: only ``replay`` knows."""
    if isinstance(strategy, Vote):  # and a Strategy, which mypy cannot join
        return _vote(strategy, max(strategy.max_samples, seen), standings, seen)
    for kind, walk in _PATHS.items():
        if type(strategy) is kind:
            return walk(strategy, standings, seen)
    return None


class Asks:
    """How many samples a strategy asks for next, by what its samples told; 0 to stop.

    ``tabulate(seen)`` says it for all that ``seen`` samples can tell. It is asked when it is first
    wanted: the rule of a random policy is mostly new, and stops at few of the counts it could.
    """

    def __init__(self, tabulate: Callable[[int], Counts]) -> None:
        self._tabulate = tabulate
        self._known: dict[int, Counts] = {}

    def after(self, seen: int) -> Counts:
        """(all that ``seen`` samples can tell,)."""
        if seen not in self._known:
            self._known[seen] = self._tabulate(seen)
        return self._known[seen]


Hears = Callable[[int, Counts], None]
"""(seen, n): after ``seen`` samples the rows ask for ``n`` (0: nothing) in one round."""


def _rounds(
    standings: Standings,
    begun: int,
    asks: Asks,
    told: Counts,
    most: int,
    heard: Hears | None = None,
) -> Path:
    """Go sample by sample after ``begun`` samples, all rows at once; a row is asked when it is due.

    A row that has stopped stays where it is, and is never due again. So all but the looking up is
    arithmetic on bytes that lie together, which is faster than to choose the rows that go on.
    """
    interleaved, bill = standings.interleaved, Bill(standings.interleaved, begun)
    leaders = standings.votes(most).winner
    first = 0 if begun else int(asks.after(0)[0])
    end = np.full(interleaved.n_rows, begun + first, dtype=small(most))
    rounds = np.full(interleaved.n_rows, int(first > 0), dtype=small(most))
    if first:
        bill.add_to_all(begun, first)
        if heard is not None:
            heard(begun, end)
    if first == most:
        return Path(most, leaders[most - 1], 1, bill.usd(1, most))
    for seen in range(begun + first, most):
        due = end == seen
        if not due.any():
            continue
        n = asks.after(seen).take(told[seen - 1]) * ones(due)
        end += n
        rounds += ones(n > 0)
        bill.add(seen, n)
        if heard is not None:
            heard(seen, n)
    return Path(end, interleaved.pick(leaders, end - 1), rounds, bill.usd(rounds, end))


def _vote(
    strategy: Vote, most: int, standings: Standings, begun: int, heard: Hears | None = None
) -> Path:
    states = standings.votes(most)
    return _rounds(
        standings, begun, _asks(_Alike(strategy), states.base), states.counts, most, heard
    )


def chained(vote: Vote, most: int, standings: Standings, queries: Codes, forced: Codes) -> Path:
    """The path of a vote over chains, of which those of one round go side by side.

    ``queries`` and ``forced``, (length, n_rows), are the rounds that each chain takes: a round of
    the vote takes as many as its longest chain, and one more where some are made to answer.
    """
    n_rows = standings.interleaved.n_rows
    more = np.zeros(n_rows, dtype=np.uint16)

    def heard(seen: int, n: Counts) -> None:
        longest, last = np.zeros((2, n_rows), dtype=np.int16)
        for t in range(int(n.max())):
            inside = t < n
            np.maximum(longest, queries[seen + t] * inside, out=longest)
            np.maximum(last, forced[seen + t] * inside, out=last)
        more[:] += (longest + last - (n > 0)).astype(np.uint16)

    went = _vote(vote, most, standings, 0, heard)
    return went._replace(rounds=went.rounds + more)


class _Alike:
    """A vote, equal to all that behave as it does."""

    def __init__(self, vote: Vote) -> None:
        self.vote, self._behaviour = vote, vote.behaviour()

    def __hash__(self) -> int:
        return hash(self._behaviour)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self._behaviour == other._behaviour


@functools.lru_cache(maxsize=2048)
def _asks(alike: _Alike, base: int) -> Asks:
    more = alike.vote.more

    def tabulate(seen: int) -> Counts:
        table = [0] * (base * (seen + 1))
        for lead in range(seen + 1):
            for runner_up in range(min(lead, seen - lead) + 1):
                table[lead * base + runner_up] = more(lead, runner_up, seen)
        return np.array(table, dtype=small(max(table)))

    return Asks(tabulate)


def _early_stopping(strategy: EarlyStopping, standings: Standings, begun: int) -> Path:
    most = max(strategy.max_samples, begun)
    return _rounds(standings, begun, _asks_esc(strategy), standings.agreeing(most), most)


@functools.lru_cache(maxsize=256)
def _asks_esc(strategy: EarlyStopping) -> Asks:
    """By how many of the last samples agree."""
    window, cap = strategy.window, strategy.max_samples

    def asks(seen: int, run: int) -> int:
        if seen >= cap or (seen and seen % window == 0 and run >= window):
            return 0
        return min(window - seen % window, cap - seen)

    def tabulate(seen: int) -> Counts:
        return np.array([asks(seen, run) for run in range(seen + 1)], dtype=small(cap))

    return Asks(tabulate)


def _all_at_once(standings: Standings, start: int, samples: int, leaders: Counts) -> Path:
    end = max(samples, start)
    bill = Bill(standings.interleaved, start)
    if end > start:
        bill.add_to_all(start, end - start)
    rounds = int(end > start)
    return Path(end, leaders[end - 1], rounds, bill.usd(rounds, end))


def _single(strategy: Single, standings: Standings, begun: int) -> Path:
    return _all_at_once(standings, begun, 1, standings.votes(max(1, begun)).winner)


def _best_of_n(strategy: BestOfN, standings: Standings, begun: int) -> Path:
    leaders = standings.best(strategy.verifier, max(strategy.samples, begun))
    return _all_at_once(standings, begun, strategy.samples, leaders)


def _weighted(strategy: WeightedConsistency, standings: Standings, begun: int) -> Path:
    leaders = standings.heaviest(strategy.verifier, max(strategy.samples, begun))
    return _all_at_once(standings, begun, strategy.samples, leaders)


_PATHS: dict[type, Callable[..., Path]] = {
    Single: _single,
    BestOfN: _best_of_n,
    WeightedConsistency: _weighted,
    EarlyStopping: _early_stopping,
}
