"""The bill of a request by hand: the one function that search and serving share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.schema import Price, SampleBill, price


def bill(call="a", prompt_usd=10.0, completion_usd=1.0, takes_n=True):
    return SampleBill(call, prompt_usd, completion_usd, takes_n)


def test_a_round_of_one_call_bills_its_prompt_once():
    assert price([[bill(), bill(), bill()]]) == 10 + 3


def test_every_round_is_a_new_call():
    assert price([[bill(), bill()], [bill()]]) == (10 + 2) + (10 + 1)


def test_without_n_every_sample_is_a_call():
    assert price([[bill(takes_n=False)] * 3]) == 3 * (10 + 1)


def test_variants_of_a_round_are_calls_of_their_own():
    round_ = [bill("a"), bill("b", 20), bill("a"), bill("b", 20)]
    assert price([round_]) == 10 + 20 + 4


def test_one_variant_with_n_beside_one_without():
    round_ = [bill("a"), bill("b", 20, takes_n=False), bill("a"), bill("b", 20, takes_n=False)]
    assert price([round_]) == 10 + 2 * 20 + 4


def test_the_prompt_is_billed_as_the_first_of_its_samples_was():
    assert price([[bill(prompt_usd=10), bill(prompt_usd=4)]]) == 10 + 2


def test_nothing_billed_costs_nothing():
    assert price([]) == 0
    assert price([[]]) == 0


@given(st.lists(st.integers(1, 4), max_size=5))
def test_rounds_cost_a_prompt_each_where_the_tier_takes_n(sizes):
    rounds = [[bill() for _ in range(n)] for n in sizes]
    assert price(rounds) == 10 * len(sizes) + sum(sizes)
    alone = [[bill(takes_n=False) for _ in range(n)] for n in sizes]
    assert price(alone) == 11 * sum(sizes)


def test_tokens_at_the_tiers_prices():
    table = Price(prompt_usd_per_mtok=2.0, completion_usd_per_mtok=8.0, cached_usd_per_mtok=0.5)
    assert table.prompt_usd(1000) == pytest.approx(0.002)
    assert table.prompt_usd(1000, cached_tokens=600) == pytest.approx(0.0008 + 0.0003)
    assert table.completion_usd(250, prompt_tokens=1000) == pytest.approx(0.002)
    assert Price(2.0, 8.0).prompt_usd(1000, cached_tokens=600) == pytest.approx(0.002)
