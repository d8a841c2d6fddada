"""Questions of chained additions and subtractions, and the ways to write the work down.

A question is a running value and its operations; the value stays in 0 … 30 at every step. One
question in eight, by CRC-32 of its text, is held out: no document of the training corpus has it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

HELD_OUT_ONE_IN = 8
LARGEST = 30
MOST_OPERATIONS = 12


class Question(NamedTuple):
    start: int
    steps: tuple[int, ...]
    """What each operation adds: +7 or -3."""

    @property
    def words(self) -> list[str]:
        return [str(self.start), *(w for s in self.steps for w in signed(s))]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def target(self) -> int:
        return self.start + sum(self.steps)


def signed(step: int) -> list[str]:
    return ["+" if step > 0 else "-", str(abs(step))]


def held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % HELD_OUT_ONE_IN == 0


def draw(rng: random.Random, operations: int, *, test: bool = False) -> Question:
    """A question of the training part, or of the held-out part."""
    while True:
        question = _draw(rng, operations)
        if held_out(question.text) == test:
            return question


def _draw(rng: random.Random, operations: int) -> Question:
    start = value = rng.randint(1, 20)
    steps: list[int] = []
    while len(steps) < operations:
        size = rng.randint(2, 9) if rng.random() < 0.85 else rng.randint(10, 14)
        step = size if rng.random() < 0.5 else -size
        if not 0 <= value + step <= LARGEST:
            step = -step
        if 0 <= value + step <= LARGEST:
            value += step
            steps.append(step)
    return Question(start, tuple(steps))


def _steps(rng: random.Random, question: Question) -> list[str]:
    """``7 + 5 = 12 ; 12 - 3 = 9 ;``: every sum in full."""
    return _sums(question.start, [(step,) for step in question.steps])


def _sums(start: int, groups: list[tuple[int, ...]]) -> list[str]:
    """A line a group of operations, each with the value before and after."""
    value, out = start, []
    for group in groups:
        out += [str(value), *(w for s in group for w in signed(s)), "="]
        value += sum(group)
        out += [str(value), ";"]
    return out


def _totals(rng: random.Random, question: Question) -> list[str]:
    """``7 12 9 ;``: nothing but the running values."""
    value, out = question.start, [str(question.start)]
    for step in question.steps:
        value += step
        out.append(str(value))
    return [*out, ";"]


def _pairs(rng: random.Random, question: Question) -> list[str]:
    """``7 + 5 - 3 = 9 ;``: two operations before each value."""
    return _sums(
        question.start, [question.steps[i : i + 2] for i in range(0, len(question.steps), 2)]
    )


def _anyorder(rng: random.Random, question: Question) -> list[str]:
    """As ``steps``, the operations shuffled; each draw is free to choose another order."""
    steps = list(question.steps)
    for _ in range(20):
        rng.shuffle(steps)
        value, inside = question.start, True
        for step in steps:
            value += step
            inside = inside and 0 <= value <= LARGEST
        if inside:
            return _steps(rng, Question(question.start, tuple(steps)))
    return _steps(rng, question)


def _rephrase(rng: random.Random, question: Question) -> list[str]:
    """The question once more, then the running values."""
    return [*question.words, ";", *_totals(rng, question)]


def _bridge(rng: random.Random, question: Question) -> list[str]:
    """As ``steps``, with a stop at the ten: ``7 + 3 = 10 ; 10 + 2 = 12 ;``. Easier sums, more."""
    value, parts = question.start, []
    for step in question.steps:
        after = value + step
        ten = (value // 10 + 1) * 10 if step > 0 else value // 10 * 10
        crosses = min(value, after) < ten < max(value, after)
        for target in (ten, after) if crosses else (after,):
            parts.append((target - value,))
            value = target
    return _sums(question.start, parts)


STYLES: dict[str, Callable[[random.Random, Question], list[str]]] = {
    "steps": _steps,
    "totals": _totals,
    "pairs": _pairs,
    "anyorder": _anyorder,
    "rephrase": _rephrase,
    "bridge": _bridge,
}
