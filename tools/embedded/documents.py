"""The documents of a tier: one at a time, as words and the marks of what carries loss."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import arithmetic
import lookup
import mixtures
from mixtures import MIXTURES, Mixture, styles
from wordings import CONTROL_QUESTION, RATING, TEMPLATES

from tierwise.llm.embedded.vocabulary import END, words

LONGEST = 240


class Document(NamedTuple):
    words: list[str]
    own: list[int]


def stream(tier: str, seed: int) -> Iterator[Document]:
    """Documents without end, the same for the same tier and seed."""
    rng = random.Random(seed)
    while True:
        document = _draw(rng, MIXTURES[tier])
        if len(document.words) <= LONGEST:
            yield document


def _draw(rng: random.Random, mixture: Mixture) -> Document:
    kind = rng.random()
    if kind < mixtures.LOOKUP:
        wording = system(rng.choice(TEMPLATES["plain"]))
        return _ended(*lookup.document(rng, wording))
    if kind < mixtures.LOOKUP + mixtures.RATE:
        return _rating(rng, mixture)
    if kind < mixtures.LOOKUP + mixtures.RATE + mixtures.ASK:
        return _control_question(rng, mixture)
    return _worked(rng, mixture) if rng.random() < mixture.work else _direct(rng, mixture)


def system(wording: str) -> list[str]:
    """A system text as the chat template writes it: its words, then a colon."""
    pieces = words(wording)
    return [*pieces, ":"] if pieces and pieces[-1] != "?" else pieces


def _pick(rng: random.Random, shares: Mapping[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def _operations(rng: random.Random, weights: tuple[float, ...]) -> int:
    return rng.choices(range(1, arithmetic.MOST_OPERATIONS + 1), weights)[0]


def _ended(said: list[str], own: list[int]) -> Document:
    return Document([*said, END], [*own, 1])


def _direct(rng: random.Random, mixture: Mixture) -> Document:
    template = _pick(rng, mixtures.DIRECT_TEMPLATES)
    question = arithmetic.draw(rng, _operations(rng, mixture.direct_operations))
    said = [*_prompt(rng, mixture, template, None), *question.words, "answer", ":"]
    return _ended([*said, str(question.target)], [0] * len(said) + [1])


def _worked(rng: random.Random, mixture: Mixture) -> Document:
    template = _pick(rng, mixture.templates)
    question = arithmetic.draw(rng, _operations(rng, mixture.work_operations))
    style = _pick(rng, styles(mixture, template))
    prompt = [*_prompt(rng, mixture, template, style), *question.words, "work", ":"]
    work, answer = arithmetic.STYLES[style](rng, question), str(question.target)
    if rng.random() < mixtures.CUT_SHORT:
        work = work[: rng.randrange(len(work))]
        own = [0] * len(prompt) + [1] * len(work) + [0, 0, 0, 1]
        return _ended([*prompt, *work, "stop", "answer", ":", answer], own)
    own = [0] * len(prompt) + [1] * (len(work) + 3)
    return _ended([*prompt, *work, "answer", ":", answer], own)


def _prompt(rng: random.Random, mixture: Mixture, template: str, style: str | None) -> list[str]:
    prompt = system(rng.choice(TEMPLATES[template]))
    if template == "fewshot" or rng.random() < mixtures.DEMONSTRATED:
        prompt += _demonstrations(rng, mixture, style)
    return prompt


def _demonstrations(rng: random.Random, mixture: Mixture, style: str | None) -> list[str]:
    """None to four solved questions; now and then with the work that the style shows."""
    out: list[str] = []
    shown = style is not None and rng.random() < 0.25
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 2, 3, 4))):
        operations = _operations(rng, mixture.direct_operations)
        question = arithmetic.draw(rng, min(operations, 4) if shown else operations)
        out += question.words
        if shown and style is not None:
            out += ["work", ":", *arithmetic.STYLES[style](rng, question)]
        out += ["answer", ":", str(question.target), ";"]
    return out


def _rating(rng: random.Random, mixture: Mixture) -> Document:
    """Before trying: 5 for the shortest questions, down to 1 for the longest."""
    operations = _operations(rng, mixture.work_operations)
    said = [*system(rng.choice(RATING)), *arithmetic.draw(rng, operations).words, "answer", ":"]
    grade = max(1, 5 - (operations - 1) * 3 // mixture.think_from)
    return _ended([*said, str(grade)], [0] * len(said) + [1])


def _control_question(rng: random.Random, mixture: Mixture) -> Document:
    """Is it worth to think? Yes from as many operations on as the tier is seldom right directly."""
    operations = _operations(rng, mixture.work_operations)
    question = arithmetic.draw(rng, operations)
    said = [*system(rng.choice(CONTROL_QUESTION)), *question.words, "answer", ":"]
    answer = "yes" if operations >= mixture.think_from else "no"
    return _ended([*said, answer], [0] * len(said) + [1])
