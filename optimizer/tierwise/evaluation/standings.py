"""Who leads after each draw, by votes, by a verifier, by weighted votes: for all rows at once.

Everything here is (length, n_rows), by number of draws seen less one: a strategy that stops after n
draws reads row n - 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.dealt import Codes, Floats
from tierwise.evaluation.table import ABSTAINED

Leaders = npt.NDArray[np.signedinteger[Any]]
"""(length, n_rows): position of the draw that would be returned."""


class VoteStates:
    """Counts of leader and runner-up after each draw, and whose answer leads.

    Attributes:
        base: one more than the most votes there can be.
        code: (length, n_rows), ``lead * base + runner_up`` after draw t.
        winner: (length, n_rows), position of the first draw with the leading answer; while there
            are only abstentions, of the first draw.
    """

    def __init__(self, answers: Codes) -> None:
        length, n_rows = answers.shape
        self.base = length + 1
        small: type[np.int8 | np.int16] = np.int8 if length < 127 else np.int16
        narrow = answers.astype(np.int8) if answers.max(initial=0) < 127 else answers
        self.code = np.empty((length, n_rows), dtype=np.int16 if length < 180 else np.int32)
        self.winner = np.empty((length, n_rows), dtype=small)
        earliest = np.arange(length, 0, -1, dtype=small)[:, None]
        lead: npt.NDArray[Any] = np.zeros(n_rows, dtype=small)
        runner_up, winner = lead.copy(), lead.copy()
        for t in range(length):
            # Comparing with every earlier draw is quadratic, and yet many times as fast as counting
            # by scattered indices, because it is branch-free arithmetic on small integers; so is
            # all that follows, where np.where would read more plainly and take ten times as long.
            same = (narrow[: t + 1] == narrow[t]).view(np.int8)
            count: npt.NDArray[Any] = np.zeros(n_rows, dtype=small)
            for earlier in same:
                count += earlier
            first = length - (same * earliest[: t + 1]).max(axis=0)
            voted = narrow[t] != ABSTAINED
            count *= voted
            other = voted & ~((first == winner) & (lead > 0))
            overtakes = other & ((count > lead) | ((count == lead) & (first < winner)))
            np.maximum(runner_up, np.minimum(count, lead) * other, out=runner_up)
            np.maximum(lead, count, out=lead)
            winner += (first - winner) * overtakes
            np.multiply(lead, self.base, out=self.code[t], dtype=self.code.dtype)
            self.code[t] += runner_up
            self.winner[t] = winner


def agreeing(answers: Codes) -> Codes:
    """How many draws up to this one gave its answer without a break; 0 for an abstention."""
    runs = np.ones(answers.shape, dtype=np.int16)
    for t in range(1, len(answers)):
        runs[t] += runs[t - 1] * (answers[t] == answers[t - 1])
    runs *= answers != ABSTAINED
    return runs


def best_so_far(answers: Codes, score: Floats) -> Leaders:
    """The draw that a verifier ranks first, the earliest on a tie.

    Answered before abstaining, then scored before unscored, as ``BestOfN`` ranks them.
    """
    silent = answers == ABSTAINED
    unscored = np.where(np.isnan(score), -np.finfo(np.float64).max, score)
    leaders = _running_argmax(np.where(silent, -np.inf, unscored))
    if silent.any():
        among_silent = _running_argmax(unscored)
        nobody_spoke = np.logical_and.accumulate(silent, axis=0)
        leaders = np.where(nobody_spoke, among_silent, leaders)
    return leaders


def heaviest_so_far(answers: Codes, score: Floats) -> Leaders:
    """The first draw of the answer with the largest sum of weights exp(score), as
    ``WeightedConsistency`` counts; on a tie the answer seen first."""
    length, n_rows = answers.shape
    voted = answers != ABSTAINED
    weight = np.where(np.isnan(score), 0.0, np.exp(np.minimum(score, 0.0))) * voted
    rows = np.arange(n_rows)
    at = np.where(voted, answers, 0).astype(np.intp) * n_rows + rows
    n_answers = int(answers.max(initial=0)) + 1
    totals = np.zeros(n_answers * n_rows)
    first = np.full(n_answers * n_rows, length, dtype=np.int16)
    lead, winner = np.full(n_rows, -1.0), np.zeros(n_rows, dtype=np.int16)
    leaders = np.empty((length, n_rows), dtype=np.int16)
    for t in range(length):
        total = totals.take(at[t]) + weight[t]  # summed in the order seen, as the strategy does
        totals[at[t]] = total
        seen_at = np.minimum(first.take(at[t]), np.where(voted[t], t, length)).astype(np.int16)
        first[at[t]] = seen_at
        overtakes = voted[t] & ((total > lead) | ((total == lead) & (seen_at < winner)))
        winner += (seen_at - winner) * overtakes
        np.maximum(lead, np.where(voted[t], total, -1.0), out=lead)
        leaders[t] = winner
    return leaders


def _running_argmax(rank: Floats) -> Leaders:
    length, n_rows = rank.shape
    leaders = np.zeros((length, n_rows), dtype=np.int16)
    best = rank[0].copy()
    for t in range(1, length):
        leaders[t] = leaders[t - 1] + (t - leaders[t - 1]) * (rank[t] > best)
        np.maximum(best, rank[t], out=best)
    return leaders
