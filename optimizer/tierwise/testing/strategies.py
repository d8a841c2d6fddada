"""What every strategy must keep to, as a class of tests.

The draws are made up from fixed seeds: easy and hard requests, abstentions, failures, missing
scores, one to three arms, and draws that a probe had made before the strategy began.
"""

# ruff: noqa: D102  (a test's name says what it checks)

from __future__ import annotations

import copy
import dataclasses
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest

from tierwise.errors import InputError
from tierwise.recipe import StrategySpec
from tierwise.recipe.turns import path_above
from tierwise.strategies import PLAIN, REGISTRY, Draw, Seen, Strategy, build, paths_of, width_of
from tierwise.testing.walk import Walk, random_draws, walk

WORLDS = 60
PROBED = 4
"""Most draws that a probe has made in these tests."""


class StrategyConformance:
    """Subclass it as ``TestYourStrategy`` and say what to build.

    Attributes:
        specs: a few settings of the strategy, its extremes among them.
        out_of_range: settings that must be refused with an ``InputError``.
    """

    specs: ClassVar[Sequence[StrategySpec]] = ()
    out_of_range: ClassVar[Sequence[StrategySpec]] = ()

    def test_has_settings_to_check(self) -> None:
        assert self.specs, "set `specs` to the settings that are to be checked"

    def test_is_registered_and_keeps_the_protocol(self) -> None:
        for spec, strategy in self.built():
            assert isinstance(strategy, Strategy)
            assert strategy.kind == spec.kind
            assert REGISTRY.classes[spec.kind] is type(strategy)
            assert strategy.max_draws >= 1

    def test_is_a_frozen_dataclass_that_hashes(self) -> None:
        for _, strategy in self.built():
            assert dataclasses.is_dataclass(strategy)
            assert strategy.__dataclass_params__.frozen, f"{strategy} is not frozen"
            assert len({strategy, copy.deepcopy(strategy)}) == 1

    def test_its_fields_are_its_parameters(self) -> None:
        for spec, strategy in self.built():
            assert dataclasses.is_dataclass(strategy)
            fields = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
            assert all(isinstance(v, int | float | str | None) for v in fields.values())
            assert dict(spec.params).items() <= fields.items()
            assert build(StrategySpec.of(spec.kind, fields)) == strategy

    def test_refuses_what_is_out_of_range(self) -> None:
        for spec in self.out_of_range:
            with pytest.raises(InputError):
                build(spec)

    def test_refuses_parameters_that_it_does_not_have(self) -> None:
        for spec in self.specs:
            with pytest.raises(InputError, match="no_such_thing"):
                build(StrategySpec.of(spec.kind, dict(spec.params), no_such_thing=1))

    def test_a_step_depends_on_nothing_but_what_was_seen(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                for seen in prefixes(end.draws):
                    moves = [strategy.step(seen), strategy.step(seen), build(spec).step(seen)]
                    assert moves[0] == moves[1] == moves[2], f"{strategy} changes its mind"

    def test_does_not_write_to_what_it_sees(self) -> None:
        for spec, strategy in self.built():
            for draws, n_arms in worlds(spec, strategy):
                before = repr(draws)
                walk(strategy, draws, n_arms=n_arms)
                assert repr(draws) == before, f"{strategy} writes to what it sees"

    def test_ends_within_its_draws_whatever_comes(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                if paths_of(strategy) == PLAIN:  # a probe's draws are among them
                    assert len(end.draws) <= max(strategy.max_draws, PROBED)
                assert sum(end.rounds) <= strategy.max_draws

    def test_ends_at_once_when_a_probe_drew_more_than_it_may(self) -> None:
        for _, strategy in self.built():
            if paths_of(strategy) != PLAIN:
                continue
            draws = random_draws(random.Random(0), strategy.max_draws + 3)
            assert walk(strategy, [], seen=draws).rounds == ()

    def test_says_which_draws_it_may_ask_for(self) -> None:
        """No path beyond ``paths``, parents before children, no more than ``width`` of each."""
        for spec, strategy in self.built():
            paths = paths_of(strategy)
            assert all(len(p) < 2 or path_above(p) in paths[:i] for i, p in enumerate(paths))
            for draws, n_arms in worlds(spec, strategy):
                counts = Counter(paths_seen(walk(strategy, draws, n_arms=n_arms).draws))
                assert set(counts) <= {tuple(t.name for t in p) or ("answer",) for p in paths}
                assert max(counts.values()) <= width_of(strategy)

    def test_can_choose_at_any_time(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                for seen in prefixes(end.draws):
                    assert 0 <= strategy.choose(seen) < len(seen.draws)

    def test_an_abstention_never_beats_an_answer_nor_a_failure_anything(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                check_rank(strategy, end.draws, end.chosen)
                for seen in prefixes(end.draws):
                    check_rank(strategy, seen.draws, strategy.choose(seen))

    def test_answers_have_no_meaning(self) -> None:
        """Renaming the answers changes neither the walk nor the draw that is returned."""
        for spec, strategy in self.built():
            for draws, n_arms in worlds(spec, strategy):
                renamed = [d if d.answer is None else _renamed(d, d.answer) for d in draws]
                one, other = (walk(strategy, d, n_arms=n_arms) for d in (draws, renamed))
                assert (one.rounds, one.chosen) == (other.rounds, other.chosen)

    def built(self) -> Iterator[tuple[StrategySpec, Strategy]]:
        """Every setting with its strategy."""
        for spec in self.specs:
            yield spec, build(spec)

    def ends(self, spec: StrategySpec, strategy: Strategy) -> Iterator[Walk]:
        """Walks through all made-up worlds, without and with a probe's draws."""
        for i, (draws, n_arms) in enumerate(worlds(spec, strategy)):
            yield walk(strategy, draws[: strategy.max_draws], n_arms=n_arms)
            probed = 1 + i % PROBED
            most = strategy.max_draws
            reused = paths_of(strategy) == PLAIN  # else a probe's draws are not what it asks for
            left = draws[probed : max(most, probed) if reused else probed + most]
            yield walk(strategy, left, n_arms=n_arms, seen=draws[:probed])


def worlds(spec: StrategySpec, strategy: Strategy) -> Iterator[tuple[list[Draw], int]]:
    """(draws, number of arms); text parameters are taken for names of scores."""
    names = ["mean_logprob", *(value for _, value in spec.params if isinstance(value, str))]
    for seed in range(WORLDS):
        rng = random.Random(seed)
        yield random_draws(rng, strategy.max_draws + PROBED, score_names=names), 1 + seed % 3


def paths_seen(draws: Sequence[Draw]) -> Iterator[tuple[str, ...]]:
    """The names of the turns down to each draw."""
    for draw in draws:
        names, at = [draw.turn], draw.parent
        while at is not None:
            names.append(draws[at].turn)
            at = draws[at].parent
        yield tuple(reversed(names))


def prefixes(draws: Sequence[Draw]) -> Iterator[Seen]:
    """What had been seen after one draw, two, … all."""
    for n in range(1, len(draws) + 1):
        yield Seen(tuple(draws[:n]), 1 + max(d.arm for d in draws))


def _renamed(draw: Draw, answer: str) -> Draw:
    """Another name, and one that sorts the other way round."""
    return draw._replace(answer=f"b{9 - int(answer.removeprefix('a'))}")


def check_rank(strategy: Strategy, draws: Sequence[Draw], index: int) -> None:
    """The chosen draw is of the best sort there is: an answer, else an abstention."""
    if any(d.answer is not None for d in draws):
        assert draws[index].answer is not None, f"{strategy} returns an abstention"
    elif not all(d.failed for d in draws):
        assert not draws[index].failed, f"{strategy} returns a failure"
