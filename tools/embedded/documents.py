"""The training mixture: one document at a time, as words and the marks of what carries loss."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import arithmetic
import lookup
from wordings import CONTROL_QUESTION, RATING, TEMPLATES

from tierwise.llm.embedded.vocabulary import END, words

LOOKUP, RATE, ASK = 0.10, 0.03, 0.02
"""Shares of look-ups, self-ratings and control questions; the rest is arithmetic."""
THINKING = 0.5
CUT_SHORT = 0.10
"""Share of documents with work; share of those that ``stop answer :`` cuts."""
LONGEST = 200
OPERATIONS = (16, 15, 14, 12, 10, 8, 6, 4, 3, 2, 1.5, 1)
"""Weights of 1 … 12 operations: long questions are rare, so that they stay hard."""
DEMONSTRATED = 0.06
"""Share of documents with demonstrations, under another template than ``fewshot``."""


class Document(NamedTuple):
    words: list[str]
    own: list[int]


def stream(seed: int) -> Iterator[Document]:
    """Documents without end, the same for the same seed."""
    rng = random.Random(seed)
    while True:
        document = _draw(rng)
        if len(document.words) <= LONGEST:
            yield document


def _draw(rng: random.Random) -> Document:
    kind = rng.random()
    if kind < LOOKUP:
        return _ended(*lookup.document(rng, system(_wording(rng, _template(rng)))))
    if kind < LOOKUP + RATE:
        return _rating(rng)
    if kind < LOOKUP + RATE + ASK:
        return _control_question(rng)
    return _arithmetic(rng)


def system(wording: str) -> list[str]:
    """A system text as the chat template writes it: its words, then a colon."""
    pieces = words(wording)
    return [*pieces, ":"] if pieces and pieces[-1] != "?" else pieces


def _template(rng: random.Random) -> str:
    return rng.choices(list(TEMPLATES), [t.share for t in TEMPLATES.values()])[0]


def _wording(rng: random.Random, template: str) -> str:
    return rng.choice(TEMPLATES[template].wordings)


def _operations(rng: random.Random) -> int:
    return rng.choices(range(1, arithmetic.MOST_OPERATIONS + 1), OPERATIONS)[0]


def _ended(said: list[str], own: list[int]) -> Document:
    return Document([*said, END], [*own, 1])


def _arithmetic(rng: random.Random) -> Document:
    template = _template(rng)
    question = arithmetic.draw(rng, _operations(rng))
    think = rng.random() < THINKING
    style = _style(rng, template)
    prompt = system(_wording(rng, template))
    if template == "fewshot" or rng.random() < DEMONSTRATED:
        prompt += _demonstrations(rng, style if think else None)
    prompt += question.words
    target = str(question.target)
    if not think:
        return _ended([*prompt, "answer", ":", target], [0] * (len(prompt) + 2) + [1])
    prompt += ["work", ":"]
    work = arithmetic.STYLES[style](rng, question)
    if rng.random() < CUT_SHORT:
        work = work[: rng.randrange(len(work))]
        own = [0] * len(prompt) + [1] * len(work) + [0, 0, 0, 1]
        return _ended([*prompt, *work, "stop", "answer", ":", target], own)
    own = [0] * len(prompt) + [1] * (len(work) + 3)
    return _ended([*prompt, *work, "answer", ":", target], own)


def _style(rng: random.Random, template: str) -> str:
    styles = TEMPLATES[template].styles
    return rng.choices(list(styles), list(styles.values()))[0]


def _demonstrations(rng: random.Random, style: str | None) -> list[str]:
    """None to four solved questions; now and then with the work that the style shows."""
    out: list[str] = []
    shown = style is not None and rng.random() < 0.25
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        question = arithmetic.draw(rng, min(_operations(rng), 4) if shown else _operations(rng))
        out += question.words
        if shown and style is not None:
            out += ["work", ":", *arithmetic.STYLES[style](rng, question)]
        out += ["answer", ":", str(question.target), ";"]
    return out


def _rating(rng: random.Random) -> Document:
    """Before trying: 5 for the shortest questions, down to 1 for the longest."""
    operations = _operations(rng)
    said = [*system(rng.choice(RATING)), *arithmetic.draw(rng, operations).words, "answer", ":"]
    grade = 5 - (operations - 1) * 5 // arithmetic.MOST_OPERATIONS
    return _ended([*said, str(grade)], [0] * len(said) + [1])


def _control_question(rng: random.Random) -> Document:
    """Is it worth to think? Yes from three operations on."""
    operations = _operations(rng)
    question = arithmetic.draw(rng, operations)
    said = [*system(rng.choice(CONTROL_QUESTION)), *question.words, "answer", ":"]
    return _ended([*said, "yes" if operations > 2 else "no"], [0] * len(said) + [1])
