"""A cascade: stages ask in turn, all votes count together, and a sure leader ends the request."""

from __future__ import annotations

import math

import pytest

from tierwise.schema import StrategySpec
from tierwise.strategies import Ask, Cascade, Return, Sample, Seen, Stage
from tierwise.testing import StrategyConformance

TWO = Cascade((Stage((0,), 2, 1.0), Stage((0,), 3)))


def seen(*answers: str | None, variants: tuple[int, ...] = (), n_variants: int = 1) -> Seen:
    of = variants or (0,) * len(answers)
    return Seen(tuple(Sample(a, variant=v) for a, v in zip(answers, of, strict=True)), n_variants)


class TestCascadeOfOneVariant(StrategyConformance):
    specs = (
        StrategySpec.of("cascade", stages=(Stage((0,), 1),)),
        StrategySpec.of("cascade", stages=(Stage((0,), 2), Stage((0,), 3)), weights=(0.7,)),
        StrategySpec.of(
            "cascade", stages=(Stage((0,), 1, 0.6, -0.5), Stage((0,), 2, 0.75), Stage((0,), 4))
        ),
    )
    out_of_range = (
        StrategySpec.of("cascade", stages=()),
        StrategySpec.of("cascade", stages=(((), 1),)),
        StrategySpec.of("cascade", stages=(((0,), 0),)),
        StrategySpec.of("cascade", stages=(((0,), 1, 1.5),)),
        StrategySpec.of("cascade", stages=(((0,), 1, 0.5, 0.5),)),
        StrategySpec.of("cascade", stages=(((0,), 1),), weights=(0.0,)),
        StrategySpec.of("cascade", stages=(((0,), 1),), weights=(math.inf,)),
        StrategySpec.of("cascade", stages="all"),
    )


def test_an_agreeing_first_stage_ends_the_request() -> None:
    assert TWO.step(seen()) == Ask(2, (0, 0))
    assert TWO.step(seen("a", "a")) == Return(0)
    assert TWO.step(seen("a", "b")) == Ask(3, (0, 0, 0))
    assert TWO.step(seen("a", None)) == Ask(3, (0, 0, 0))


def test_votes_of_earlier_stages_count_on() -> None:
    assert TWO.step(seen("a", "b", "b", "c", "a")) == Return(0)
    assert TWO.step(seen("a", "b", "b", "c", "c")) == Return(1)


def test_an_earlier_stage_does_not_end_what_a_later_one_has_begun() -> None:
    three = Cascade((Stage((0,), 2, 0.6), Stage((0,), 1, 1.0), Stage((0,), 1)))
    assert three.step(seen("a", "b", "a")) == Ask(1, (0,))


def test_two_models_that_agree_else_a_third() -> None:
    cascade = Cascade((Stage((0, 1), 2, 1.0), Stage((2,), 1)), weights=(1.0, 1.2, 3.0))
    asked = cascade.step(seen(n_variants=3))
    assert asked == Ask(2, (0, 1))
    assert cascade.step(seen("a", "a", variants=(0, 1), n_variants=3)) == Return(0)
    assert cascade.step(seen("a", "b", variants=(0, 1), n_variants=3)) == Ask(1, (2,))
    done = seen("a", "b", "c", variants=(0, 1, 2), n_variants=3)
    assert cascade.step(done) == Return(2)


def test_a_leader_that_is_not_confident_goes_on() -> None:
    cascade = Cascade((Stage((0,), 1, 1.0, -0.2), Stage((0,), 1)))
    sure = Seen((Sample("a", {"mean_logprob": -0.1}),), 1)
    unsure = Seen((Sample("a", {"mean_logprob": -0.3}),), 1)
    unknown = Seen((Sample("a", {}),), 1)
    assert cascade.step(sure) == Return(0)
    assert cascade.step(unsure) == cascade.step(unknown) == Ask(1, (0,))


def test_samples_of_a_probe_are_not_asked_for_again() -> None:
    cascade = Cascade((Stage((0,), 2, 1.0), Stage((1,), 2)))
    probed = seen("a", variants=(0,), n_variants=2)
    assert cascade.step(probed) == Ask(1, (0,))
    assert cascade.schedule([0, 1]) == [[0], [1]]


@pytest.mark.parametrize("share", [0.5, 0.66, 0.67, 1.0])
def test_the_share_is_of_all_samples_abstentions_too(share: float) -> None:
    cascade = Cascade((Stage((0,), 3, share), Stage((0,), 1)))
    ends = isinstance(cascade.step(seen("a", "a", None)), Return)
    assert ends == (share <= 2 / 3)
