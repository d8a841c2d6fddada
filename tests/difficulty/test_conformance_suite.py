"""The conformance suite of signals: every breach is found."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest

from tierwise.difficulty import SIGNALS
from tierwise.testing import SignalConformance


class Sound:
    kind: ClassVar[str] = "broken"
    probes: ClassVar[bool] = False
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs, probe):
        return float(len(inputs))


class IsNan(Sound):
    def value(self, inputs, probe):
        return math.nan if not inputs else 0.0


class PeeksAtTheProbe(Sound):
    def value(self, inputs, probe):
        return float(len(probe))


class PeeksAtScores(Sound):
    probes: ClassVar[bool] = True

    def value(self, inputs, probe):
        return float(sum("mean_logprob" in d.scores for d in probe))


class ReadsTheAnswer(Sound):
    probes: ClassVar[bool] = True

    def value(self, inputs, probe):
        return float(sum(len(d.answer or "") for d in probe))


class Counts(Sound):
    def __init__(self):
        self.calls = 0

    def value(self, inputs, probe):
        self.calls += 1
        return float(self.calls)


class Asks(Sound):
    """A sound one that asks the model."""

    probes: ClassVar[bool] = True
    turn: ClassVar[str] = "forecast"
    scores: ClassVar[tuple[str, ...]] = ("forecast",)

    def value(self, inputs, probe):
        return max((d.scores.get("forecast", -math.inf) for d in probe), default=-math.inf)

    @staticmethod
    def read(text, min_logprob):
        return float(len(text))


class AsksAndCannotRead(Asks):
    @staticmethod
    def read(text, min_logprob):
        return float(text) if text.isdigit() else None


class AsksAndNamesNoScore(Asks):
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs, probe):
        return 0.0


def faults(cls, monkeypatch):
    monkeypatch.setitem(SIGNALS, "broken", cls)
    suite = type("Suite", (SignalConformance,), {"kinds": ("broken",)})
    failed = set()
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                getattr(suite(), name)()
            except (AssertionError, TypeError):
                failed.add(name.removeprefix("test_"))
    return failed


@pytest.mark.parametrize("cls", [Sound, Asks])
def test_a_sound_signal_passes(cls, monkeypatch):
    assert faults(cls, monkeypatch) == set()


@pytest.mark.parametrize(
    ("cls", "found_by"),
    [
        (IsNan, "is_a_number_whatever_comes"),
        (PeeksAtTheProbe, "looks_at_a_probe_only_where_it_says_so"),
        (PeeksAtScores, "looks_only_at_the_scores_that_it_names"),
        (AsksAndCannotRead, "what_it_asks_is_read_as_a_number"),
        (AsksAndNamesNoScore, "what_it_asks_is_read_as_a_number"),
        (ReadsTheAnswer, "answers_have_no_meaning"),
        (Counts, "depends_on_nothing_but_what_was_seen"),
    ],
)
def test_every_breach_is_found(cls, found_by, monkeypatch):
    assert found_by in faults(cls, monkeypatch)
