"""What every strategy must keep to, as a class of tests.

The samples are made up from fixed seeds: easy and hard requests, abstentions, failures, missing
scores, one to three variants, and samples that a probe had made before the strategy began.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import pytest

from tierwise.errors import InputError
from tierwise.schema import StrategySpec
from tierwise.schema.turns import JUDGED_TURN, SELECTING, path_above
from tierwise.strategies import (
    PLAIN_PATHS,
    STRATEGIES,
    Ask,
    Elected,
    Sample,
    Seen,
    Strategy,
    build,
    interleave,
    next_move,
    paths_of,
    width_of,
)

# ruff: noqa: D102  (a test's name says what it checks)


WORLDS = 60
PROBED = 4
"""Most samples that a probe has made in these tests."""


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
            assert STRATEGIES.classes[spec.kind] is type(strategy)
            assert strategy.max_samples >= 1

    def test_is_a_frozen_dataclass_that_hashes(self) -> None:
        for _, strategy in self.built():
            assert dataclasses.is_dataclass(strategy)
            assert strategy.__dataclass_params__.frozen, f"{strategy} is not frozen"
            assert len({strategy, copy.deepcopy(strategy)}) == 1

    def test_its_fields_are_its_parameters(self) -> None:
        for spec, strategy in self.built():
            assert dataclasses.is_dataclass(strategy)
            fields = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
            assert all(isinstance(v, int | float | str | tuple | None) for v in fields.values())
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
                for seen in prefixes(end.samples):
                    moves = [strategy.step(seen), strategy.step(seen), build(spec).step(seen)]
                    assert moves[0] == moves[1] == moves[2], f"{strategy} changes its mind"

    def test_does_not_write_to_what_it_sees(self) -> None:
        for spec, strategy in self.built():
            for samples, n_variants in worlds(spec, strategy):
                before = repr(samples)
                walk_strategy(strategy, samples, n_variants=n_variants)
                assert repr(samples) == before, f"{strategy} writes to what it sees"

    def test_ends_within_its_samples_whatever_comes(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                if paths_of(strategy) == PLAIN_PATHS:  # a probe's samples are among them
                    assert len(end.samples) <= max(strategy.max_samples, PROBED)
                assert sum(end.rounds) <= strategy.max_samples

    def test_ends_at_once_when_a_probe_drew_more_than_it_may(self) -> None:
        for _, strategy in self.built():
            if paths_of(strategy) != PLAIN_PATHS:
                continue
            samples = random_samples(random.Random(0), strategy.max_samples + 3)
            assert walk_strategy(strategy, [], seen=samples).rounds == ()

    def test_says_which_samples_it_may_ask_for(self) -> None:
        """No path beyond ``paths``, parents before children, no more than ``width`` of each."""
        for spec, strategy in self.built():
            paths = paths_of(strategy)
            assert all(len(p) < 2 or path_above(p) in paths[:i] for i, p in enumerate(paths))
            for samples, n_variants in worlds(spec, strategy):
                counts = Counter(
                    paths_seen(walk_strategy(strategy, samples, n_variants=n_variants).samples)
                )
                assert set(counts) <= {tuple(t.name for t in p) or ("answer",) for p in paths}
                assert max(counts.values()) <= width_of(strategy)

    def test_can_choose_at_any_time(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                for seen in prefixes(end.samples):
                    assert 0 <= strategy.choose(seen) < len(seen.samples)

    def test_an_abstention_never_beats_an_answer_nor_a_failure_anything(self) -> None:
        for spec, strategy in self.built():
            for end in self.ends(spec, strategy):
                check_rank(strategy, end.samples, end.chosen)
                for seen in prefixes(end.samples):
                    check_rank(strategy, seen.samples, strategy.choose(seen))

    def test_answers_have_no_meaning(self) -> None:
        """Renaming the answers changes neither the walk nor the sample that is returned."""
        for spec, strategy in self.built():
            for samples, n_variants in worlds(spec, strategy):
                renamed = [d if d.answer is None else _renamed(d, d.answer) for d in samples]
                one, other = (
                    walk_strategy(strategy, d, n_variants=n_variants) for d in (samples, renamed)
                )
                assert (one.rounds, one.chosen) == (other.rounds, other.chosen)

    def test_votes_by_field_as_it_votes_on_whole_answers(self) -> None:
        """One field is the answer; a field that all samples agree in changes nothing."""
        for spec, strategy in self.built():
            for samples, n_variants in worlds(spec, strategy):
                whole = walk_strategy(strategy, samples, n_variants=n_variants)
                for more in ((), ("same",)):
                    by_field = [
                        d if d.answer is None else d._replace(fields=(d.answer, *more))
                        for d in samples
                    ]
                    walk = walk_strategy(strategy, by_field, n_variants=n_variants)
                    assert walk.rounds[: len(whole.rounds)] == whole.rounds
                    if walk.rounds == whole.rounds:
                        assert walk.samples[walk.chosen].answer == whole.answer

    def built(self) -> Iterator[tuple[StrategySpec, Strategy]]:
        """Every setting with its strategy."""
        for spec in self.specs:
            yield spec, build(spec)

    def ends(self, spec: StrategySpec, strategy: Strategy) -> Iterator[StrategyWalk]:
        """Walks through all made-up worlds, without and with a probe's samples."""
        for i, (samples, n_variants) in enumerate(worlds(spec, strategy)):
            yield walk_strategy(strategy, samples[: strategy.max_samples], n_variants=n_variants)
            probed = 1 + i % PROBED
            most = strategy.max_samples
            reused = (
                paths_of(strategy) == PLAIN_PATHS
            )  # else a probe's samples are not what it asks for
            left = samples[probed : max(most, probed) if reused else probed + most]
            yield walk_strategy(strategy, left, n_variants=n_variants, seen=samples[:probed])


