"""How each strategy goes through dealt draws, vectorised; anything else is replayed.

A path says for every row (item, order) where the strategy stopped, which draw it returned, how many
rounds it took and what their prompts cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.dealt import Bill, Codes, Dealt, Floats, Positions, pick
from tierwise.evaluation.standings import (
    Leaders,
    VoteStates,
    agreeing,
    best_so_far,
    heaviest_so_far,
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
    """Where a strategy went, one entry a row (``end``: or the same for all)."""

    end: Positions | int
    chosen: Positions
    rounds: npt.NDArray[np.int16]
    prompt_usd: Floats


def path(strategy: Strategy, dealt: Dealt, seen: int) -> Path | None:
    """The strategy's path after ``seen`` draws (a reused probe), or None: only ``replay`` knows."""
    if isinstance(strategy, Vote):  # and a Strategy, which mypy cannot join
        return _vote(strategy, max(strategy.max_draws, seen), dealt, seen)
    for kind, walk in _PATHS.items():
        if type(strategy) is kind:
            return walk(strategy, dealt, seen)
    return None


Asks = Callable[[Positions, Positions], Positions]
"""(draws seen, rows) -> draws to ask for next, 0 to stop."""


Hears = Callable[[Positions, Positions, Positions], None]
"""(start, end, rows): a round asks for draws start … end - 1 of each of the rows."""


def _rounds(
    dealt: Dealt, begun: int, first: int, asks: Asks, most: int, heard: Hears | None = None
) -> Path:
    """Go round by round after ``begun`` draws; the first round is of ``first`` for all (0: ask)."""
    start = np.full(dealt.n_rows, begun + first, dtype=np.intp)
    seen = np.empty(dealt.n_rows, dtype=np.intp)
    rounds = np.empty(dealt.n_rows, dtype=np.int16)
    rows, bill, done = dealt.all_rows, Bill(dealt), int(first > 0)
    if first:
        bill.add_to_all(begun, begun + first)
        if heard is not None:
            heard(start - first, start, rows)
    while len(rows):
        n = asks(start, rows)
        going = np.flatnonzero(n)
        if len(going) < len(rows):
            stopped = np.flatnonzero(n == 0)
            seen[rows[stopped]], rounds[rows[stopped]] = start[stopped], done
            rows, start, n = rows[going], start[going], n[going]
        end = start + n
        bill.add(start, end, rows)
        if heard is not None and len(rows):
            heard(start, end, rows)
        start = end
        done += 1
    return Path(seen, _plurality(dealt, seen, most), rounds, bill.prompt_usd(rounds))


def _plurality(dealt: Dealt, end: Positions, most: int) -> Positions:
    return pick(votes(dealt, most).winner, end - 1, dealt.all_rows).astype(np.intp)


def _vote(strategy: Vote, most: int, dealt: Dealt, begun: int, heard: Hears | None = None) -> Path:
    states = votes(dealt, most)
    table = _asks_by_state(strategy, most, states.base)

    def asks(seen: Positions, rows: Positions) -> Positions:
        return pick(table, seen, pick(states.code, seen - 1, rows)).astype(np.intp)

    return _rounds(dealt, begun, 0 if begun else int(table[0, 0]), asks, most, heard)


def chained(vote: Vote, most: int, dealt: Dealt, queries: Codes, forced: Codes) -> Path:
    """The path of a vote over chains, of which those of one round go side by side.

    ``queries`` and ``forced``, (length, n_rows), are the rounds that each chain takes: a round of
    the vote takes as many as its longest chain, and one more where some are made to answer.
    """
    more = np.zeros(dealt.n_rows, dtype=np.int16)

    def heard(start: Positions, end: Positions, rows: Positions) -> None:
        longest = np.zeros(len(rows), dtype=np.int16)
        last = np.zeros(len(rows), dtype=np.int16)
        for t in range(int((end - start).max())):
            inside = start + t < end
            at = np.minimum(start + t, end - 1)
            np.maximum(longest, pick(queries, at, rows) * inside, out=longest)
            np.maximum(last, pick(forced, at, rows) * inside, out=last)
        more[rows] += longest + last - 1

    went = _vote(vote, most, dealt, 0, heard)
    return went._replace(rounds=(went.rounds + more).astype(np.int16))


@functools.lru_cache(maxsize=1024)
def _asks_by_state(strategy: Vote, cap: int, base: int) -> npt.NDArray[np.int16]:
    """(cap + 1, base * base): ``strategy.more`` for every count that draws can reach."""
    table = np.zeros((cap + 1, base * base), dtype=np.int16)
    more = strategy.more
    for seen in range(cap + 1):
        for lead in range(seen + 1):
            for runner_up in range(min(lead, seen - lead) + 1):
                table[seen, lead * base + runner_up] = more(lead, runner_up, seen)
    return table


def _early_stopping(strategy: EarlyStopping, dealt: Dealt, begun: int) -> Path:
    window, most = strategy.window, strategy.max_draws

    runs = dealt.kept("agreeing", max(most, begun), lambda n: agreeing(dealt.answers(n)))

    def asks(seen: Positions, rows: Positions) -> Positions:
        whole = (seen > 0) & (seen % window == 0)
        unanimous = whole & (pick(runs, seen - 1, rows) >= window)
        n = np.minimum(window - seen % window, most - seen)
        return np.where(unanimous | (seen >= most), 0, n)

    return _rounds(dealt, begun, 0 if begun else window, asks, max(most, begun))


def _all_at_once(dealt: Dealt, start: int, draws: int, leaders: Leaders) -> Path:
    end = max(draws, start)
    bill = Bill(dealt)
    if end > start:
        bill.add_to_all(start, end)
    rounds = np.full(dealt.n_rows, int(end > start), dtype=np.int16)
    return Path(end, leaders[end - 1].astype(np.intp), rounds, bill.prompt_usd(rounds))


def _single(strategy: Single, dealt: Dealt, begun: int) -> Path:
    return _all_at_once(dealt, begun, 1, votes(dealt, max(1, begun)).winner)


def _best_of_n(strategy: BestOfN, dealt: Dealt, begun: int) -> Path:
    name, most = strategy.verifier, max(strategy.draws, begun)
    leaders = dealt.kept(
        ("best", name), most, lambda n: best_so_far(dealt.answers(n), dealt.verifier(name, n))
    )
    return _all_at_once(dealt, begun, strategy.draws, leaders)


def _weighted(strategy: WeightedConsistency, dealt: Dealt, begun: int) -> Path:
    name, most = strategy.verifier, max(strategy.draws, begun)
    leaders = dealt.kept(
        ("heaviest", name), most,
        lambda n: heaviest_so_far(dealt.answers(n), dealt.verifier(name, n)),
    )  # fmt: skip
    return _all_at_once(dealt, begun, strategy.draws, leaders)


def votes(dealt: Dealt, upto: int) -> VoteStates:
    """The states of a plurality vote over at least the first ``upto`` draws."""
    return dealt.kept("votes", upto, lambda n: VoteStates(dealt.answers(n)))


_PATHS: dict[type, Callable[..., Path]] = {
    Single: _single,
    BestOfN: _best_of_n,
    WeightedConsistency: _weighted,
    EarlyStopping: _early_stopping,
}
