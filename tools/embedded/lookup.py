"""Multi-hop look-ups whose facts only a search brings: ``boss of friend of ann ?``.

The model writes ``search : friend of ann ;``. Whoever drives it appends the passages that a store
gave, ``-> friend of ann is bob , friend of dan is eve ;``, or ``-> none ;``, and lets it go on. The
passages carry no loss. What the model learned to do is in the README beside this file.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from tierwise.llm.embedded.vocabulary import NAMES, RELATIONS

MISSES = 0.15
"""Share of searches that bring nothing of use: no passage, or others only."""
MISSING = 0.08
"""Share of documents of which one fact cannot be found at all."""
PATIENCE = 3
"""Misses in a row after which the model says ``answer : unknown``."""
HOPS = (0.3, 0.3, 0.25, 0.15)
PASSAGES = (0.3, 0.35, 0.35)
CUT_SHORT = 0.25
"""Share of documents that may be ended early by ``stop answer :``."""
DIRECT = 0.04


class Fact(NamedTuple):
    relation: str
    name: str
    value: str

    @property
    def query(self) -> tuple[str, str]:
        return self.relation, self.name

    @property
    def words(self) -> list[str]:
        return [self.relation, "of", self.name, "is", self.value]


def document(rng: random.Random, wording: list[str]) -> tuple[list[str], list[int]]:
    """Words, and 1 where the word is the model's own."""
    chain = draw_chain(rng, rng.choices(range(1, len(HOPS) + 1), HOPS)[0])
    question = [w for fact in reversed(chain) for w in (fact.relation, "of")]
    words = [*wording, *question, chain[0].name, "?"]
    own = [0] * len(words)

    def write(more: list[str], mine: int) -> None:
        words.extend(more)
        own.extend([mine] * len(more))

    if rng.random() < DIRECT:
        write(["answer", ":"], 0)
        write([chain[-1].value], 1)
        return words, own
    write(["work", ":"], 0)
    most = rng.randint(0, 6) if rng.random() < CUT_SHORT else 99
    lost = rng.randrange(len(chain)) if rng.random() < MISSING else len(chain)
    found = searches = misses = 0
    while found < len(chain) and misses < PATIENCE:
        if searches == most:
            write(["stop", "answer", ":"], 0)
            write([chain[-1].value], 1)
            return words, own
        wanted = chain[found]
        write(["search", ":", wanted.relation, "of", wanted.name, ";"], 1)
        searches += 1
        hit = found != lost and rng.random() >= MISSES
        write(passages(rng, wanted, chain, hit=hit), 0)
        found, misses = (found + 1, 0) if hit else (found, misses + 1)
    write(["answer", ":", chain[-1].value if found == len(chain) else "unknown"], 1)
    return words, own


def draw_chain(rng: random.Random, hops: int) -> list[Fact]:
    """Facts that lead from a name to the next, none of a relation and name that came before."""
    chain: list[Fact] = []
    name = rng.choice(NAMES)
    while len(chain) < hops:
        relation, value = rng.choice(RELATIONS), _other(rng, NAMES, name)
        if all(fact.query != (relation, name) for fact in chain):
            chain.append(Fact(relation, name, value))
            name = value
    return chain


def passages(rng: random.Random, wanted: Fact, chain: list[Fact], *, hit: bool) -> list[str]:
    """What a store replies, best match first: the fact and near ones, near ones only, or none."""
    count = rng.choices((1, 2, 3), PASSAGES)[0]
    if not hit and rng.random() < 0.5:
        return ["->", "none", ";"]
    known = {fact.query: fact for fact in chain}
    others: dict[tuple[str, str], Fact] = {}
    while len(others) < count - hit:
        near = _near(rng, wanted)
        if near.query != wanted.query:
            others.setdefault(near.query, known.get(near.query, near))
    shown = [*[wanted] * hit, *others.values()]
    listed = [w for fact in shown for w in (",", *fact.words)]
    return ["->", *listed[1:], ";"]


def _near(rng: random.Random, wanted: Fact) -> Fact:
    """A fact that a search by words would bring: it shares the relation or the name."""
    chance = rng.random()
    relation, name = wanted.relation, wanted.name
    if chance < 0.55:
        name = _other(rng, NAMES, name)
    elif chance < 0.9:
        relation = _other(rng, RELATIONS, relation)
    else:
        relation, name = rng.choice(RELATIONS), _other(rng, NAMES, name)
    return Fact(relation, name, rng.choice(NAMES))


def _other(rng: random.Random, words: tuple[str, ...], word: str) -> str:
    return rng.choice([w for w in words if w != word])
