"""How each strategy goes through dealt draws, vectorised; anything else is replayed.

A path says for every row (item, order) where the strategy stopped, which draw it returned, how many
rounds it took and what their prompts cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.dealt import Dealt, Floats, Positions
from tierwise.evaluation.table import ABSTAINED
from tierwise.strategies import (
    BestOfN,
    EarlyStopping,
    Single,
    Strategy,
    Vote,
    WeightedConsistency,
)


class Path(NamedTuple):
    """Where a strategy went, one entry a row."""

    end: Positions
    chosen: Positions
    rounds: npt.NDArray[np.int16]
    prompt_usd: Floats


def path(strategy: Strategy, dealt: Dealt) -> Path | None:
    """The strategy's path, or None for a kind that only ``replay`` knows."""
    if isinstance(strategy, Vote):  # and a Strategy, which mypy cannot join
        most = max(strategy.max_draws, dealt.prefill)
        return _rounds(dealt, _vote_asks(strategy, most, dealt), most)
    for kind, walk in _PATHS.items():
        if type(strategy) is kind:
            return walk(strategy, dealt)
    return None


Asks = Callable[[Positions, Positions], Positions]
"""(draws seen, rows) -> draws to ask for next, 0 to stop."""


def _rounds(dealt: Dealt, asks: Asks, most: int) -> Path:
    seen = np.full(dealt.n_rows, dealt.prefill, dtype=np.intp)
    rounds = np.zeros(dealt.n_rows, dtype=np.int16)
    prompt_usd = np.zeros(dealt.n_rows)
    rows = dealt.all_rows
    start = seen.copy()
    while len(rows):
        n = asks(start, rows)
        going = np.flatnonzero(n)
        if len(going) < len(rows):
            rows, start, n = rows[going], start[going], n[going]
        end = start + n
        seen[rows] = end
        rounds[rows] += 1
        prompt_usd[rows] += dealt.prompt_usd(start, end, rows)
        start = end
    return Path(seen, _plurality(dealt, seen, most), rounds, prompt_usd)


def _plurality(dealt: Dealt, end: Positions, most: int) -> Positions:
    return dealt.votes(most).winner[end - 1, dealt.all_rows].astype(np.intp)


def _vote_asks(strategy: Vote, most: int, dealt: Dealt) -> Asks:
    states = dealt.votes(most)
    table = _asks_by_state(strategy, most, states.base)

    def asks(seen: Positions, rows: Positions) -> Positions:
        if seen[0] == 0:  # only ever all of them
            return np.full(len(seen), table[0, 0], dtype=np.intp)
        return table[seen, states.code[seen - 1, rows]]

    return asks


def _asks_by_state(strategy: Vote, cap: int, base: int) -> Positions:
    """(cap + 1, base * base): ``strategy.more`` for every count that draws can reach."""
    table = np.zeros((cap + 1, base * base), dtype=np.intp)
    more = strategy.more
    for seen in range(cap + 1):
        for lead in range(seen + 1):
            for runner_up in range(min(lead, seen - lead) + 1):
                table[seen, lead * base + runner_up] = more(lead, runner_up, seen)
    return table


def _early_stopping(strategy: EarlyStopping, dealt: Dealt) -> Path:
    window, most = strategy.window, strategy.max_draws

    def asks(seen: Positions, rows: Positions) -> Positions:
        whole = (seen > 0) & (seen % window == 0)
        unanimous = whole & (dealt.agreeing[seen - 1, rows] >= window)
        n = np.minimum(window - seen % window, most - seen)
        return np.where(unanimous | (seen >= most), 0, n)

    return _rounds(dealt, asks, max(most, dealt.prefill))


def _all_at_once(dealt: Dealt, draws: int, chosen: Callable[[Dealt, int], Positions]) -> Path:
    start, end = dealt.prefill, max(draws, dealt.prefill)
    ends = np.full(dealt.n_rows, end)
    if end == start:
        prompt_usd = np.zeros(dealt.n_rows)
    else:
        prompt_usd = dealt.prompt_usd(np.full(dealt.n_rows, start), ends, dealt.all_rows)
    rounds = np.full(dealt.n_rows, int(end > start), dtype=np.int16)
    return Path(ends, chosen(dealt, end), rounds, prompt_usd)


def _single(strategy: Single, dealt: Dealt) -> Path:
    return _all_at_once(dealt, 1, lambda d, end: d.votes(end).winner[end - 1].astype(np.intp))


def _best_of_n(strategy: BestOfN, dealt: Dealt) -> Path:
    def best(d: Dealt, end: int) -> Positions:
        score = d.verifier(strategy.verifier, end)
        # Abstentions come after draws without a score, these after all that have one.
        worst = np.where(np.isnan(score), -np.finfo(np.float64).max, score)
        chosen: Positions = np.where(d.answers(end) == ABSTAINED, -np.inf, worst).argmax(axis=0)
        return chosen

    def with_scored_abstentions(d: Dealt, end: int) -> Positions:
        chosen = best(d, end)
        silent = (d.answers(end) == ABSTAINED).all(axis=0)
        if silent.any():
            score = d.verifier(strategy.verifier, end)
            chosen[silent] = np.where(np.isnan(score), -np.inf, score)[:, silent].argmax(axis=0)
        return chosen

    return _all_at_once(dealt, strategy.draws, with_scored_abstentions)


def _weighted(strategy: WeightedConsistency, dealt: Dealt) -> Path:
    def heaviest(d: Dealt, end: int) -> Positions:
        answers = d.answers(end)
        score = d.verifier(strategy.verifier, end)
        weight = np.where(np.isnan(score), 0.0, np.exp(np.minimum(score, 0.0)))
        weight[answers == ABSTAINED] = 0.0
        rows = np.arange(d.n_rows)
        totals = np.zeros((int(answers.max(initial=0)) + 1, d.n_rows))
        voted = answers != ABSTAINED
        at = np.where(voted, answers, 0)
        for t in range(end):  # summed in the order seen, as the strategy does
            totals[at[t], rows] += weight[t]
        mine = np.where(voted, totals[at, rows], -np.inf)
        chosen: Positions = mine.argmax(axis=0)
        return chosen

    return _all_at_once(dealt, strategy.draws, heaviest)


_PATHS: dict[type, Callable[..., Path]] = {
    Single: _single,
    BestOfN: _best_of_n,
    WeightedConsistency: _weighted,
    EarlyStopping: _early_stopping,
}
