"""Chains of search as variants: what each came to at a given depth, so that votes need nothing new.

The chain of a sample, cut at a number of rounds, has an answer, a score and a cost like a sample; an
variant of such samples goes through the votes as any other. Only rounds are counted apart: the chains of
a round of the vote run side by side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation.growing import Growing
from tierwise.evaluation.permutations import Permutations
from tierwise.evaluation.shelf import Shelf
from tierwise.evaluation.table import ABSTAINED, NO_QUERY, SampleTable, VariantTable
from tierwise.evaluation.variant_rows import VariantRows
from tierwise.schema import Turn, Variant
from tierwise.strategies import Retrieval


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
        fresh=None,
        ended=None,
    )
    return Chains(cut, queries, forced)


class ChainRows(NamedTuple):
    """A variant's chains laid out by order, and the rounds that each takes, (depth, n_rows)."""

    rows: VariantRows
    queries: Growing[np.int16]
    forced: Growing[np.int16]


def chain_rows(
    table: SampleTable,
    variant: Variant,
    strategy: Retrieval,
    permutations: Permutations,
    scores: Shelf,
) -> ChainRows:
    """``chains`` by order; raises as it does."""
    found = chains(table, variant, strategy)
    rows = VariantRows(found.table, permutations, scores)
    return ChainRows(rows, rows.lay(found.queries), rows.lay(found.forced.astype(np.int16)))
