"""How each strategy goes through interleaved samples, vectorised; anything else is replayed.

A path says for every row (item, permutation) where the strategy stopped, which sample it returned,
how many rounds it took and what they cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.interleaved import (
    AnswerCodes,
    Counts,
    Growing,
    Interleaved,
    Measure,
    ScoreBlock,
    VariantRows,
    as_uint8,
    small_uint,
)
from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.standings import Standings, WeightedVotes
from tierwise.evaluation.table import ABSTAINED, NO_QUERY, SampleTable, VariantTable
from tierwise.schema import Turn, Variant
from tierwise.strategies import (
    BestOfN,
    Cascade,
    EarlyStopping,
    Retrieval,
    Single,
    Strategy,
    Vote,
    WeightedConsistency,
)


class StrategyPath(NamedTuple):
    """Where a strategy went, one entry a row (``end``, ``rounds``: or the same for all).

    ``chosen`` are the places of the samples whose values were elected, one array a ballot; a
    strategy that picks a whole sample has one array.
    """

    end: Counts | int
    chosen: tuple[Counts, ...]
    rounds: Counts | int
    usd: Measure


class SampleCosts:
    """Dollars of each row after the first ``begun`` samples, which are paid for, as rounds go by.

    A round's samples of a variant are one call where the variant takes ``n``; else each is a call.
    """

    def __init__(self, interleaved: Interleaved, begun: int) -> None:
        self._interleaved, self._begun = interleaved, begun
        self._left_out: dict[int, Counts] = {}
        self._varying = [
            a
            for a, variant in enumerate(interleaved.variants)
            if variant.takes_n and variant.prompt_of_a_call is None
        ]
        self._prompts = np.zeros(interleaved.n_rows if self._varying else 0)

    def add(self, seen: int, n: Counts) -> None:
        """A round of the ``n`` samples (0: none) after the first ``seen``."""
        interleaved, waits = self._interleaved, self._interleaved.waits(seen)
        for a, wait in enumerate(waits):
            if wait:
                self._absences(a)[:] += as_uint8((n > 0) & (n <= wait))
        for a in self._varying:
            called = n > waits[a]
            if called.any():
                self._prompts += called * interleaved.variants[a].prompt_usd.at(
                    interleaved.counts[a, seen]
                )

    def add_to_all(self, seen: int, n: int) -> None:
        """A round of the same samples for all rows."""
        for a, wait in enumerate(self._interleaved.waits(seen)):
            if n <= wait:
                self._absences(a)[:] += 1
            elif a in self._varying:
                self._prompts += self._interleaved.variants[a].prompt_usd.at(
                    self._interleaved.counts[a, seen]
                )

    def usd(self, rounds: Counts | int, end: Counts | int) -> Measure:
        """(n_rows,): dollars for all ``rounds``, which came to ``end`` samples."""
        total = np.zeros(self._interleaved.n_rows, dtype=np.float32)
        if self._varying:
            total += self._prompts.astype(np.float32)
        for a, variant in enumerate(self._interleaved.variants):
            self._pay(total, a, variant.completion_paid, end)
            if variant.prompt_of_a_call is not None:
                calls = rounds - self._left_out[a] if a in self._left_out else rounds
                total += variant.prompt_of_a_call * np.asarray(calls, dtype=np.float32)
            elif not variant.takes_n:
                self._pay(total, a, variant.prompt_paid, end)
        return total

    def _pay(
        self, total: Measure, variant: int, paid: Growing[np.float32], end: Counts | int
    ) -> None:
        """Add what the variant's samples up to ``end`` cost; ``paid`` is for the first t."""
        interleaved, counts = self._interleaved, self._interleaved.counts[variant]
        before = counts[self._begun]
        if isinstance(end, int):
            total += paid.at(counts[end])
        else:
            through = counts if len(interleaved.variants) > 1 else None
            total += interleaved.pick(paid.upto(counts[end.max()] + 1), end, through)
        if before:
            total -= paid.at(before)

    def _absences(self, variant: int) -> Counts:
        if variant not in self._left_out:
            interleaved = self._interleaved
            self._left_out[variant] = np.zeros(
                interleaved.n_rows, dtype=small_uint(interleaved.length)
            )
        return self._left_out[variant]


def strategy_path(strategy: Strategy, standings: Standings, seen: int) -> StrategyPath | None:
    """The strategy's path after ``seen`` samples (a reused probe); None: replay it."""
    if isinstance(strategy, Vote):  # and a Strategy, which mypy cannot join
        return _vote(strategy, max(strategy.max_samples, seen), standings, seen)
    for kind, walk in _PATHS.items():
        if type(strategy) is kind:
            return walk(strategy, standings, seen)
    return None


