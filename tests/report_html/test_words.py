"""Recipes in words."""

from __future__ import annotations

import pytest

from tierwise.report.text import recipe_in_words
from tierwise.schema import Recipe, StrategySpec, Variant


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
