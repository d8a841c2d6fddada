"""How each strategy goes through dealt draws, vectorised; anything else is replayed.

A path says for every row (item, order) where the strategy stopped, which draw it returned, how many
rounds it took and what their prompts cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.bill import Bill
from tierwise.evaluation.dealt import Codes, Dealt, Measure, pick
from tierwise.evaluation.standings import (
    Leaders,
    agreeing,
    best_so_far,
    heaviest_so_far,
    votes,
)
from tierwise.strategies import (
    BestOfN,
    EarlyStopping,
    Single,
    Strategy,
    Vote,
    WeightedConsistency,
)


class Path(NamedTuple):
    """Where a strategy went, one entry a row (``end``, ``rounds``: or the same for all)."""

    end: npt.NDArray[np.int16] | int
    chosen: npt.NDArray[np.signedinteger[Any]]
    rounds: npt.NDArray[np.int16] | int
    prompt_usd: Measure


def path(strategy: Strategy, dealt: Dealt, seen: int) -> Path | None:
    """The strategy's path after ``seen`` draws (a reused probe), or None: only ``replay`` knows."""
    if isinstance(strategy, Vote):  # and a Strategy, which mypy cannot join
        return _vote(strategy, max(strategy.max_draws, seen), dealt, seen)
    for kind, walk in _PATHS.items():
        if type(strategy) is kind:
            return walk(strategy, dealt, seen)
    return None


class Asks:
    """How many draws a strategy asks for next, by what its draws told; 0 to stop.

    ``tabulate(seen)`` says it for all that ``seen`` draws can tell. It is asked when it is first
    wanted: the rule of a random policy is mostly new, and stops at few of the counts it could.
    """

    def __init__(self, tabulate: Callable[[int], npt.NDArray[np.int16]]) -> None:
        self._tabulate = tabulate
        self._known: dict[int, npt.NDArray[np.int16]] = {}

    def after(self, seen: int) -> npt.NDArray[np.int16]:
        """(all that ``seen`` draws can tell,)."""
        if seen not in self._known:
            self._known[seen] = self._tabulate(seen)
        return self._known[seen]


FEW = 3
"""One row in so many is few: to look up what these ask for costs less than to do so for all."""

Hears = Callable[[int, npt.NDArray[np.int16]], None]
"""(seen, n): after ``seen`` draws the rows ask for ``n`` (0: nothing) in one round."""


def _rounds(
    dealt: Dealt, begun: int, asks: Asks, told: npt.NDArray[np.signedinteger[Any]], most: int,
    heard: Hears | None = None,
) -> Path:  # fmt: skip
    """Go draw by draw after ``begun`` draws, all rows at once; a row is asked when it is due.

    A row that has stopped stays where it is, and is never due again. So all but the looking up is
    arithmetic on small integers that lie together, which is faster than to choose the rows that go
    on.
    """
    bill = Bill(dealt)
    first = 0 if begun else int(asks.after(0)[0])
    if first:
        bill.add_to_all(begun, first)
        if heard is not None:
            heard(begun, np.full(dealt.n_rows, first, dtype=np.int16))
    end = np.full(dealt.n_rows, begun + first, dtype=np.int16)
    rounds = np.full(dealt.n_rows, int(first > 0), dtype=np.int16)
    for seen in range(begun + first, most + 1):
        n = _asked(asks.after(seen), told[seen - 1], end == seen)
        if n is None:
            continue
        end += n
        rounds += n > 0
        bill.add(seen, n)
        if heard is not None:
            heard(seen, n)
    winner = pick(votes(dealt, most).winner, end - 1, dealt.all_rows)
    return Path(end, winner, rounds, bill.prompt_usd(rounds, end))


def _asked(
    asks: npt.NDArray[np.int16],
    told: npt.NDArray[np.signedinteger[Any]],
    due: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int16] | None:
    """(n_rows,): what the rows that are ``due`` ask for; None where none is."""
    n_due = np.count_nonzero(due)
    if n_due == 0:
        return None
    if n_due * FEW > len(due):
        n = asks.take(told)
        n *= due
        return n
    at = np.flatnonzero(due)
    n = np.zeros(len(due), dtype=np.int16)
    n[at] = asks.take(told.take(at))
    return n


