"""What is missing of a purchase, and the calls that buy it.

What is computed together can matter (the float noise of a batched matrix product can change a
token), so chunks are cells of a grid laid over all the needs, not over the missing samples: a cell is
stored as a whole or not at all, and an interrupted fill that starts again sends the cells that the
uninterrupted one would have sent. That holds without buying a sample of a half-filled cell twice,
because what was there before the fill is there in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tierwise.llm import Call, Request, base_seed
from tierwise.pool.reading import PoolReader


class Need(NamedTuple):
    """Samples ``first … first + samples - 1`` of a request must be there."""

    request: Request
    samples: int
    first: int = 0


class Sample(NamedTuple):
    """Sample ``at`` of a request."""

    request: Request
    at: int


def plan(
    pool: PoolReader, needs: Sequence[Need], takes_n: bool = True, *, seed: int = 0
) -> list[Call]:
    """The calls that buy what is missing, each of them one call on the bill.

    Missing samples of a request that follow one another share a call where the tier takes ``n``.
    """
    have = pool.present(need.request.key for need in needs)
    total = sum(need.samples for need in needs)
    return [c for cell in grid(needs, have, max(total, 1)) for c in calls_of(cell, takes_n, seed)]


def settled(
    pool: PoolReader, needs: Sequence[Need], run: str, *, replay: bool
) -> dict[str, set[int]]:
    """Samples that this run need not buy: they are there, or failed in it, by request key."""
    keys = [need.request.key for need in needs]
    there = pool.present(keys)
    if run or replay:
        for key, samples in pool.failed(keys, None if replay else run).items():
            there.setdefault(key, set()).update(samples)
    return there


def grid(needs: Sequence[Need], have: Mapping[str, set[int]], chunk: int) -> Iterator[list[Sample]]:
    """What is missing in each cell of the grid over all needs, empty cells too.

    A cell has at most ``chunk`` samples; a request is cut only where it alone has more, so that its
    prompt is billed once.
    """
    seen: dict[str, set[int]] = {}
    cell: list[Sample] = []
    room = chunk
    for request, samples, first in needs:
        there = seen.setdefault(request.key, set(have.get(request.key, ())))
        if room < min(samples, chunk):
            yield cell
            cell, room = [], chunk
        for index in range(first, first + samples):
            if room == 0:
                yield cell
                cell, room = [], chunk
            room -= 1
            if index not in there:
                there.add(index)
                cell.append(Sample(request, index))
    yield cell


def calls_of(samples: Sequence[Sample], takes_n: bool, seed: int) -> list[Call]:
    """Calls for samples that are in order of request and index."""
    found: list[Call] = []
    for request, index in samples:
        last = found[-1] if found else None
        if (
            last is not None
            and takes_n
            and last.request is request
            and last.first_sample + last.n == index
        ):
            found[-1] = last._replace(n=last.n + 1)
        else:
            found.append(Call(request, index, 1, base_seed(seed, request) + index))
    return found
