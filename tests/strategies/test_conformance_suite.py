"""The conformance suite itself: every way to break the contract is found."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest

from tierwise.schema import StrategySpec
from tierwise.strategies import STRATEGIES, Ask, Return, Sample, Seen, plurality, register_strategy
from tierwise.testing import StrategyConformance, walk_strategy


@dataclass(frozen=True)
class Sound:
    """A vote of ``samples`` that keeps to the contract; the others break it in one point."""

    samples: int = 3

    kind: ClassVar[str] = "broken"

    @property
    def max_samples(self):
        return self.samples

    def step(self, seen):
        left = self.samples - len(seen.samples)
        return Ask(left) if left > 0 else Return(self.choose(seen))

    def choose(self, seen):
        return plurality(seen.samples)


class NeverEnds(Sound):
    def step(self, seen):
        return Ask(1)


class AsksForNothing(Sound):
    def step(self, seen):
        return super().step(seen) if seen.samples else Ask(0)


class ReturnsWhatIsNotThere(Sound):
    def step(self, seen):
        move = super().step(seen)
        return Return(len(seen.samples)) if isinstance(move, Return) else move


class AsksAnVariantThatIsNotThere(Sound):
    def step(self, seen):
        move = super().step(seen)
        return (
            move._replace(variants=(seen.n_variants,) * move.n) if isinstance(move, Ask) else move
        )


class IgnoresTheProbe(Sound):
    def step(self, seen):
        if len(seen.samples) > self.samples:
            return Ask(1)
        return super().step(seen)


class TakesTheLast(Sound):
    def choose(self, seen):
        return len(seen.samples) - 1


class TakesTheSmallestAnswer(Sound):
    def choose(self, seen):
        rank = [(d.failed, d.answer is None, d.answer or "", i) for i, d in enumerate(seen.samples)]
        return min(rank)[-1]


class CannotChooseEarly(Sound):
    def choose(self, seen):
        return plurality(seen.samples[: self.samples]) if len(seen.samples) > 1 else seen.samples[1]


CLOCK = itertools.count()


class ChangesItsMind(Sound):
    def step(self, seen):
        move = super().step(seen)
        return Ask(1 + next(CLOCK) % move.n) if isinstance(move, Ask) else move


class WritesToWhatItSees(Sound):
    def choose(self, seen):
        for sample in seen.samples:
            sample.scores["seen"] = 1.0
        return super().choose(seen)


@dataclass
class Thaws:  # not frozen, and so not hashable
    samples: int = 3

    kind: ClassVar[str] = "broken"

    max_samples = Sound.max_samples
    step = Sound.step
    choose = Sound.choose


def faults(cls, monkeypatch, **more):
    """Names of the conformance tests that fail for a strategy class."""
    monkeypatch.setattr(STRATEGIES, "classes", dict(STRATEGIES.classes))
    register_strategy(cls)
    attributes = {
        "specs": (StrategySpec.of("broken"), StrategySpec.of("broken", samples=6)),
        **more,
    }
    suite = type("Suite", (StrategyConformance,), attributes)
    failed = set()
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                getattr(suite(), name)()
            except (AssertionError, IndexError, TypeError, pytest.fail.Exception):
                failed.add(name.removeprefix("test_"))
    return failed


def test_a_sound_strategy_passes(monkeypatch):
    assert faults(Sound, monkeypatch) == set()


@pytest.mark.parametrize(
    ("cls", "found_by"),
    [
        (NeverEnds, "ends_within_its_samples_whatever_comes"),
        (AsksForNothing, "ends_within_its_samples_whatever_comes"),
        (ReturnsWhatIsNotThere, "ends_within_its_samples_whatever_comes"),
        (AsksAnVariantThatIsNotThere, "ends_within_its_samples_whatever_comes"),
        (IgnoresTheProbe, "ends_at_once_when_a_probe_drew_more_than_it_may"),
        (TakesTheLast, "an_abstention_never_beats_an_answer_nor_a_failure_anything"),
        (TakesTheSmallestAnswer, "answers_have_no_meaning"),
        (CannotChooseEarly, "can_choose_at_any_time"),
        (ChangesItsMind, "a_step_depends_on_nothing_but_what_was_seen"),
        (WritesToWhatItSees, "does_not_write_to_what_it_sees"),
        (Thaws, "is_a_frozen_dataclass_that_hashes"),
    ],
)
def test_every_breach_is_found(cls, found_by, monkeypatch):
    assert found_by in faults(cls, monkeypatch)


def test_a_value_that_should_be_refused_and_is_not(monkeypatch):
    bad = (StrategySpec.of("broken", samples=-1),)
    assert faults(Sound, monkeypatch, out_of_range=bad) == {"refuses_what_is_out_of_range"}


def test_nothing_to_check_is_a_fault(monkeypatch):
    assert faults(Sound, monkeypatch, specs=()) == {"has_settings_to_check"}


def test_a_walk_interleaves_over_the_variants_and_keeps_turns():
    end = walk_strategy(Sound(4), [Sample("a")] * 4, n_variants=2, seen=[Sample("b", variant=1)])
    assert [d.variant for d in end.samples] == [1, 0, 0, 1]
    assert Sound(1).step(Seen((Sample("a"),))) == Return(0)