class NextSamples:
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
    following: NextSamples,
    told: Sequence[Counts],
    most: int,
    heard: Hears | None = None,
) -> StrategyPath:
    """Go sample by sample after ``begun`` samples, all rows at once; a row is asked when it is due.

    ``told``, (samples, n_rows) a ballot, is what the rule looks at; the ballot that wants most
    samples gets them.

    A row that has stopped stays where it is, and is never due again. So all but the looking up is
    arithmetic on bytes that lie together, which is faster than to choose the rows that go on.
    """
    interleaved, costs = standings.interleaved, SampleCosts(standings.interleaved, begun)
    leaders = [votes.winner for votes in standings.ballots(most)]
    first = 0 if begun else int(following.after(0)[0])
    end = np.full(interleaved.n_rows, begun + first, dtype=small_uint(most))
    rounds = np.full(interleaved.n_rows, int(first > 0), dtype=small_uint(most))
    if first:
        costs.add_to_all(begun, first)
        if heard is not None:
            heard(begun, end)
    if first == most:
        return StrategyPath(most, _rows(leaders, most - 1), 1, costs.usd(1, most))
    for seen in range(begun + first, most):
        due = end == seen
        if not due.any():
            continue
        asked = following.after(seen)
        n = asked.take(told[0][seen - 1])
        for of in told[1:]:
            np.maximum(n, asked.take(of[seen - 1]), out=n)
        n *= as_uint8(due)
        end += n
        rounds += as_uint8(n > 0)
        costs.add(seen, n)
        if heard is not None:
            heard(seen, n)
    chosen = tuple(interleaved.pick(of, end - 1) for of in leaders)
    return StrategyPath(end, chosen, rounds, costs.usd(rounds, end))


def _rows(leaders: Sequence[Counts], place: int) -> tuple[Counts, ...]:
    return tuple(of[place] for of in leaders)


def _vote(
    strategy: Vote, most: int, standings: Standings, begun: int, heard: Hears | None = None
) -> StrategyPath:
    states = standings.ballots(most)
    told = [votes.counts for votes in states]
    following = _next_votes(_Alike(strategy), states[0].base)
    return _rounds(standings, begun, following, told, most, heard)


def chained_path(
    vote: Vote, most: int, standings: Standings, queries: AnswerCodes, forced: AnswerCodes
) -> StrategyPath:
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
def _next_votes(alike: _Alike, base: int) -> NextSamples:
    more = alike.vote.more

    def tabulate(seen: int) -> Counts:
        table = [0] * (base * (seen + 1))
        for lead in range(seen + 1):
            for runner_up in range(min(lead, seen - lead) + 1):
                table[lead * base + runner_up] = more(lead, runner_up, seen)
        return np.array(table, dtype=small_uint(max(table)))

    return NextSamples(tabulate)


def _early_stopping(strategy: EarlyStopping, standings: Standings, begun: int) -> StrategyPath:
    most = max(strategy.max_samples, begun)
    told = [standings.agreeing(most, b) for b in range(standings.interleaved.n_ballots)]
    return _rounds(standings, begun, _next_esc(strategy), told, most)


@functools.lru_cache(maxsize=256)
def _next_esc(strategy: EarlyStopping) -> NextSamples:
    """By how many of the last samples agree."""
    window, cap = strategy.window, strategy.max_samples

    def asks(seen: int, run: int) -> int:
        if seen >= cap or (seen and seen % window == 0 and run >= window):
            return 0
        return min(window - seen % window, cap - seen)

    def tabulate(seen: int) -> Counts:
        return np.array([asks(seen, run) for run in range(seen + 1)], dtype=small_uint(cap))

    return NextSamples(tabulate)


def _all_at_once(
    standings: Standings, start: int, samples: int, leaders: Sequence[Counts]
) -> StrategyPath:
    end = max(samples, start)
    costs = SampleCosts(standings.interleaved, start)
    if end > start:
        costs.add_to_all(start, end - start)
    rounds = int(end > start)
    return StrategyPath(end, _rows(leaders, end - 1), rounds, costs.usd(rounds, end))


def _single(strategy: Single, standings: Standings, begun: int) -> StrategyPath:
    leaders = [votes.winner for votes in standings.ballots(max(1, begun))]
    return _all_at_once(standings, begun, 1, leaders)


def _best_of_n(strategy: BestOfN, standings: Standings, begun: int) -> StrategyPath:
    most = max(strategy.samples, begun)
    leaders = standings.best(strategy.verifier, most)
    if strategy.stop_at is None:
        return _all_at_once(standings, begun, strategy.samples, [leaders])
    interleaved, highest = standings.interleaved, standings.highest(strategy.verifier, most)
    costs = SampleCosts(interleaved, begun)
    end = np.full(interleaved.n_rows, begun, dtype=small_uint(most))
    for seen in range(begun, strategy.samples):
        goes_on = end == seen
        if seen:
            goes_on &= highest[seen - 1] < strategy.stop_at
        n = as_uint8(goes_on)
        costs.add(seen, n)
        end += n
    rounds = end - end.dtype.type(begun)
    chosen = (interleaved.pick(leaders, end - 1),)
    return StrategyPath(end, chosen, rounds, costs.usd(rounds, end))


def _weighted(strategy: WeightedConsistency, standings: Standings, begun: int) -> StrategyPath:
    most = max(strategy.samples, begun)
    leaders = [
        standings.heaviest(strategy.verifier, most, ballot)
        for ballot in range(standings.interleaved.n_ballots)
    ]
    return _all_at_once(standings, begun, strategy.samples, leaders)


