"""Ranges refuse what cannot be searched."""

from __future__ import annotations

import pytest

from tierwise.schema.space import Range, SearchSpace


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"low": 2, "high": 1}, "low \\(2\\) must not be above high \\(1\\)"),
        ({"low": 0, "high": 1, "log": True}, "must start above 0"),
    ],
)
def test_a_range_that_cannot_be(fields, says):
    with pytest.raises(ValueError, match=says):
        Range(**fields)


def test_the_ends_of_a_range():
    assert Range(2, 5).ends == (2, 5)
    assert Range(2, 5).whole
    assert not Range(0.5, 1).whole


def test_the_smallest_space_is_one_sample():
    space = SearchSpace("s")
    assert space.strategies == {"single": {}}
    assert space.buckets == (1,)
