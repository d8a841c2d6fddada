"""What a round of search buys: score by rounds, chains and mode, its plateau, and round or vote.

Retrieval rounds follow the same rising, then flat curve as reasoning (arXiv 2506.18959). One table
of nested chains says what every number of rounds would have come to. Items are told apart by what
is seen beforehand, the length of the question; nobody says how many facts one needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.report._base import Row, Section, by_tier, interval, needed, usd
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.stats import bootstrap_mean
from tierwise.stats.intervals import Interval
from tierwise.stats.rank import pool_adjacent_violators

Mask = npt.NDArray[np.bool_]
FLAT = 0.02
"""The curve is flat from where it is this near to its end: the project's margin for "equal"."""
CHAINS = (1, 3, 5)
PERMUTATIONS = 8
FEWEST_ITEMS = 8


class Point(NamedTuple):
    """One way to spend: ``rounds`` of search, ``chains`` that vote, on one variant."""

    variant: Variant
    passages: int
    rounds: int
    chains: int
    score: Interval
    usd: float


class Curve(NamedTuple):
    """Scores by rounds 0, 1, 2 …, the nearest rising curve, and where that is flat."""

    points: tuple[Point, ...]
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
    among: Mask | None = None,
) -> Curve | None:
    """The curve of a variant ``among`` some items; None where its chains are too few."""
    points = []
    for n in range(rounds + 1):
        spec = StrategySpec.of("retrieval", rounds=n, passages=passages, samples=chains)
        got = evaluator.evaluate(uniform(variant, spec))
        score, dollars = (v if among is None else v[among] for v in (got.score, got.usd))
        if np.isnan(score).any() or not len(score):
            return None
        mean = bootstrap_mean(score, resamples=1000, bounds=(0.0, 1.0))
        points.append(Point(variant, passages, n, chains, mean, float(dollars.mean())))
    rising = pool_adjacent_violators([p.score.mean for p in points])
    plateau = int(np.argmax(rising >= rising[-1] - FLAT))
    return Curve(tuple(points), tuple(float(v) for v in rising), plateau)


def better_buy(here: Point, round_more: Point, vote_more: Point) -> str:
    """Whether the next dollar buys more as a round of search or as a vote, from ``here``."""
    gains = {
        name: (p.score.mean - here.score.mean) / max(p.usd - here.usd, 1e-30)
        for name, p in (("round", round_more), ("vote", vote_more))
    }
    best = max(gains, key=lambda name: gains[name])
    return best if gains[best] > 0 else "neither"


def classes(table: SampleTable) -> list[tuple[str, Mask]]:
    """All items, and those of each length of the input in words where there are enough."""
    length = signal("length")
    words = -np.array([length.value(inputs, ()) for inputs in table.inputs])
    found = [("all", np.ones(table.n_items, dtype=np.bool_))]
    levels = np.unique(words)
    if 1 < len(levels) <= 8:
        found += [
            (f"{level:g} words", words == level)
            for level in levels
            if (words == level).sum() >= FEWEST_ITEMS
        ]
    return found


def search_rows(tier: TierFiles) -> list[Row]:
    """A row a variant, class of items, number of chains and of rounds; none without searches."""
    table = needed(tier.study, f"tables.{tier.name}.npz")
    return [{"tier": tier.name, **row} for row in rows_of(table)]


def rows_of(table: SampleTable, seed: int = 0) -> Iterator[Row]:
    """The rows of one table."""
    evaluator = Evaluator(table, Permutations(PERMUTATIONS, seed), exact=False)
    for (variant, passages), rounds in searched(table).items():
        for name, among in classes(table):
            curves = {n: curve(evaluator, variant, passages, rounds, n, among) for n in CHAINS}
            known = {n: c for n, c in curves.items() if c is not None}
            for chains, found in known.items():
                wider = next((known[n] for n in known if n > chains), None)
                yield from _rows_of_curve(name, int(among.sum()), found, wider)


def _rows_of_curve(name: str, items: int, found: Curve, wider: Curve | None) -> Iterator[Row]:
    for point, rising in zip(found.points, found.rising, strict=True):
        n, score = point.rounds, point.score
        buy = ""
        if wider is not None and n + 1 < len(found.points):
            buy = better_buy(point, found.points[n + 1], wider.points[n])
        yield {
            "variant": point.variant.label,
            "mode": point.variant.mode,
            "passages": point.passages,
            "items": name,
            "n_items": items,
            "chains": point.chains,
            "rounds": n,
            "score": score.mean,
            "score_low": score.low,
            "score_high": score.high,
            "rising": rising,
            "plateau": found.plateau,
            "usd_per_item": point.usd,
            "next_dollar_buys": buy,
        }


def shown(rows: Sequence[Row]) -> list[Row]:
    """Of each tier and class the variant and passages that lead at their plateau, with one chain."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = str(row.get("tier", "")), str(row["items"])
        flat = row["chains"] == 1 and row["rounds"] == row["plateau"]
        if flat and (key not in best or row["rising"] > best[key]["rising"]):
            best[key] = row
    lead = {key: (row["variant"], row["passages"]) for key, row in best.items()}
    return [
        row
        for row in rows
        if lead.get((str(row.get("tier", "")), str(row["items"])))
        == (row["variant"], row["passages"])
    ]


def _rows(run: RunFiles) -> list[Row]:
    rows = by_tier(run, search_rows)
    notes = [row for row in rows if "rounds" not in row]
    leading = {id(row) for row in shown([row for row in rows if "rounds" in row])}
    return notes + [{**row, "leads": id(row) in leading} for row in rows if "rounds" in row]


def _cells(row: Row) -> tuple[str, ...] | None:
    if not row["leads"] or row["chains"] > 1:
        return None
    flat = "flat" if row["rounds"] == row["plateau"] else ""
    return (
        row["tier"],
        row["items"],
        f"{row['variant']} k={row['passages']}",
        str(row["rounds"]),
        interval(row, "score"),
        usd(row["usd_per_item"]),
        flat,
        row["next_dollar_buys"],
    )


SECTION = Section(
    "what does a round of search buy? (one chain of the leading variant; study items)",
    _rows,
    ("tier", "items", "variant", "rounds>", "score>", "1,000 requests>", "", "next dollar"),
    _cells,
)
