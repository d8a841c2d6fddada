"""Stored draws as arrays: rows of the pool -> the table that trials are judged on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tierwise.difficulty import read
from tierwise.errors import unknown_name
from tierwise.evaluation.table import ABSTAINED, ArmTable, Floats, SampleTable
from tierwise.llm import Request
from tierwise.pool.store import SamplePool
from tierwise.recipe import ANSWER, Arm, Tier
from tierwise.task import VERIFIERS, AnswerSpec, Item, Task

REMEMBERED_TEXTS = 2**18
"""Texts whose answer stays in memory: a table grows, and is read again every generation."""


def load(
    pool: SamplePool,
    task: Task,
    tier: Tier,
    items: Sequence[Item],
    requests: Mapping[Arm, Sequence[Request]],
    depth: Mapping[Arm, int],
    *,
    first: int = 0,
    others: Mapping[str, Tier] | None = None,
    turns: Mapping[Arm, str] | None = None,
) -> SampleTable:
    """The table of ``items``, in their order, for the arms of ``requests`` (a request an item).

    Draws ``first … first + depth[arm] - 1`` become columns ``0 … depth[arm] - 1``. A draw that is
    not there has no answer, and NaN for score, dollars and seconds. An abstention is there: it has
    no answer, and the score that the metric gives to none. Log-probabilities are there as verifiers
    where the tier gives them, NaN for a draw that has none, and so are the task's verifiers. Codes
    of answers count up within an item in order of first sight, over arms in their order and draws
    in theirs.

    ``turns`` names the arms that are asked something else than the task: their replies are read by
    the difficulty signal of that turn, and are apart in the table (``asked``).

    ``tier``'s prices apply, but for arms that name another tier, which is looked up in ``others``.

    Raises:
        InputError: an arm names a tier that is not in ``others``.
    """
    tiers = {**(others or {}), tier.name: tier}
    reading = _Reading(task, items)
    arms: dict[Arm, ArmTable] = {}
    asked: dict[Arm, ArmTable] = {}
    for arm, of_items in requests.items():
        if len(of_items) != len(items):
            raise ValueError(f"{arm.label}: {len(of_items)} requests for {len(items)} items")
        owner = arm.tier or tier.name
        if owner not in tiers:
            raise unknown_name("tier", owner, tiers)
        rows = pool.draws([request.key for request in of_items], first, depth[arm])
        shape, turn = (len(items), depth[arm]), (turns or {}).get(arm, ANSWER)
        of_turn = arms if turn == ANSWER else asked
        of_turn[arm] = _arm_table(rows, shape, first, tiers[owner], reading, turn)
    ids, inputs = tuple(i.id for i in items), tuple(i.inputs for i in items)
    return SampleTable(ids, inputs, arms, asked)


class _Reading:
    """Codes and scores of the answers of each item, the same over all arms."""

    def __init__(self, task: Task, items: Sequence[Item]) -> None:
        self._task, self._items = task, items
        self._seen: list[dict[str | None, tuple[int, float]]] = [{} for _ in items]
        self._codes = [0] * len(items)

    def read(self, position: int, text: str) -> tuple[int, float]:
        answer = _answer(self._task.answer, text)
        seen = self._seen[position]
        if answer not in seen:
            code = ABSTAINED
            if answer is not None:
                code = self._codes[position]
                self._codes[position] += 1
            seen[answer] = code, self._task.score(answer, self._items[position])
        return seen[answer]

    def verify(self, name: str, position: int, text: str) -> float:
        inputs = self._items[position].inputs
        return VERIFIERS[name](inputs, text, _answer(self._task.answer, text))

    @property
    def verifiers(self) -> tuple[str, ...]:
        return self._task.verifiers


@functools.lru_cache(maxsize=REMEMBERED_TEXTS)
def _answer(spec: AnswerSpec, text: str) -> str | None:
    return spec.extract(text)


def _arm_table(
    rows: Sequence[tuple[Any, ...]],
    shape: tuple[int, int],
    first: int,
    tier: Tier,
    reading: _Reading,
    turn: str,
) -> ArmTable:
    answers = np.full(shape, ABSTAINED, dtype=np.int16)
    score, *columns = (np.full(shape, np.nan) for _ in range(7))
    names = reading.verifiers if turn == ANSWER else (turn,)
    verified = {name: np.full(shape, np.nan) for name in names}
    if rows:
        position, draw, text, *numbers = zip(*rows, strict=True)
        at = (np.array(position), np.array(draw) - first)
        for column, values in zip(columns, numbers, strict=True):
            column[at] = values
        if turn == ANSWER:
            answers[at], score[at] = zip(*map(reading.read, position, text), strict=True)
            for name, scores in verified.items():
                scores[at] = [
                    reading.verify(name, p, t) for p, t in zip(position, text, strict=True)
                ]
        else:
            score[at] = 0.0
            least_sure = numbers[4]
            verified[turn][at] = [
                read(turn, t, p)[turn] for t, p in zip(text, least_sure, strict=True)
            ]
    prompt, completion, cached, mean_logprob, min_logprob, latency_s = columns
    logprobs = {"mean_logprob": mean_logprob, "min_logprob": min_logprob}
    given = {
        name: values for name, values in logprobs.items()
        if turn == ANSWER and (tier.logprobs or not np.isnan(values).all())
    }  # fmt: skip
    return ArmTable(
        answers=answers,
        score=score,
        prompt_usd=_usd(tier.price.prompt_usd, prompt, cached),
        completion_usd=_usd(tier.price.completion_usd, completion),
        latency_s=latency_s,
        scores=given | verified,
        takes_n=tier.takes_n,
    )


def _usd(price: Callable[..., Any], *tokens: Floats) -> Floats:
    """Prices are plain arithmetic: on arrays they give the bits that the runtime's numbers have."""
    usd: Floats = price(*tokens)
    return usd
