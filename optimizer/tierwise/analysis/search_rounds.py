"""What a round of search buys: score by rounds, chains and mode, its plateau, and round or vote.

Retrieval rounds follow the same rising, then flat curve as reasoning (arXiv 2506.18959). One table
of nested chains says what every number of rounds would have come to. Items are told apart by what
is known before an answer, the length of the question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.measured import NONE_FAILED, FailedItems
from tierwise.stats import Interval, bootstrap_mean, pareto_front, pool_adjacent_violators

_Mask = npt.NDArray[np.bool_]
FLAT = 0.02
"""The curve is flat from where it is this near to its end: the project's margin for "equal"."""
CHAINS = (1, 3, 5)
PERMUTATIONS = 8
_FEWEST_ITEMS = 8


class SearchPoint(NamedTuple):
    """One way to spend: `rounds` of search, `chains` that vote, on one variant."""

    variant: Variant
    passages: int
    rounds: int
    chains: int
    score: Interval
    usd: float


class SearchCurve(NamedTuple):
    """Scores by rounds 0, 1, 2 …, the nearest rising curve, and where that is flat."""

    points: tuple[SearchPoint, ...]
    rising: tuple[float, ...]
    plateau: int


def searched(table: SampleTable) -> dict[tuple[Variant, int], int]:
    """(variant, passages of a round) -> rounds that the table has."""
    found: dict[tuple[Variant, int], int] = {}
    for node in table.nodes:
        if node.turn.name == "query" and node.root in table.variants:
            key = node.root, node.turn.passages
            found[key] = max(found.get(key, 0), len(node.path))
    return found


def curve(
    evaluator: Evaluator,
    variant: Variant,
    passages: int,
    rounds: int,
    chains: int = 1,
    among: _Mask | None = None,
) -> SearchCurve | None:
    """The curve of a variant `among` some items; None where its chains are too few."""
    points = []
    for n in range(rounds + 1):
        spec = StrategySpec.of("retrieval", rounds=n, passages=passages, samples=chains)
        got = evaluator.evaluate(uniform(variant, spec))
        score, dollars = (v if among is None else v[among] for v in (got.score, got.usd))
        if np.isnan(score).any() or not len(score):
            return None
        mean = bootstrap_mean(score, resamples=1000, bounds=(0.0, 1.0))
        points.append(SearchPoint(variant, passages, n, chains, mean, float(dollars.mean())))
    rising = pool_adjacent_violators([p.score.mean for p in points])
    plateau = int(np.argmax(rising >= rising[-1] - FLAT))
    return SearchCurve(tuple(points), tuple(float(v) for v in rising), plateau)


def better_buy(
    here: SearchPoint, round_more: SearchPoint, vote_more: SearchPoint
) -> Literal["round", "vote", "neither"]:
    """Whether the next dollar buys more as a round of search or as a vote, from `here`."""
    a_round, a_vote = (
        (p.score.mean - here.score.mean) / max(p.usd - here.usd, 1e-30)
        for p in (round_more, vote_more)
    )
    if max(a_round, a_vote) <= 0:
        return "neither"
    return "round" if a_round >= a_vote else "vote"


def classes(table: SampleTable) -> list[tuple[str, _Mask]]:
    """All items, and those of each length of the input in words where there are enough."""
    length = signal("length")
    words = -np.array([length.value(inputs, ()) for inputs in table.inputs])
    found = [("all", np.ones(table.n_items, dtype=np.bool_))]
    levels = np.unique(words)
    if 1 < len(levels) <= 8:
        found += [
            (f"{level:g} words", words == level)
            for level in levels
            if (words == level).sum() >= _FEWEST_ITEMS
        ]
    return found


@dataclass(frozen=True)
class SearchRow:
    """A number of rounds and chains of a variant on a class of items.

    Attributes:
        passages: of a round.
        items: name of the class of items; `n_items`: how many these are.
        rising: the nearest rising curve; `plateau`: rounds from which on it is flat.
        next_dollar_buys: more as a round or as a vote, or neither; empty: not known.
        leads: of the variant and passages that lead the class at their plateau, with one chain.
        on_front: no variant, passages, chains and rounds of this class score more for as much
            (the front of score and cost over all of them, 2506.18959).
    """

    tier: str
    variant: str
    mode: str
    passages: int
    items: str
    n_items: int
    chains: int
    rounds: int
    score: Interval
    rising: float
    plateau: int
    usd_per_item: float
    next_dollar_buys: Literal["", "round", "vote", "neither"]
    failed: FailedItems = NONE_FAILED
    leads: bool = False
    on_front: bool = False


def search_rows(tier: str, table: SampleTable) -> list[SearchRow]:
    """A row a variant, class of items, number of chains and of rounds; none without searches."""
    rows = list(_rows(tier, Evaluator(table, Permutations(PERMUTATIONS), exact=False)))
    found = []
    for items in dict.fromkeys(row.items for row in rows):
        here = [row for row in rows if row.items == items]
        flat = [row for row in here if row.chains == 1 and row.rounds == row.plateau]
        lead = max(flat, key=lambda row: row.rising)
        front = pareto_front([row.score.mean for row in here], [row.usd_per_item for row in here])
        found += [
            replace(
                row,
                leads=(row.variant, row.passages) == (lead.variant, lead.passages),
                on_front=i in front,
            )
            for i, row in enumerate(here)
        ]
    return found


def _rows(tier: str, evaluator: Evaluator) -> Iterator[SearchRow]:
    table = evaluator.table
    for (variant, passages), rounds in searched(table).items():
        for name, among in classes(table):
            failed = table.rows(np.flatnonzero(among)).failed_items([variant])
            curves = {n: curve(evaluator, variant, passages, rounds, n, among) for n in CHAINS}
            known = {n: c for n, c in curves.items() if c is not None}
            for chains, found in known.items():
                wider = next((known[n] for n in known if n > chains), None)
                for point, rising in zip(found.points, found.rising, strict=True):
                    n = point.rounds
                    yield SearchRow(
                        tier=tier,
                        variant=variant.label,
                        mode=variant.mode,
                        passages=passages,
                        items=name,
                        n_items=int(among.sum()),
                        chains=chains,
                        rounds=n,
                        score=point.score,
                        rising=rising,
                        plateau=found.plateau,
                        usd_per_item=point.usd,
                        next_dollar_buys=better_buy(point, found.points[n + 1], wider.points[n])
                        if wider is not None and n + 1 < len(found.points)
                        else "",
                        failed=failed,
                    )
