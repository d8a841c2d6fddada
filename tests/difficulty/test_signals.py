"""Difficulty signals: the conformance suite, hand values, and where a policy cuts them."""

from __future__ import annotations

import math

import pytest

from tierwise.difficulty import SIGNALS, Router, read_reply, signal
from tierwise.errors import InputError
from tierwise.schema import Difficulty, Policy, Recipe, StrategySpec, Variant, Weight
from tierwise.strategies import Sample
from tierwise.testing import SignalConformance


class TestSignals(SignalConformance):
    kinds = tuple(sorted(SIGNALS))
    more = (
        Router((Weight("intercept", -0.5), Weight("words", 1.0, 4.0, 2.0))),
        Router(
            (
                Weight("words", 1.0, 4.0, 2.0),
                Weight("probe_confidence", -1.0, -0.5, 0.3),
                Weight("probe_agreement", -1.0, 0.5, 0.3),
            )
        ),
    )


def samples(*answers):
    return [Sample(a) for a in answers]


def test_unknown_signals_name_the_near_ones():
    with pytest.raises(InputError, match="did you mean 'probe_agreement'"):
        signal("probe_agreemnt")


def test_no_signal_is_the_same_for_all():
    assert signal("none").value({"q": "anything"}, samples("a")) == 0


def test_longer_inputs_are_harder():
    length = signal("length")
    assert length.value({"q": "one two  three\n", "context": "four"}, ()) == -4
    assert length.value({}, ()) == 0
    assert length.value({"q": "short"}, ()) > length.value({"q": "a longer one"}, ())


@pytest.mark.parametrize(
    ("answers", "share"),
    [("aaa", 1), ("aab", 2 / 3), ("abc", 1 / 3), (["a", None], 1 / 2), ([None, None], 0), ("", 0)],
)
def test_agreement_is_the_share_of_the_plurality(answers, share):
    assert signal("probe_agreement").value({}, samples(*answers)) == pytest.approx(share)


def test_confidence_is_the_mean_of_the_log_probabilities_that_are_known():
    probe = [
        Sample("a", {"mean_logprob": -0.2}),
        Sample("b", {"mean_logprob": -0.4}),
        Sample("c", {"mean_logprob": math.nan}),
        Sample(None, failed=True),
    ]
    assert signal("probe_confidence").value({}, probe) == pytest.approx(-0.3)
    assert signal("probe_confidence").value({}, probe[2:]) == -math.inf
    assert signal("probe_confidence").value({}, ()) == -math.inf


def test_confidence_may_be_that_of_the_least_sure_token():
    probe = [
        Sample("a", {"mean_logprob": -0.2, "min_logprob": -2.0}),
        Sample("b", {"min_logprob": -1}),
    ]
    assert signal("probe_confidence", {"of": "min"}).value({}, probe) == pytest.approx(-1.5)
    with pytest.raises(InputError, match="did you mean 'min'"):
        signal("probe_confidence", {"of": "mim"})


def test_a_verifier_s_score_is_the_mean_over_the_samples_that_have_one():
    by_game = signal("verifier_score", {"verifier": "game24"})
    assert by_game.value({}, [Sample("a", {"game24": 1.0}), Sample("b", {"game24": 0.0})]) == 0.5
    assert by_game.value({}, [Sample("a", {"confidence": 1.0})]) == -math.inf
    with pytest.raises(InputError, match="did you mean 'game24'"):
        signal("verifier_score", {"verifier": "game42"})


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("5", 5),
        ("answer : 3", 3),
        ("I'd say 4/5.", 4),
        ("2 (a guess)", 2),
        ("12", math.nan),
        ("0.5", math.nan),
        ("no idea", math.nan),
        ("", math.nan),
    ],
)
def test_a_rating_is_the_first_grade_in_a_reply(text, grade):
    assert read_reply("rating", text, -0.1) == pytest.approx({"rating": grade}, nan_ok=True)


def test_a_prompt_that_the_model_does_not_rate_counts_as_hardest():
    rating = signal("self_rating")
    assert (
        rating.value({}, [Sample(None, {"rating": 4.0}), Sample(None, {"rating": math.nan})]) == 4
    )
    assert rating.value({}, [Sample(None, {"rating": math.nan})]) == -math.inf


@pytest.mark.parametrize(
    ("text", "min_logprob", "easy"),
    [
        ("no", None, 1.0),
        ("Yes.", None, 0.0),
        ("No", math.log(0.7), 0.7),
        ("answer : yes", math.log(0.7), 0.3),
        ("perhaps", -0.1, math.nan),
        ("not now", 0, math.nan),
    ],
)
def test_the_control_question_is_the_probability_of_no(text, min_logprob, easy):
    said = read_reply("control_question", text, min_logprob)
    assert said == pytest.approx({"control_question": easy}, nan_ok=True)


def policy(*thresholds):
    recipe = Recipe((Variant("plain", "direct", 0.0),), StrategySpec.of("single"))
    return Policy((recipe,) * (len(thresholds) + 1), Difficulty("probe_agreement", thresholds))


def test_a_threshold_belongs_to_the_easier_side():
    cut = policy(0.75, 0.5)
    assert [cut.bucket_of(v) for v in (1.0, 0.75, 0.74, 0.5, 0.49, -math.inf)] == [0, 0, 1, 1, 2, 2]
    assert policy().bucket_of(-5.0) == 0


def test_thresholds_fall_and_are_one_fewer_than_buckets():
    with pytest.raises(ValueError, match="fall"):
        policy(0.5, 0.75)
    with pytest.raises(ValueError, match="fall"):
        policy(0.5, 0.5)
    with pytest.raises(ValueError, match="2 thresholds"):
        Policy(policy(0.5, 0.2).buckets, Difficulty("length", (1.0,)))
