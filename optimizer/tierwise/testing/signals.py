"""What every difficulty signal must keep to, as a class of tests."""

# ruff: noqa: D102  (a test's name says what it checks)

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty import SIGNALS, Signal, signal
from tierwise.strategies import Draw
from tierwise.testing.walk import random_draws

INPUTS: tuple[Mapping[str, str], ...] = (
    {"question": "How many?"},
    {"question": ""},
    {},
    {"question": "ünïcode ½ \n\t x", "context": "word " * 300},
)


class SignalConformance:
    """Subclass it as ``TestYourSignal`` and name the kinds to check."""

    kinds: ClassVar[Sequence[str]] = ()

    def test_has_kinds_to_check(self) -> None:
        assert self.kinds, "set `kinds` to the signals that are to be checked"

    def test_is_registered_and_keeps_the_protocol(self) -> None:
        for kind in self.kinds:
            found = signal(kind)
            assert isinstance(found, Signal)
            assert found.kind == kind
            assert SIGNALS[kind] is found

    def test_is_a_number_whatever_comes(self) -> None:
        """Minus infinity is allowed (hardest of all), NaN is not: no threshold could place it."""
        for found, inputs, probe in self.cases():
            value = found.value(inputs, probe)
            assert isinstance(value, float)
            assert not math.isnan(value), f"{found.kind} of {inputs}, {probe}"

    def test_depends_on_nothing_but_what_was_seen(self) -> None:
        for found, inputs, probe in self.cases():
            before = copy.deepcopy((inputs, probe))
            values = [found.value(inputs, probe), found.value(inputs, probe)]
            assert values == [type(found)().value(*before)] * 2
            assert repr((inputs, probe)) == repr(before)

    def test_looks_at_a_probe_only_where_it_says_so(self) -> None:
        for found, inputs, probe in self.cases():
            if not found.probes:
                assert found.value(inputs, probe) == found.value(inputs, ())

    def test_looks_at_log_probabilities_only_where_it_says_so(self) -> None:
        for found, inputs, probe in self.cases():
            if not found.logprobs:
                bare = [d._replace(scores={}) for d in probe]
                assert found.value(inputs, probe) == found.value(inputs, bare)

    def test_answers_have_no_meaning(self) -> None:
        for found, inputs, probe in self.cases():
            renamed = [
                d if d.answer is None else d._replace(answer=f"not {d.answer}") for d in probe
            ]
            assert found.value(inputs, probe) == found.value(inputs, renamed)

    def cases(self) -> Iterator[tuple[Signal, Mapping[str, str], Sequence[Draw]]]:
        """Every signal on all inputs, with no probe and with made-up ones."""
        for kind in self.kinds:
            for inputs in INPUTS:
                yield signal(kind), inputs, ()
                for seed in range(40):
                    rng = random.Random(seed)
                    yield signal(kind), inputs, random_draws(rng, 1 + seed % 5)
