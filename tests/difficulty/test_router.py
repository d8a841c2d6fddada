"""The router at run time: named features of a text, and weights in plain sight."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from tierwise.difficulty.router import Router, probability
from tierwise.difficulty.router_features import (
    ROUTER_FEATURES,
    TEXT_FEATURES,
    router_features,
    text_features,
)
from tierwise.errors import InputError
from tierwise.schema import Weight
from tierwise.strategies import Sample


def test_features_are_few_and_each_has_a_name():
    assert len(ROUTER_FEATURES) <= 50
    assert len(set(ROUTER_FEATURES)) == len(ROUTER_FEATURES)


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("words", "3 + 4 - 1", 5),
        ("numbers", "3 + 14 - 1.5", 3),
        ("decimals", "1.5 and 2", 1),
        ("long_numbers", "3 + 14 - 150", 2),
        ("longest_number", "3 + 150", 3),
        ("operators", "3 + 4 - 1 * 2", 3),
        ("plus", "3 + 4 + 1", 2),
        ("minus", "3 - 4 well-known", 1),
        ("times", "3 * 4 × 2", 2),
        ("divide", "8 / 2 ÷ 2", 2),
        ("asks_how_many", "How many are left?", 1),
        ("asks_what", "What is it, and which?", 2),
        ("question_marks", "a? b?", 2),
        ("clauses", "first a; then b, and c", 2),
        ("negations", "It isn't, no, never", 3),
        ("conditions", "If a then b", 2),
        ("relations", "boss of friend of ann", 2),
        ("number_words", "twice as many as three dozen", 3),
        ("percents", "5% or 3 percent", 2),
        ("money", "$5 and 3 dollars", 2),
        ("sentences", "One. Two! Three?", 3),
        ("lines", "a\nb", 2),
        ("repeated_words", "a b a A", 2),
        ("options", "(A) x (B) y", 2),
        ("capitalised", "Ann saw Bob", 2),
    ],
)
def test_a_feature_counts_what_its_name_says(name, text, count):
    assert TEXT_FEATURES[name](text) == count


def test_features_are_of_all_inputs_and_finite():
    assert text_features({"q": "3 + 4", "context": "of 5"})["numbers"] == 3
    for inputs in ({}, {"q": ""}, {"q": "x" * 100_000}, {"q": "½ \x00 ünï"}):
        assert all(math.isfinite(v) for v in router_features(inputs).values())


def test_the_probability_is_the_logistic_function_of_the_weighted_features():
    weights = (Weight("intercept", -1.0), Weight("words", 2.0, 4.0, 2.0))
    assert probability(weights, {"words": 5.0}) == pytest.approx(1 / (1 + math.exp(0.0)))
    assert Router(weights).value({"q": "a b c d e"}, ()) == pytest.approx(0.5)
    assert Router(weights).value({"q": "a"}, ()) > Router(weights).value({"q": "a b c d e"}, ())
    assert Router(weights).value({"q": "a " * 5000}, ()) == pytest.approx(0.0)


def test_it_pays_for_a_probe_only_where_a_weight_is_of_one():
    assert not Router((Weight("words", 1.0),)).probes
    with_probe = Router((Weight("probe_confidence", -1.0, -0.5, 0.5),))
    assert with_probe.probes
    assert with_probe.scores == ("mean_logprob",)
    assert with_probe.value({}, [Sample("a", {"mean_logprob": -0.5})]) == pytest.approx(0.5)
    assert with_probe.value({}, [Sample(None, failed=True)]) == pytest.approx(0.5)  # as the mean


def test_unknown_features_get_near_names():
    with pytest.raises(InputError, match="did you mean 'numbers'"):
        Router((Weight("number", 1.0),))
    with pytest.raises(InputError, match="scale of words"):
        Router((Weight("words", 1.0, 0.0, 0.0),))


def test_it_needs_no_numpy():
    code = (
        "import sys; from tierwise.difficulty import signal; from tierwise.schema import Weight;"
        "r = signal('router', {'weights': (Weight('words', 1.0, 2.0, 1.0),)});"
        "assert 0 < r.value({'q': 'a b c'}, ()) < 1; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
