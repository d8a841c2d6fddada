import math

import pytest

from tierwise.report import text as numbers


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
    assert numbers.usd_per(value) == said


def test_differences_are_points_with_a_sign():
    assert numbers.points(0.384) == "+38.4"
    assert numbers.point_bounds([-0.01, 0.02]) == "[-1.0, +2.0]"
    assert numbers.point_bounds([None, 0.02]) == ""
    assert numbers.ratio(8.2173) == "×8.2"