def _cascade(strategy: Cascade, standings: Standings, begun: int) -> StrategyPath:
    """Stage by stage, all rows at once; ``standings`` are interleaved as ``schedule`` says."""
    interleaved = standings.interleaved
    schedule = strategy.schedule(interleaved.variant_at[:begun])
    weights = np.array([strategy.weight(variant) for variant in interleaved.variant_at])
    votes = [WeightedVotes(interleaved, weights, b) for b in range(interleaved.n_ballots)]
    most = begun + sum(map(len, schedule))
    end = np.full(interleaved.n_rows, begun, dtype=small_uint(most))
    rounds = np.zeros(interleaved.n_rows, dtype=small_uint(len(schedule)))
    going = np.ones(interleaved.n_rows, dtype=np.bool_)
    costs, seen = SampleCosts(interleaved, begun), begun
    for i, asked in enumerate(schedule):
        if not asked:
            continue
        if i:
            stage = strategy.stages[i - 1]
            sure = [of.sure(seen, stage.share, stage.confidence) for of in votes]
            going &= ~np.logical_and.reduce(sure)
            if not going.any():
                break
        n = as_uint8(going) * end.dtype.type(len(asked))
        costs.add(seen, n)
        end += n
        rounds += as_uint8(going)
        seen += len(asked)
    chosen = np.zeros((len(votes), interleaved.n_rows), dtype=small_uint(most))
    for upto in np.unique(end):
        at = end == upto
        for of, places in zip(votes, chosen, strict=True):
            places[at] = of.winner(int(upto))[at]
    return StrategyPath(end, tuple(chosen), rounds, costs.usd(rounds, end))


_PATHS: dict[type, Callable[..., StrategyPath]] = {
    Single: _single,
    BestOfN: _best_of_n,
    Cascade: _cascade,
    WeightedConsistency: _weighted,
    EarlyStopping: _early_stopping,
}


# --- chains ---


class Chains(NamedTuple):
    """A variant's chains under a strategy; arrays are (n_items, n_samples).

    Attributes:
        table: their answers, scores and bills: ``prompt_usd`` is that of the first call, which the
            chains of a round share, all else is in ``completion_usd``.
        queries: how many rounds of search each took.
        forced: whether it was made to answer, which is one more.
    """

    table: VariantTable
    queries: npt.NDArray[np.int16]
    forced: npt.NDArray[np.bool_]


def chains(table: SampleTable, variant: Variant, strategy: Retrieval) -> Chains:
    """The chains of ``variant``; a chain of which a sample is missing has the score NaN.

    Raises:
        UnsupportedError: the table does not have them to that depth.
    """
    turn = Turn("query", strategy.passages)
    at = variant.begun(turn)
    first = table.of(at)
    going = np.ones(first.score.shape, dtype=np.bool_)
    answers = np.full(first.score.shape, ABSTAINED, dtype=np.int16)
    score, usd = np.full(first.score.shape, np.nan), first.completion_usd.copy()
    queries, forced = np.zeros(first.score.shape, dtype=np.int16), np.zeros_like(going)
    for n_samples in range(1, strategy.rounds + 1):
        rows = table.of(at)
        fresh = np.full(going.shape, NO_QUERY) if rows.fresh is None else rows.fresh
        there = going & ~np.isnan(rows.score)
        queries += going
        if n_samples > 1:
            usd = np.where(there, usd + rows.prompt_usd + rows.completion_usd, usd)
        spoke = there & (rows.answers != ABSTAINED)
        match = 0.0 if rows.match is None else rows.match
        stale = (fresh == 0) | (match < strategy.least_match)
        enough = (fresh == NO_QUERY) | (strategy.stop_when_stale & stale)
        silent = there & ~spoke & (enough | (n_samples == strategy.rounds))
        made = table.of(at.below(Turn()))
        answers = np.where(spoke, rows.answers, np.where(silent, made.answers, answers))
        score = np.where(spoke, rows.score, np.where(silent, made.score, score))
        usd = np.where(silent, usd + made.prompt_usd + made.completion_usd, usd)
        forced |= silent
        going = there & ~spoke & ~silent
        at = at.below(turn)
    cut = replace(
        first,
        answers=answers.astype(np.int16),
        score=score,
        completion_usd=usd,
        scores={},
        fields=None,
        fresh=None,
        ended=None,
    )
    return Chains(cut, queries, forced)


class ChainRows(NamedTuple):
    """A variant's chains by permutation, and the rounds of each, (n_samples, n_rows)."""

    rows: VariantRows
    queries: Growing[np.int16]
    forced: Growing[np.int16]


def chain_rows(
    table: SampleTable,
    variant: Variant,
    strategy: Retrieval,
    permutations: Permutations,
    scores: ScoreBlock,
) -> ChainRows:
    """``chains`` by permutation; raises as it does."""
    found = chains(table, variant, strategy)
    rows = VariantRows(found.table, permutations, scores)
    return ChainRows(rows, rows.lay(found.queries), rows.lay(found.forced.astype(np.int16)))
