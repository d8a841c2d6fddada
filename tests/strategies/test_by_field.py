"""Votes field by field, over every strategy that there is."""

from __future__ import annotations

import pytest

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, Elected, Sample, Seen, build, elect, next_move

VOTE = build(StrategySpec.of("self_consistency", samples=3))


def seen(*objects: str | None) -> Seen:
    """Objects of one-letter values; None abstains."""
    return Seen(tuple(Sample(o, fields=tuple(o or ())) for o in objects))


def test_each_field_is_elected_by_itself() -> None:
    assert next_move(VOTE, seen("ax", "ay", "by")) == Elected(1)  # sample 1 has a and y
    assert next_move(VOTE, seen("axp", "byp", "ayq")) == Elected(0, (0, 1, 0))


def test_a_tie_goes_to_the_value_seen_first_in_each_field() -> None:
    assert elect(VOTE, seen("ax", "by")) == Elected(0)


def test_an_abstention_votes_in_no_field() -> None:
    assert next_move(VOTE, seen(None, "ax", None)) == Elected(1)
    assert next_move(VOTE, seen(None, None, None)) == Elected(0)


def test_more_samples_are_asked_for_until_every_field_is_decided() -> None:
    sure = build(StrategySpec.of("adaptive_consistency", threshold=0.85, max_samples=9))
    assert isinstance(next_move(sure, seen("ax", "ax")), Elected)
    assert isinstance(next_move(sure, seen("ax", "ay")), Ask)
    stages = (((0,), 2, 1.0), ((0,), 1, 1.0))
    cascade = build(StrategySpec.of("cascade", stages=stages))
    assert isinstance(next_move(cascade, seen("ax", "ax")), Elected)
    assert next_move(cascade, seen("ax", "ay")) == Ask(1, (0,))


@pytest.mark.parametrize("samples", [("a", "b", "b"), ("a", None, "a")])
def test_one_field_is_the_whole_answer(samples: tuple[str | None, ...]) -> None:
    whole = Seen(tuple(Sample(s) for s in samples))
    assert next_move(VOTE, seen(*samples)) == next_move(VOTE, whole)
