"""Score by rounds: the curve, where it is flat, and where a dollar buys more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.turns import search_worlds as world
from tests.turns import worlds
from tierwise.analysis.search_rounds import SearchPoint, better_buy, curve, search_rows, searched
from tierwise.evaluation import Evaluator, Permutations
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import StrategySpec, uniform
from tierwise.search.samples import samples_needed
from tierwise.stats.intervals import Interval

PLAIN = worlds.VARIANTS[0]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    spec = StrategySpec.of("retrieval", rounds=3, samples=5)
    with worlds.opened(tmp_path_factory.mktemp("rounds")) as pool:
        buyer = world.buyer(pool, ScriptedModel(world.script), world.library())
        return buyer.table(worlds.ITEMS, samples_needed([uniform(PLAIN, spec)]), "t")


def test_the_curve_is_what_the_strategies_come_to(table) -> None:
    judge = Evaluator(table, Permutations(4, 0), exact=False)
    assert searched(table) == {(PLAIN, 2): 3}
    found = curve(judge, PLAIN, 2, 3)
    for point in found.points:
        spec = StrategySpec.of("retrieval", rounds=point.rounds, passages=2)
        got = judge.evaluate(uniform(PLAIN, spec))
        assert point.score.mean == pytest.approx(got.mean_score)
        assert point.usd == pytest.approx(got.mean_usd)
    assert (np.diff(found.rising) >= 0).all()
    assert found.rising[found.plateau] >= found.rising[-1] - 0.02


def test_every_number_of_chains_and_rounds_has_a_row_with_its_interval(table) -> None:
    rows = search_rows("weak", table)
    assert {(r.chains, r.rounds) for r in rows} == {(c, n) for c in (1, 3, 5) for n in range(4)}
    assert all(r.score.low <= r.score.mean <= r.score.high for r in rows)
    assert all(r.leads for r in rows)


def test_what_is_on_the_front_scores_most_for_its_dollars(table) -> None:
    rows = search_rows("weak", table)
    for row in rows:
        others = [r for r in rows if r.items == row.items and r.usd_per_item <= row.usd_per_item]
        best = max(r.score.mean for r in others)
        cheaper = [r for r in others if r.usd_per_item < row.usd_per_item]
        assert row.on_front == (
            row.score.mean == best and all(r.score.mean < best for r in cheaper)
        ), row
    assert 1 < sum(r.on_front for r in rows) < len(rows)


@pytest.mark.parametrize(
    ("round_gain", "vote_gain", "says"),
    [(0.2, 0.1, "round"), (0.1, 0.3, "vote"), (0.0, -0.1, "neither")],
)
def test_a_dollar_goes_where_it_buys_most(round_gain, vote_gain, says) -> None:
    def at(score, usd):
        return SearchPoint(PLAIN, 1, 1, 1, Interval(score, score, score), usd)

    assert better_buy(at(0.5, 1.0), at(0.5 + round_gain, 2.0), at(0.5 + vote_gain, 2.0)) == says
