"""Made-up samples, and a strategy's walk through them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tierwise.strategies import Ask, Return, Sample, Seen, Strategy, interleave


class StrategyWalk(NamedTuple):
    """How a request went: all samples, the sizes of the rounds, the index of the sample returned."""

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
        move = strategy.step(Seen(samples, n_variants))
        if isinstance(move, Return):
            assert 0 <= move.index < len(samples), (
                f"{strategy} returns sample {move.index}: not seen"
            )
            return StrategyWalk(samples, rounds, move.index)
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
    """The outputs as what was asked for: a critique has no answer, a query asks or answers."""
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
            said = said._replace(answer=None, fresh=fresh, match=match)
        elif move.turn == "critique":
            said = said._replace(answer=None)
        yield said
