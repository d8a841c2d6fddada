"""One arithmetic for what is used and what may be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.schema import NO_LIMITS, Usage, UsageLimits

COUNTS = st.integers(0, 10**6)
USAGES = st.builds(
    Usage,
    calls=COUNTS,
    samples=COUNTS,
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    usd=COUNTS.map(lambda n: n / 64),
)
LIMITS = st.builds(
    UsageLimits,
    usd=st.none() | COUNTS.map(lambda n: n / 64),
    calls=st.none() | COUNTS,
    tokens=st.none() | COUNTS,
)


@given(USAGES, USAGES)
def test_usage_adds_up_field_by_field(a, b):
    assert (a + b) - b == a
    assert a + Usage() == a
    assert (a + b).tokens == a.tokens + b.tokens
    assert a * 2 == a + a
    assert sum([a, b], Usage()) == a + b


@given(LIMITS, USAGES, USAGES)
def test_what_is_left_fits_exactly_what_fits_beside_what_was_used(limits, used, more):
    if limits.fits(used):
        assert (limits - used).fits(more) == limits.fits(used + more)


@given(LIMITS, USAGES)
def test_a_usage_that_is_cut_fits_and_one_that_fits_is_not_cut(limits, usage):
    cut = limits.cut(usage)
    assert cut.calls <= usage.calls
    assert cut.usd <= usage.usd
    assert limits.exceeded_by(cut) == "" or cut.tokens == pytest.approx(limits.tokens)
    if limits.fits(usage):
        assert cut == usage


def test_the_first_limit_that_is_exceeded_is_named():
    usage = Usage(calls=2, completion_tokens=10, usd=1.0)
    assert UsageLimits(usd=0.5, calls=1).exceeded_by(usage) == "usd"
    assert UsageLimits(usd=1.0, calls=1, tokens=1).exceeded_by(usage) == "calls"
    assert UsageLimits(tokens=9).exceeded_by(usage) == "tokens"
    assert UsageLimits(seconds=0.0).exceeded_by(usage) == ""


def test_a_share_of_a_limit_is_at_least_one_call():
    assert UsageLimits(3.0, 10, 100, 60.0) * 0.05 == UsageLimits(0.05 * 3.0, 1, 5, 60.0)
    assert NO_LIMITS * 0.5 == NO_LIMITS
    assert NO_LIMITS.unlimited
    assert not NO_LIMITS.bounds_price


def test_the_estimated_share_is_of_all_tokens():
    assert (
        Usage(prompt_tokens=30, completion_tokens=10, estimated_tokens=10).estimated_share == 0.25
    )
    assert Usage().estimated_share == 0.0
