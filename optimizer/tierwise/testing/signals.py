"""What every difficulty signal must keep to, as a class of tests."""

# ruff: noqa: D102  (a test's name says what it checks)

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pytest

from tierwise.difficulty import SIGNALS, Signal, parameter_settings, read_reply, signal, turn_of
from tierwise.schema import ANSWER
from tierwise.strategies import Sample
from tierwise.testing.strategies import random_samples

REPLIES = (
    "",
    "5",
    "answer : 4 <end>",
    "yes",
    "No.",
    "I rate it 3/5",
    "77",
    "ünïcode",
    "yes " * 500,
)

INPUTS: tuple[Mapping[str, str], ...] = (
    {"question": "How many?"},
    {"question": ""},
    {},
    {"question": "ünïcode ½ \n\t x", "context": "word " * 300},
)


class SignalConformance:
    """Subclass it as ``TestYourSignal`` and name the kinds to check.

    A signal is checked with each setting that its ``choices`` give; ``more`` are others.
    """

    kinds: ClassVar[Sequence[str]] = ()
    more: ClassVar[Sequence[Signal]] = ()

    def test_has_kinds_to_check(self) -> None:
        assert self.kinds, "set `kinds` to the signals that are to be checked"

    def test_is_registered_and_keeps_the_protocol(self) -> None:
        for found in self.signals():
            assert isinstance(found, Signal)
            assert SIGNALS[found.kind] is type(found)
            assert isinstance(found.probes, bool)
            assert isinstance(found.scores, tuple)

    def test_is_a_number_whatever_comes(self) -> None:
        """Minus infinity is allowed (hardest of all), NaN is not: no threshold could place it."""
        for found, inputs, probe in self.cases():
            value = found.value(inputs, probe)
            assert isinstance(value, float)
            assert not math.isnan(value), f"{found.kind} of {inputs}, {probe}"

    def test_depends_on_nothing_but_what_was_seen(self) -> None:
        for found, inputs, probe in self.cases():
            before = copy.deepcopy((inputs, probe))
            fresh = copy.deepcopy(found)
            values = [found.value(inputs, probe), found.value(inputs, probe)]
            assert values == [fresh.value(*before)] * 2
            assert repr((inputs, probe)) == repr(before)

    def test_looks_at_a_probe_only_where_it_says_so(self) -> None:
        for found, inputs, probe in self.cases():
            if not found.probes:
                assert found.value(inputs, probe) == found.value(inputs, ())

    def test_looks_only_at_the_scores_that_it_names(self) -> None:
        for found, inputs, probe in self.cases():
            named = [
                d._replace(scores={n: s for n, s in d.scores.items() if n in found.scores})
                for d in probe
            ]
            assert found.value(inputs, probe) == found.value(inputs, named)

    def test_answers_have_no_meaning(self) -> None:
        for found, inputs, probe in self.cases():
            renamed = [
                d if d.answer is None else d._replace(answer=f"not {d.answer}") for d in probe
            ]
            assert found.value(inputs, probe) == found.value(inputs, renamed)

    def test_what_it_asks_is_read_as_a_number(self) -> None:
        """A signal with a turn of its own reads any reply: NaN where it says nothing."""
        for found in self.signals():
            turn = turn_of(found.kind)
            if turn != ANSWER:
                assert found.scores == (turn,), "a turn's reply has one score, by the turn's name"
                assert found.probes
                for text in REPLIES:
                    for min_logprob in (None, -0.1, -30.0):
                        value = read_reply(turn, text, min_logprob)
                        assert list(value) == [turn]
                        assert isinstance(value[turn], float)
                        assert value == pytest.approx(
                            read_reply(turn, text, min_logprob), nan_ok=True
                        )

    def signals(self) -> Iterator[Signal]:
        """Every signal, in each of its settings."""
        for kind in self.kinds:
            for params in parameter_settings(kind):
                yield signal(kind, params)
        yield from self.more

    def cases(self) -> Iterator[tuple[Signal, Mapping[str, str], Sequence[Sample]]]:
        """Every signal on all inputs, with no probe and with made-up ones."""
        for found in self.signals():
            names = (*found.scores, "mean_logprob", "another")
            for inputs in INPUTS:
                yield found, inputs, ()
                for seed in range(40):
                    rng = random.Random(seed)
                    yield found, inputs, random_samples(rng, 1 + seed % 5, score_names=names)
