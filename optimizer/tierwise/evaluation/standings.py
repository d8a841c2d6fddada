"""Who leads after each sample, by votes, by a verifier, by weighted votes: for all rows at once.

Everything here is (length, n_rows), by number of samples seen less one: a strategy that stops after
n samples reads row n - 1. Nothing is computed beyond the samples that somebody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.interleaved import (
    USUAL_SAMPLES,
    Counts,
    Growing,
    Interleaved,
    as_uint8,
    small_uint,
)
from tierwise.evaluation.table import ABSTAINED
from tierwise.stats.intervals import Floats
from tierwise.strategies.cascade import CONFIDENCE_SCORE


class VoteStates:
    """Counts of leader and runner-up after each sample, and whose answer leads, in one ballot.

    Attributes:
        length: samples that there is room for; ``upto`` says how many are known.
        base: more than a runner-up can have.
        counts: (length, n_rows), ``lead * base + runner_up``.
        winner: (length, n_rows), position of the first sample with the leading answer; while there
            are only abstentions, of the first sample.
        first: (length, n_rows), position of the first sample with this sample's answer.
        nbytes: what the known rows take.
    """

    def __init__(self, interleaved: Interleaved, length: int, ballot: int) -> None:
        self._interleaved, self._known, self.length = interleaved, 0, length
        self.base = length // 2 + 1
        shape, place = (length, interleaved.n_rows), small_uint(length)
        self.counts: Counts = np.empty(shape, dtype=small_uint(length * self.base))
        self.winner: Counts = np.empty(shape, dtype=place)
        self.first: Counts = np.empty(shape, dtype=place)
        self._codes = [variant.ballots[ballot] for variant in interleaved.variants]
        widest = np.result_type(*(codes.upto(0) for codes in self._codes))
        self._answers = np.empty(shape, dtype=widest)
        self._earliest = np.arange(length, 0, -1).astype(place)[:, None]
        self._lead, self._runner_up, self._winner = np.zeros((3, interleaved.n_rows), dtype=place)
        self.nbytes = 0

    def upto(self, samples: int) -> VoteStates:
        """Itself, with the first ``samples`` rows known."""
        if samples > self._known:
            for t in range(self._known, samples):
                self._see(t)
            arrays = self.counts, self.winner, self.first, self._answers
            self._known, self.nbytes = samples, sum(rows[:samples].nbytes for rows in arrays)
        return self

    def lead(self, seen: int) -> npt.NDArray[Any]:
        """(n_rows,): votes of the leader after ``seen`` samples."""
        lead: npt.NDArray[Any] = self.upto(seen).counts[seen - 1] // self.base
        return lead

    def _see(self, t: int) -> None:
        # Comparing with every earlier sample is quadratic, and yet many times as fast as counting
        # by scattered indices, because it is branch-free arithmetic on bytes; so is all that
        # follows, where np.where would read more plainly and take ten times as long.
        lead, runner_up, winner = self._lead, self._runner_up, self._winner
        answer = self._interleaved.at(t, self._codes)
        self._answers[t] = answer
        same = as_uint8(self._answers[: t + 1] == answer)
        # An abstention counts nothing, and so changes nothing below.
        count = same.sum(axis=0, dtype=lead.dtype) * as_uint8(answer != ABSTAINED)
        first = self.length - (same * self._earliest[: t + 1]).max(axis=0)
        overtakes = (count > lead) | ((count == lead) & (first < winner))
        np.maximum(runner_up, np.minimum(count, lead) * as_uint8(first != winner), out=runner_up)
        np.maximum(lead, count, out=lead)
        winner += (first - winner) * as_uint8(overtakes)
        np.multiply(lead, self.base, out=self.counts[t], dtype=self.counts.dtype)
        self.counts[t] += runner_up
        self.winner[t], self.first[t] = winner, first


class _Sized(Protocol):
    nbytes: int


Kept = TypeVar("Kept", bound=_Sized)


class Standings:
    """All that strategies have asked about one row of interleaved samples."""

    # The samples do not know their standings: in a cycle these would wait for the garbage
    # collector, and new ones would take memory that the process never had, which is what costs
    # time.
    def __init__(self, interleaved: Interleaved) -> None:
        self.interleaved = interleaved
        self._kept: dict[Hashable, Any] = {}

    @property
    def nbytes(self) -> int:
        """What is known by now."""
        return sum(kept.nbytes for kept in self._kept.values())

    def ballots(self, upto: int) -> list[VoteStates]:
        """``votes`` of every ballot."""
        return [self.votes(upto, ballot) for ballot in range(self.interleaved.n_ballots)]

    def votes(self, upto: int, ballot: int = 0) -> VoteStates:
        """The states of a plurality vote over the first ``upto`` samples."""
        # In small numbers where these are enough: for the usual samples, else for all that there
        # are.
        usual = min(USUAL_SAMPLES, self.interleaved.length)
        length = usual if upto <= usual else self.interleaved.length
        made = self._once(
            ("votes", length, ballot), lambda: VoteStates(self.interleaved, length, ballot)
        )
        return made.upto(upto)

    def agreeing(self, upto: int, ballot: int = 0) -> Counts:
        """How many samples up to this one gave its answer without a break; 0 for an abstention."""
        made = self._once(("agreeing", ballot), lambda: _agreeing(self.interleaved, ballot))
        return made.upto(upto)

    def best(self, verifier: str, upto: int) -> Counts:
        """The sample that a verifier ranks first, the earliest on a tie."""
        return self._once(("best", verifier), lambda: _best(self.interleaved, verifier)).upto(upto)

    def highest(self, verifier: str, upto: int) -> npt.NDArray[np.float64]:
        """The highest score of an answer so far; less than any number where there is none."""

        def compute() -> Growing[np.float64]:
            ranks = [variant.rank(verifier, spoken=True) for variant in self.interleaved.variants]

            def after(t: int, highest: Floats) -> Floats:
                rank = self.interleaved.at(t, ranks)
                return np.maximum(highest[t - 1], rank) if t else rank

            return Growing(self.interleaved.n_rows, np.float64, after)

        return self._once(("highest", verifier), compute).upto(upto)

    def heaviest(self, verifier: str, upto: int, ballot: int = 0) -> Counts:
        """The first sample of the answer with the largest sum of weights exp(score), as
        ``WeightedConsistency`` counts; on a tie the answer seen first."""
        states, n_rows = self.votes(upto, ballot), self.interleaved.n_rows
        key = verifier, states.length, ballot
        totals = self._once(
            ("weights", key), lambda: Growing(n_rows, np.float64, lambda t, _: np.zeros(n_rows))
        )
        return self._once(
            ("heaviest", key), lambda: _heaviest(self.interleaved, states, totals, verifier)
        ).upto(upto)

    def _once(self, what: Hashable, compute: Callable[[], Kept]) -> Kept:
        if what not in self._kept:
            self._kept[what] = compute()
        value: Kept = self._kept[what]
        return value


def _agreeing(interleaved: Interleaved, ballot: int) -> Growing[np.unsignedinteger[Any]]:
    answers = [variant.ballots[ballot] for variant in interleaved.variants]

    def after(t: int, runs: Counts) -> Counts:
        this = interleaved.at(t, answers)
        run = as_uint8(this != ABSTAINED)
        if t:
            run = run + runs[t - 1] * as_uint8(this == interleaved.at(t - 1, answers))
        return run

    return Growing(interleaved.n_rows, small_uint(interleaved.length), after)


def _best(interleaved: Interleaved, verifier: str) -> Growing[np.unsignedinteger[Any]]:
    """Answered before abstaining, then scored before unscored, as ``BestOfN`` ranks them."""
    ranks = [variant.rank(verifier, spoken=True) for variant in interleaved.variants]
    some_silent = any(variant.silent for variant in interleaved.variants)
    silent = (
        [variant.rank(verifier, spoken=False) for variant in interleaved.variants]
        if some_silent
        else []
    )
    best, best_silent = np.full((2, interleaved.n_rows), -np.inf)

    def after(t: int, leaders: Counts) -> Counts:
        rank = interleaved.at(t, ranks)
        takes = rank > best
        np.maximum(best, rank, out=best)
        if silent:
            rank = interleaved.at(t, silent)
            takes |= (best == -np.inf) & (rank > best_silent)
            np.maximum(best_silent, rank, out=best_silent)
        before = leaders[t - 1] if t else np.zeros(interleaved.n_rows, dtype=leaders.dtype)
        return before + (t - before) * as_uint8(takes)

    return Growing(interleaved.n_rows, small_uint(interleaved.length), after)


def _heaviest(
    interleaved: Interleaved, states: VoteStates, totals: Growing[np.float64], verifier: str
) -> Growing[np.unsignedinteger[Any]]:
    weights = [variant.weight(verifier) for variant in interleaved.variants]
    lead, winner = (
        np.full(interleaved.n_rows, -1.0),
        np.zeros(interleaved.n_rows, dtype=states.first.dtype),
    )

    def after(t: int, leaders: Counts) -> Counts:
        first = states.upto(t + 1).first[t]
        at = interleaved.flat(first)
        by_first_sight = totals.upto(t + 1).ravel()
        # Summed in the order seen, as the strategy does.
        weight = interleaved.at(t, weights)
        total = by_first_sight.take(at) + weight
        by_first_sight[at] = total
        overtakes = (total > lead) | ((total == lead) & (first < winner))
        winner[:] += (first - winner) * as_uint8(overtakes)
        np.maximum(lead, total, out=lead)
        return winner

    return Growing(interleaved.n_rows, states.first.dtype.type, after)


class WeightedVotes:
    """Weighted votes over interleaved samples, after any number of them, in one ballot.

    ``weights`` (n_samples,) is what the vote at each interleaved place counts.
    """

    def __init__(self, interleaved: Interleaved, weights: Floats, ballot: int = 0) -> None:
        self._interleaved, self._weights, self._ballot = interleaved, weights, ballot
        self._totals: Floats = np.empty((0, interleaved.n_rows))
        self._answers = np.empty((0, interleaved.n_rows), dtype=np.int16)

    def winner(self, upto: int) -> Counts:
        """(n_rows,): place of the first sample of the answer with the most weight.

        Where all abstain it is the first sample: stored samples do not fail.
        """
        self._see(upto)
        leaders: Counts = self._totals.argmax(axis=0).astype(small_uint(max(upto, 1)))
        return leaders

    def sure(self, upto: int, share: float, confidence: float | None) -> npt.NDArray[np.bool_]:
        """(n_rows,): whether the leader ends the request, as ``Cascade.sure`` has it."""
        self._see(upto)
        rows = np.arange(self._interleaved.n_rows)
        leaders = self._totals.argmax(axis=0)
        total = 0.0
        for weight in self._weights[:upto]:
            total += float(weight)
        votes = self._totals[leaders, rows]
        enough: npt.NDArray[np.bool_] = (votes > 0) & (votes >= share * total * (1 - 1e-9))
        if confidence is None or not enough.any():
            return enough
        summed, known = np.zeros((2, self._interleaved.n_rows))
        scores = self._interleaved.verifier(CONFIDENCE_SCORE, upto)
        said = self._answers[leaders, rows]
        for t in range(upto):
            counts = (self._answers[t] == said) & ~np.isnan(scores[t])
            summed += np.where(counts, scores[t], 0.0)
            known += counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return enough & (known > 0) & (summed / known >= confidence)

    def _see(self, upto: int) -> None:
        """Know the weight of each of the first ``upto`` samples' answers, summed in their order."""
        if len(self._totals) == upto:
            return
        self._answers = self._interleaved.cast(self._ballot, upto).astype(np.int16)
        self._totals = np.where(self._answers == ABSTAINED, 0.0, self._weights[:upto, None])
        for t in range(1, upto):
            for before in range(t):
                same = (self._answers[t] == self._answers[before]) & (self._answers[t] != ABSTAINED)
                self._totals[before] += same * self._weights[t]
