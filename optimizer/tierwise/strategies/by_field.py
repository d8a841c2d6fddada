"""Votes field by field: a strategy is stepped once for each field of an object, on that field
alone.

An object's fields are elected apart: each by the strategy's own rule, over samples of which only
that field's value is seen. More samples are asked for while any field wants some; the request ends
when every field is decided. So no strategy knows of fields, and one that picks a whole sample
(best-of-n) picks the same one for each. Of answers without fields this is the strategy itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tierwise.strategies._base import Ask, Return, Seen, Strategy


class Elected(NamedTuple):
    """The end of a request: the sample that is the answer.

    ``fields`` says for each field which sample its value is taken from, where the votes elected an
    object that no sample is; ``sample`` is then the first sample that has most of these values.
    """

    sample: int
    fields: tuple[int, ...] = ()


def next_move(strategy: Strategy, seen: Seen) -> Ask | Elected:
    """What ``strategy`` does next, by all fields."""
    ends = []
    asks: list[Ask] = []
    for ballot in ballots(seen):
        move = strategy.step(ballot)
        if isinstance(move, Return):
            ends.append(move.index)
        else:
            asks.append(move)
    # The first of those that ask for most: fields differ in how many, not in what they ask for.
    return max(asks, key=lambda ask: ask.n) if asks else _elected(seen, ends)


def elect(strategy: Strategy, seen: Seen) -> Elected:
    """What is elected if the request has to end now."""
    return _elected(seen, [strategy.choose(ballot) for ballot in ballots(seen)])


def ballots(seen: Seen) -> Iterator[Seen]:
    """For each field the samples with that field's value as the answer; else what was seen."""
    n_fields = max((len(sample.fields) for sample in seen.samples), default=0)
    if not n_fields:
        yield seen
    for i in range(n_fields):
        samples = (
            s if s.answer is None else s._replace(answer=s.fields[i], fields=())
            for s in seen.samples
        )
        yield Seen(tuple(samples), seen.n_variants)


def _elected(seen: Seen, ends: list[int]) -> Elected:
    """The sample that has the values at ``ends``, one a field; or those values put together."""
    if len(set(ends)) == 1:
        return Elected(ends[0])
    samples = seen.samples
    values = tuple(samples[end].fields[i] for i, end in enumerate(ends))
    shared = [
        sum(a == b for a, b in zip(s.fields, values, strict=True)) if s.fields else 0
        for s in samples
    ]
    best = shared.index(max(shared))
    return Elected(best) if shared[best] == len(values) else Elected(best, tuple(ends))
