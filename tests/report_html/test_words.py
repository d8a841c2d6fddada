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


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            StrategySpec.of("best_of_n", samples=4),
            "the best of 4 samples of plain/direct/0.3 and steps/think/0.8 by mean log-probability",
        ),
        (
            StrategySpec.of("best_of_n", samples=4, stop_at=-0.1),
            "the best of up to 4 samples of plain/direct/0.3 and steps/think/0.8 by mean "
            "log-probability, until one has at least -0.1",
        ),
        (
            StrategySpec.of("cascade", stages=(((0,), 2, 0.75), ((1,), 1))),
            "a vote in stages: 2 samples of plain/direct/0.3; where the leader has below 75% of "
            "the votes, 1 sample of steps/think/0.8 more",
        ),
        (
            StrategySpec.of("cascade", stages=(((0,), 2, 1.0, -0.5), ((0, 1), 3)), weights=(1, 2)),
            "a weighted vote in stages: 2 samples of plain/direct/0.3; where the leader has below "
            "100% of the votes or a mean log-probability below -0.5, 3 samples of "
            "plain/direct/0.3 and steps/think/0.8 more",
        ),
    ],
)
def test_best_of_n_and_cascades_are_said_in_words(spec, said):
    variants = (Variant("plain", "direct", 0.3), Variant("steps", "think", 0.8))
    assert recipe_in_words(Recipe(variants, spec)) == said