def _vote(strategy: Vote, most: int, dealt: Dealt, begun: int, heard: Hears | None = None) -> Path:
    states = votes(dealt, most)
    return _rounds(dealt, begun, _asks(_Alike(strategy), states.base), states.counts, most, heard)


def chained(vote: Vote, most: int, dealt: Dealt, queries: Codes, forced: Codes) -> Path:
    """The path of a vote over chains, of which those of one round go side by side.

    ``queries`` and ``forced``, (length, n_rows), are the rounds that each chain takes: a round of
    the vote takes as many as its longest chain, and one more where some are made to answer.
    """
    more = np.zeros(dealt.n_rows, dtype=np.int16)

    def heard(seen: int, n: npt.NDArray[np.int16]) -> None:
        longest, last = np.zeros((2, dealt.n_rows), dtype=np.int16)
        for t in range(int(n.max())):
            inside = t < n
            np.maximum(longest, queries[seen + t] * inside, out=longest)
            np.maximum(last, forced[seen + t] * inside, out=last)
        more[:] += longest + last - (n > 0)

    went = _vote(vote, most, dealt, 0, heard)
    return went._replace(rounds=(went.rounds + more).astype(np.int16))


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

    def tabulate(seen: int) -> npt.NDArray[np.int16]:
        table = [0] * base**2
        for lead in range(seen + 1):
            for runner_up in range(min(lead, seen - lead) + 1):
                table[lead * base + runner_up] = more(lead, runner_up, seen)
        return np.array(table, dtype=np.int16)

    return Asks(tabulate)


def _early_stopping(strategy: EarlyStopping, dealt: Dealt, begun: int) -> Path:
    most = max(strategy.max_draws, begun)
    runs = dealt.kept("agreeing", lambda: agreeing(dealt))
    return _rounds(dealt, begun, _asks_esc(strategy), runs.upto(most), most)


@functools.lru_cache(maxsize=256)
def _asks_esc(strategy: EarlyStopping) -> Asks:
    """By how many of the last draws agree."""
    window, cap = strategy.window, strategy.max_draws

    def asks(seen: int, run: int) -> int:
        if seen >= cap or (seen and seen % window == 0 and run >= window):
            return 0
        return min(window - seen % window, cap - seen)

    return Asks(lambda seen: np.array([asks(seen, run) for run in range(seen + 1)], dtype=np.int16))


def _all_at_once(dealt: Dealt, start: int, draws: int, leaders: Leaders) -> Path:
    end = max(draws, start)
    bill = Bill(dealt)
    if end > start:
        bill.add_to_all(start, end - start)
    rounds = int(end > start)
    return Path(end, leaders[end - 1], rounds, bill.prompt_usd(rounds, end))


def _single(strategy: Single, dealt: Dealt, begun: int) -> Path:
    return _all_at_once(dealt, begun, 1, votes(dealt, max(1, begun)).winner)


def _best_of_n(strategy: BestOfN, dealt: Dealt, begun: int) -> Path:
    name = strategy.verifier
    leaders = dealt.kept(("best", name), lambda: best_so_far(dealt, name))
    return _all_at_once(dealt, begun, strategy.draws, leaders.upto(max(strategy.draws, begun)))


def _weighted(strategy: WeightedConsistency, dealt: Dealt, begun: int) -> Path:
    name, most = strategy.verifier, max(strategy.draws, begun)
    leaders = dealt.kept(("heaviest", name), lambda: heaviest_so_far(dealt, name))
    return _all_at_once(dealt, begun, strategy.draws, leaders.upto(most))


_PATHS: dict[type, Callable[..., Path]] = {
    Single: _single,
    BestOfN: _best_of_n,
    WeightedConsistency: _weighted,
    EarlyStopping: _early_stopping,
}