def worlds(spec: StrategySpec, strategy: Strategy) -> Iterator[tuple[list[Sample], int]]:
    """(samples, number of variants); text parameters are taken for names of scores."""
    names = ["mean_logprob", *(value for _, value in spec.params if isinstance(value, str))]
    for seed in range(WORLDS):
        rng = random.Random(seed)
        yield random_samples(rng, strategy.max_samples + PROBED, score_names=names), 1 + seed % 3


def paths_seen(samples: Sequence[Sample]) -> Iterator[tuple[str, ...]]:
    """The names of the turns down to each sample."""
    for sample in samples:
        names, at = [sample.turn], sample.parent
        while at is not None:
            names.append(samples[at].turn)
            at = samples[at].parent
        yield tuple(reversed(names))


def prefixes(samples: Sequence[Sample]) -> Iterator[Seen]:
    """What had been seen after one sample, two, … all."""
    for n in range(1, len(samples) + 1):
        yield Seen(tuple(samples[:n]), 1 + max(d.variant for d in samples))


def _renamed(sample: Sample, answer: str) -> Sample:
    """Another name, and one that sorts the other way round."""
    return sample._replace(answer=f"b{9 - int(answer.removeprefix('a'))}")


def check_rank(strategy: Strategy, samples: Sequence[Sample], index: int) -> None:
    """The chosen sample is of the best sort there is: an answer, else an abstention."""
    if any(d.answer is not None for d in samples):
        assert samples[index].answer is not None, f"{strategy} returns an abstention"
    elif not all(d.failed for d in samples):
        assert not samples[index].failed, f"{strategy} returns a failure"


class StrategyWalk(NamedTuple):
    """How a request went: all samples, sizes of the rounds, index of the one returned."""

    samples: tuple[Sample, ...]
    rounds: tuple[int, ...]
    chosen: int

    @property
    def answer(self) -> str | None:
        """The answer that was returned."""
        return self.samples[self.chosen].answer


