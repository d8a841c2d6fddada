"""Labels keep off marks, off each other, and inside the picture."""

from __future__ import annotations

import itertools

import pytest

from tierwise.report.html.labels import LINE, Box, place, spread
from tierwise.report.words import recipe_in_words
from tierwise.schema import Recipe, StrategySpec, Variant

SIZE = (400.0, 300.0)


def test_a_label_stands_right_above_its_mark_where_there_is_room():
    assert place(100, 100, "small", [], SIZE)[:2] == (10, -7)


@pytest.mark.parametrize("at", [(100, 100), (395, 100), (5, 5), (200, 295)])
def test_a_label_covers_nothing_and_stays_inside(at):
    marks = [Box(at[0] - 8, at[1] - 8, at[0] + 8, at[1] + 8), Box(105, 80, 180, 100)]
    first = place(*at, "small", marks, SIZE).box(*at, "small")
    second = place(*at, "other", [*marks, first], SIZE).box(*at, "other")
    for one, other in itertools.combinations([*marks[1:], first, second], 2):
        assert one.on(other) == 0
    assert first.outside(*SIZE) == second.outside(*SIZE) == 0


@pytest.mark.parametrize("at", [[50, 50, 50], [99, 100, 20], [0, 0, 98, 99], [50]])
def test_names_at_one_height_move_apart_and_stay_inside(at):
    moved = spread(at, 0, 100)
    assert all(b - a >= LINE for a, b in itertools.pairwise(sorted(moved)))
    assert min(moved) >= 0
    assert max(moved) <= 100
    assert sorted(range(len(at)), key=lambda i: at[i]) == sorted(
        range(len(at)), key=lambda i: moved[i]
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"rounds": 3, "passages": 1},
            "up to 3 rounds of search by plain/direct/0.3, 1 passage each, until none is new",
        ),
        (
            {"rounds": 1, "samples": 3, "stop_when_stale": False},
            "up to 1 round of search by plain/direct/0.3, 2 passages each; a vote of 3 such chains",
        ),
        (
            {"rounds": 2, "least_match": 1.0},
            "up to 2 rounds of search by plain/direct/0.3, 2 "
            "passages each, until none is new with 100% of the query's words",
        ),
        ({"rounds": 0}, "one sample of plain/direct/0.3"),
    ],
)
def test_a_search_is_said_in_words(params, said):
    recipe = Recipe((Variant("plain", "direct", 0.3),), StrategySpec.of("retrieval", params))
    assert recipe_in_words(recipe) == said
