"""Made-up draws, and a strategy's walk through them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tierwise.strategies import Ask, Draw, Return, Seen, Strategy, deal


class Walk(NamedTuple):
    """How a request went: all draws, the sizes of the rounds, the index of the draw returned."""

    draws: tuple[Draw, ...]
    rounds: tuple[int, ...]
    chosen: int

    @property
    def answer(self) -> str | None:
        """The answer that was returned."""
        return self.draws[self.chosen].answer


def random_draws(
    rng: random.Random, n: int, *, score_names: Iterable[str] = ("mean_logprob",)
) -> list[Draw]:
    """``n`` draws of one request: it may be easy or hard, abstain, fail, or lack scores."""
    alphabet = [f"a{i}" for i in range(rng.randint(1, 5))]
    abstains, fails = rng.choice([(0, 0), (0, 0), (0.3, 0), (0.3, 0.3), (1, 0), (0.5, 0.5)])
    draws = []
    for _ in range(n):
        u = rng.random()
        failed, silent = u < fails, u < fails + abstains
        known = {name: round(-rng.expovariate(1), 1) for name in score_names if rng.random() < 0.9}
        if known and rng.random() < 0.1:
            known[min(known)] = math.nan
        answer = None if failed or silent else rng.choice(alphabet)
        draws.append(Draw(answer, {} if failed else known, text=str(answer), failed=failed))
    return draws


def walk(
    strategy: Strategy, outputs: Sequence[Draw], *, n_arms: int = 1, seen: Sequence[Draw] = ()
) -> Walk:
    """Drive ``strategy`` as evaluation and serving do; output i answers the i-th draw asked for.

    Args:
        strategy: what is driven.
        outputs: at least as many as the strategy asks for.
        n_arms: arms of the recipe.
        seen: draws that are there before it starts, as a reused probe's are.

    Raises:
        AssertionError: a move that no driver could make.
    """
    draws, left = tuple(seen), list(outputs)
    rounds: tuple[int, ...] = ()
    while True:
        move = strategy.step(Seen(draws, n_arms))
        if isinstance(move, Return):
            assert 0 <= move.index < len(draws), f"{strategy} returns draw {move.index}: not seen"
            return Walk(draws, rounds, move.index)
        assert move.n >= 1, f"{strategy} asks for {move.n} draws"
        assert move.n <= len(left), f"{strategy} asks for more than its max_draws"
        assert move.arm is None or 0 <= move.arm < n_arms, f"{strategy} asks for arm {move.arm}"
        for parent in move.parents:
            assert 0 <= parent < len(draws), f"{strategy}: no such parent"
            assert not draws[parent].failed, f"{strategy} goes on after a draw that failed"
            assert not any((d.parent, d.turn) == (parent, move.turn) for d in draws), (
                f"{strategy} asks twice for a {move.turn} after draw {parent}"
            )
        assert len(move.parents) in (0, move.n), f"{strategy}: one draw after each parent"
        draws += tuple(_as_asked(move, draws, left, n_arms))
        left, rounds = left[move.n :], (*rounds, move.n)


def _as_asked(
    move: Ask, draws: Sequence[Draw], outputs: Sequence[Draw], n_arms: int
) -> Iterator[Draw]:
    """The outputs as what was asked for: a critique has no answer, a query asks or answers."""
    roots = [d.arm for d in draws if d.parent is None and d.turn == move.turn]
    arms = deal([roots.count(arm) for arm in range(n_arms)], move.n)
    for i, output in enumerate(outputs[: move.n]):
        parent = move.parents[i] if move.parents else None
        arm = draws[parent].arm if parent is not None else arms[i] if move.arm is None else move.arm
        said = output._replace(arm=arm, turn=move.turn, parent=parent)
        if move.turn == "query" and not said.failed and len(draws) % 3:
            fresh = len(draws) % 2 * move.passages
            match = len(draws) % 5 / 4 if fresh else 0.0
            said = said._replace(answer=None, fresh=fresh, match=match)
        elif move.turn == "critique":
            said = said._replace(answer=None)
        yield said
