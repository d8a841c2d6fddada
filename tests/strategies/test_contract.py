"""What strategies share: dealing, plurality, the registry. Every kind has a conformance test."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import InputError
from tierwise.schema import StrategySpec
from tierwise.strategies import (
    STRATEGIES,
    Sample,
    Stage,
    asks_at_once,
    build,
    interleave,
    plurality,
)


@pytest.mark.parametrize(
    ("counts", "n", "variants"),
    [
        ([0], 3, [0, 0, 0]),
        ([0, 0], 3, [0, 1, 0]),
        ([2, 0], 3, [1, 1, 0]),
        ([1, 0, 0], 4, [1, 2, 0, 1]),
        ([5, 0], 0, []),
    ],
)
def test_samples_are_interleaved_to_the_variant_that_has_fewest(counts, n, variants):
    assert interleave(counts, n) == variants


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    a=st.integers(0, 9),
    b=st.integers(0, 9),
)
def test_dealing_does_not_depend_on_rounds(counts, a, b):
    first = interleave(counts, a)
    then = [c + first.count(i) for i, c in enumerate(counts)]
    assert first + interleave(then, b) == interleave(counts, a + b)


@given(st.integers(1, 4), st.integers(0, 20))
def test_dealing_from_nothing_is_round_robin(n_variants, n):
    assert interleave([0] * n_variants, n) == [i % n_variants for i in range(n)]


@pytest.mark.parametrize(
    ("answers", "index"),
    [
        (["b", "a", "a"], 1),
        (["b", "a", "a", "b"], 0),
        ([None, "a"], 1),
        ([None, None], 0),
        ([None, None, None, "x"], 3),
    ],
)
def test_plurality_returns_the_first_sample_of_the_winner(answers, index):
    assert plurality([Sample(a) for a in answers]) == index


def test_plurality_prefers_an_abstention_to_a_failure():
    failed = Sample(None, failed=True)
    assert plurality([failed, Sample(None)]) == 1
    assert plurality([failed, failed]) == 0


def test_unknown_kinds_and_parameters_name_the_near_ones():
    with pytest.raises(InputError, match="did you mean 'self_consistency'"):
        build(StrategySpec.of("self_consistancy", samples=3))
    with pytest.raises(InputError, match="did you mean 'samples'"):
        build(StrategySpec.of("self_consistency", sample=3))
    with pytest.raises(InputError, match="needs samples"):
        build(StrategySpec.of("self_consistency"))


def test_a_missing_parameter_is_named_and_an_optional_one_is_not():
    with pytest.raises(InputError) as error:
        build(StrategySpec.of("adaptive_consistency", threshold=0.9))
    assert "max_samples" in str(error.value)
    assert "window" not in str(error.value)


@pytest.mark.parametrize("kind", sorted(STRATEGIES.classes))
def test_every_strategy_has_a_test_class_with_the_conformance_suite(kind):
    text = (Path(__file__).parent / f"test_{kind}.py").read_text()
    assert "(StrategyConformance)" in text
    assert f'StrategySpec.of("{kind}"' in text


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (StrategySpec.of("single"), True),
        (StrategySpec.of("self_consistency", samples=5), True),
        (StrategySpec.of("self_consistency", samples=5, window=2), False),
        (StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=9, window=1), False),
        (StrategySpec.of("early_stopping", window=2, max_samples=6), False),
        (StrategySpec.of("best_of_n", samples=3, verifier="mean_logprob"), True),
        (StrategySpec.of("best_of_n", samples=3, verifier="mean_logprob", stop_at=-0.1), False),
        (
            StrategySpec.of(
                "cascade", stages=(Stage((0,), 1, 1.0, -0.1), Stage((0,), 3, 1.0)), weights=(1.0,)
            ),
            False,
        ),
    ],
    ids=str,
)
def test_a_fixed_n_is_asked_for_at_once(spec, expected):
    assert asks_at_once(build(spec)) is expected
