"""Who leads after each draw, by votes, by a verifier, by weighted votes: for all rows at once.

Everything here is (length, n_rows), by number of draws seen less one: a strategy that stops after n
draws reads row n - 1. Nothing is computed beyond the draws that somebody asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.dealt import USUAL_DRAWS, Dealt
from tierwise.evaluation.growing import Growing
from tierwise.evaluation.table import ABSTAINED

Leaders = npt.NDArray[np.signedinteger[Any]]
"""(length, n_rows): position of the draw that would be returned, or a count of draws."""


class VoteStates:
    """Counts of leader and runner-up after each draw, and whose answer leads.

    Attributes:
        length: draws that there is room for; ``upto`` says how many are known.
        base: one more than ``length``.
        counts: (length, n_rows), ``lead * base + runner_up``.
        winner: (length, n_rows), position of the first draw with the leading answer; while there
            are only abstentions, of the first draw.
        first: (length, n_rows), position of the first draw with this draw's answer.
    """

    def __init__(self, dealt: Dealt, length: int) -> None:
        self._dealt, self._known, self.length = dealt, 0, length
        self.base = length + 1
        shape = length, dealt.n_rows
        small = dealt.small
        self.counts = np.empty(shape, dtype=np.int16 if self.base**2 < 2**15 else np.int32)
        self.winner, self.first = np.empty(shape, dtype=small), np.empty(shape, dtype=small)
        self._answers = np.empty(shape, dtype=np.result_type(*(a.answers for a in dealt.arms)))
        self._earliest = np.arange(length, 0, -1, dtype=small)[:, None]
        self._lead = np.zeros(dealt.n_rows, dtype=small)
        self._runner_up, self._winner = self._lead.copy(), self._lead.copy()

    def upto(self, draws: int) -> VoteStates:
        """Itself, with the first ``draws`` rows known."""
        for t in range(self._known, draws):
            self._see(t)
        self._known = max(self._known, draws)
        return self

    def lead(self, seen: int) -> npt.NDArray[Any]:
        """(n_rows,): votes of the leader after ``seen`` draws."""
        lead: npt.NDArray[Any] = self.upto(seen).counts[seen - 1] // self.base
        return lead

    def _see(self, t: int) -> None:
        # Comparing with every earlier draw is quadratic, and yet many times as fast as counting by
        # scattered indices, because it is branch-free arithmetic on small integers; so is all that
        # follows, where np.where would read more plainly and take ten times as long.
        answers, lead, runner_up, winner = self._answers, self._lead, self._runner_up, self._winner
        answers[t] = self._dealt.at(t, [arm.answers for arm in self._dealt.arms])
        same = (answers[: t + 1] == answers[t]).view(np.int8)
        count: npt.NDArray[Any] = np.zeros(len(lead), dtype=lead.dtype)
        for earlier in same:
            count += earlier
        first = self.length - (same * self._earliest[: t + 1]).max(axis=0)
        voted = answers[t] != ABSTAINED
        count *= voted
        other = voted & ~((first == winner) & (lead > 0))
        overtakes = other & ((count > lead) | ((count == lead) & (first < winner)))
        np.maximum(runner_up, np.minimum(count, lead) * other, out=runner_up)
        np.maximum(lead, count, out=lead)
        winner += (first - winner) * overtakes
        np.multiply(lead, self.base, out=self.counts[t], dtype=self.counts.dtype)
        self.counts[t] += runner_up
        self.winner[t], self.first[t] = winner, first


def votes(dealt: Dealt, upto: int) -> VoteStates:
    """The states of a plurality vote over the first ``upto`` draws."""
    # In small numbers where these are enough: for the usual draws, else for all that there are.
    usual = min(USUAL_DRAWS, dealt.length)
    length = usual if upto <= usual else dealt.length
    return dealt.kept(("votes", length), lambda: VoteStates(dealt, length)).upto(upto)


def agreeing(dealt: Dealt) -> Growing[np.signedinteger[Any]]:
    """How many draws up to this one gave its answer without a break; 0 for an abstention."""
    answers = [arm.answers for arm in dealt.arms]

    def after(t: int, runs: Leaders) -> Leaders:
        this = dealt.at(t, answers)
        run = np.ones(dealt.n_rows, dtype=dealt.small)
        if t:
            run += runs[t - 1] * (this == dealt.at(t - 1, answers))
        np.multiply(run, this != ABSTAINED, out=run)
        return run

    return Growing(dealt.n_rows, dealt.small, after)


def best_so_far(dealt: Dealt, verifier: str) -> Growing[np.signedinteger[Any]]:
    """The draw that a verifier ranks first, the earliest on a tie.

    Answered before abstaining, then scored before unscored, as ``BestOfN`` ranks them.
    """
    answers = [arm.answers for arm in dealt.arms]
    ranks = [arm.rank(verifier) for arm in dealt.arms]
    best, best_silent = np.full((2, dealt.n_rows), -np.inf)
    nobody_spoke = np.ones(dealt.n_rows, dtype=np.bool_)

    def after(t: int, leaders: Leaders) -> Leaders:
        spoke = dealt.at(t, answers) != ABSTAINED
        rank = dealt.at(t, ranks)
        takes = spoke & (rank > best)
        np.copyto(best, rank, where=takes)
        if nobody_spoke.any():
            np.logical_and(nobody_spoke, ~spoke, out=nobody_spoke)
            takes |= nobody_spoke & (rank > best_silent)
            np.maximum(best_silent, rank, out=best_silent)
        leader = np.zeros(dealt.n_rows, dtype=dealt.small)
        if t:
            leader += leaders[t - 1]
        leader += (t - leader) * takes
        return leader

    return Growing(dealt.n_rows, dealt.small, after)


def heaviest_so_far(dealt: Dealt, verifier: str) -> Growing[np.signedinteger[Any]]:
    """The first draw of the answer with the largest sum of weights exp(score), as
    ``WeightedConsistency`` counts; on a tie the answer seen first."""
    answers = [arm.answers for arm in dealt.arms]
    weights = [arm.weight(verifier) for arm in dealt.arms]
    totals = Growing(dealt.n_rows, np.float64, lambda t, _: np.zeros(dealt.n_rows))
    lead = np.full(dealt.n_rows, -1.0)

    def after(t: int, leaders: Leaders) -> Leaders:
        first = votes(dealt, t + 1).first[t]
        voted = dealt.at(t, answers) != ABSTAINED
        at = first.astype(np.intp) * dealt.n_rows + dealt.all_rows
        by_first_sight = totals.upto(t + 1).ravel()
        # Summed in the order seen, as the strategy does.
        total = by_first_sight.take(at) + dealt.at(t, weights)
        by_first_sight[at] = total
        winner = np.zeros(dealt.n_rows, dtype=dealt.small)
        if t:
            winner += leaders[t - 1]
        overtakes = voted & ((total > lead) | ((total == lead) & (first < winner)))
        winner += (first - winner) * overtakes
        np.maximum(lead, np.where(voted, total, -1.0), out=lead)
        return winner

    return Growing(dealt.n_rows, dealt.small, after)
