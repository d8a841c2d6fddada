"""Numbers, intervals and recipes as people read them."""

from __future__ import annotations

import math

import pytest

from tierwise.report import text as n
from tierwise.schema import Recipe, StrategySpec, Variant
from tierwise.strategies import STRATEGIES


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0000226, "$0.0226"),
        (2.7458e-06, "$0.00275"),
        (1.5, "$1,500"),
        (0.0, "$0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_dollars_are_for_a_thousand_requests_without_an_exponent(value, said):
    assert n.usd_per(value) == said


def test_differences_are_points_with_a_sign():
    assert n.points(0.384) == "+38.4"
    assert n.point_bounds([-0.01, 0.02]) == "[-1.0, +2.0]"
    assert n.point_bounds([None, 0.02]) == ""
    assert n.ratio(8.2173) == "×8.2"


PLAIN, STEPS = Variant("plain", "direct", 0.3), Variant("steps", "think", 0.8)
A, B = PLAIN.label, STEPS.label


IN_WORDS = [
    ((STEPS,), "single", {}, f"one sample of {B}"),
    (
        (STEPS,),
        "adaptive_consistency",
        {"threshold": 0.7, "max_samples": 3},
        f"one sample of {B} (up to 3 until one has an answer)",
    ),
    (
        (STEPS, PLAIN),
        "adaptive_consistency",
        {"threshold": 0.9, "max_samples": 9, "window": 1},
        f"a vote of up to 9 samples of {B} and {A}, until the leader is 90% sure",
    ),
    ((STEPS,), "race", {"votes": 3}, f"{B}, race(votes=3)"),  # one that somebody added
    (
        (PLAIN, STEPS),
        "best_of_n",
        {"samples": 4},
        f"the best of 4 samples of {A} and {B} by mean log-probability",
    ),
    (
        (PLAIN, STEPS),
        "best_of_n",
        {"samples": 4, "stop_at": -0.1},
        f"the best of up to 4 samples of {A} and {B} by mean log-probability, until one has "
        "at least -0.1",
    ),
    (
        (PLAIN, STEPS),
        "cascade",
        {"stages": (((0,), 2, 0.75), ((1,), 1))},
        f"a vote in stages: 2 samples of {A}; where the leader has below 75% of the votes, "
        f"1 sample of {B} more",
    ),
    (
        (PLAIN, STEPS),
        "cascade",
        {"stages": (((0,), 2, 1.0, -0.5), ((0, 1), 3)), "weights": (1, 2)},
        f"a weighted vote in stages: 2 samples of {A}; where the leader has below 100% of the "
        f"votes or a mean log-probability below -0.5, 3 samples of {A} and {B} more",
    ),
    (
        (PLAIN,),
        "retrieval",
        {"rounds": 3, "passages": 1},
        f"up to 3 rounds of search by {A}, 1 passage each, until none is new",
    ),
    (
        (PLAIN,),
        "retrieval",
        {"rounds": 1, "samples": 3, "stop_when_stale": False},
        f"up to 1 round of search by {A}, 2 passages each; a vote of 3 such chains",
    ),
    (
        (PLAIN,),
        "retrieval",
        {"rounds": 2, "least_match": 1.0},
        f"up to 2 rounds of search by {A}, 2 passages each, until none is new with 100% of the "
        "query's words",
    ),
    ((PLAIN,), "retrieval", {"rounds": 0}, f"one sample of {A}"),
    ((STEPS,), "self_consistency", {"samples": 5}, f"a vote of 5 samples of {B}"),
    (
        (STEPS,),
        "early_stopping",
        {"window": 3, "max_samples": 9},
        f"a vote of up to 9 samples of {B}, until 3 in a row agree",
    ),
    (
        (STEPS,),
        "weighted_consistency",
        {"samples": 5},
        f"a vote of 5 samples of {B}, weighted by mean log-probability",
    ),
    ((STEPS,), "judged_best_of_n", {"samples": 3}, f"the best of 3 samples of {B} by a judge"),
    (
        (STEPS,),
        "universal_self_consistency",
        {"samples": 3},
        f"3 samples of {B}, and the one of them that the model says agrees best with the others",
    ),
    (
        (STEPS,),
        "self_refine",
        {"rounds": 2},
        f"one sample of {B}, then up to 2 rounds of critique and a new answer, until an answer "
        "stays the same; of these answers the most frequent",
    ),
    (
        (STEPS,),
        "self_refine",
        {"rounds": 1, "verifier": "mean_logprob", "until_stable": False},
        f"one sample of {B}, then up to 1 round of critique and a new answer; of these answers the "
        "best by mean log-probability",
    ),
]


def test_every_strategy_has_words():
    assert {kind for _, kind, _, _ in IN_WORDS} == {*STRATEGIES.classes, "race"}


@pytest.mark.parametrize(("variants", "kind", "params", "said"), IN_WORDS)
def test_recipes_are_in_words(variants, kind, params, said):
    assert n.recipe_in_words(Recipe(variants, StrategySpec.of(kind, params))) == said