def random_samples(
    rng: random.Random, n: int, *, score_names: Iterable[str] = ("mean_logprob",)
) -> list[Sample]:
    """``n`` samples of one request: it may be easy or hard, abstain, fail, or lack scores."""
    alphabet = [f"a{i}" for i in range(rng.randint(1, 5))]
    abstains, fails = rng.choice([(0, 0), (0, 0), (0.3, 0), (0.3, 0.3), (1, 0), (0.5, 0.5)])
    samples = []
    for _ in range(n):
        u = rng.random()
        failed, silent = u < fails, u < fails + abstains
        known = {name: round(-rng.expovariate(1), 1) for name in score_names if rng.random() < 0.9}
        if known and rng.random() < 0.1:
            known[min(known)] = math.nan
        answer = None if failed or silent else rng.choice(alphabet)
        samples.append(Sample(answer, {} if failed else known, text=str(answer), failed=failed))
    return samples


def walk_strategy(
    strategy: Strategy,
    outputs: Sequence[Sample],
    *,
    n_variants: int = 1,
    seen: Sequence[Sample] = (),
) -> StrategyWalk:
    """Drive ``strategy`` as evaluation and serving do; output i answers the i-th sample asked for.

    Args:
        strategy: what is driven.
        outputs: at least as many as the strategy asks for.
        n_variants: variants of the recipe.
        seen: samples that are there before it starts, as a reused probe's are.

    Raises:
        AssertionError: a move that no driver could make.
    """
    samples, left = tuple(seen), list(outputs)
    rounds: tuple[int, ...] = ()
    while True:
        move = next_move(strategy, Seen(samples, n_variants))
        if isinstance(move, Elected):
            assert 0 <= move.sample < len(samples), (
                f"{strategy} returns sample {move.sample}: not seen"
            )
            return StrategyWalk(samples, rounds, move.sample)
        assert move.n >= 1, f"{strategy} asks for {move.n} samples"
        assert move.n <= len(left), f"{strategy} asks for more than its max_samples"
        assert len(move.variants) in (0, move.n), f"{strategy}: one variant for each sample"
        assert all(0 <= variant < n_variants for variant in move.variants), (
            f"{strategy} asks for variants {move.variants} of {n_variants}"
        )
        for parent in move.parents:
            assert 0 <= parent < len(samples), f"{strategy}: no such parent"
            assert not samples[parent].failed, f"{strategy} goes on after a sample that failed"
            assert not any((d.parent, d.turn) == (parent, move.turn) for d in samples), (
                f"{strategy} asks twice for a {move.turn} after sample {parent}"
            )
        assert len(move.parents) in (0, move.n), f"{strategy}: one sample after each parent"
        samples += tuple(_as_asked(move, samples, left, n_variants))
        left, rounds = left[move.n :], (*rounds, move.n)


def _as_asked(
    move: Ask, samples: Sequence[Sample], outputs: Sequence[Sample], n_variants: int
) -> Iterator[Sample]:
    """The outputs as what was asked for: a critique has no answer, a query asks or answers,
    and the reply to a judge's turn or one that selects is a number."""
    roots = [d.variant for d in samples if d.parent is None and d.turn == move.turn]
    variants = move.variants or interleave(
        [roots.count(variant) for variant in range(n_variants)], move.n
    )
    for i, output in enumerate(outputs[: move.n]):
        parent = move.parents[i] if move.parents else None
        variant = variants[i] if parent is None else samples[parent].variant
        said = output._replace(variant=variant, turn=move.turn, parent=parent)
        if move.turn == "query" and not said.failed and len(samples) % 3:
            fresh = len(samples) % 2 * move.passages
            match = len(samples) % 5 / 4 if fresh else 0.0
            said = said._replace(answer=None, fields=(), fresh=fresh, match=match)
        elif move.turn in (JUDGED_TURN, SELECTING) and not said.failed:
            n = max(move.passages, 1)
            said = said._replace(
                answer=None, fields=(), scores={move.turn: float(1 + len(samples) % n)}
            )
        elif move.turn == "critique":
            said = said._replace(answer=None, fields=())
        yield said
