"""Difficulty signals: the conformance suite, hand values, and where a policy cuts them."""

from __future__ import annotations

import math

import pytest

from tierwise.difficulty import SIGNALS, signal
from tierwise.errors import InputError
from tierwise.recipe import Arm, Difficulty, Policy, Recipe, StrategySpec
from tierwise.strategies import Draw
from tierwise.testing import SignalConformance


class TestSignals(SignalConformance):
    kinds = tuple(sorted(SIGNALS))


def draws(*answers):
    return [Draw(a) for a in answers]


def test_unknown_signals_name_the_near_ones():
    with pytest.raises(InputError, match="did you mean 'probe_agreement'"):
        signal("probe_agreemnt")


def test_no_signal_is_the_same_for_all():
    assert signal("none").value({"q": "anything"}, draws("a")) == 0


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
    assert signal("probe_agreement").value({}, draws(*answers)) == pytest.approx(share)


def test_confidence_is_the_mean_of_the_log_probabilities_that_are_known():
    probe = [
        Draw("a", {"mean_logprob": -0.2}),
        Draw("b", {"mean_logprob": -0.4}),
        Draw("c", {"mean_logprob": math.nan}),
        Draw(None, failed=True),
    ]
    assert signal("probe_confidence").value({}, probe) == pytest.approx(-0.3)
    assert signal("probe_confidence").value({}, probe[2:]) == -math.inf
    assert signal("probe_confidence").value({}, ()) == -math.inf


def policy(*thresholds):
    recipe = Recipe((Arm("plain", "direct", 0.0),), StrategySpec.of("single"))
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
