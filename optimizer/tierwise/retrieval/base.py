"""The seam to retrievers: a query and a number in, that many passages or fewer out, best first.

A policy names its retriever. What stands behind the name is the deployment's matter: a corpus in
this process (``bm25``) or an address (``http``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from tierwise.errors import ProviderError
from tierwise.schema import Passage


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a query brought, best first; nothing is an answer too."""

    passages: tuple[Passage, ...]
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lost:
    """A look-up that failed for good: its sample has failed, and says why."""

    error_class: str
    message: str
    latency_s: float = 0.0


@runtime_checkable
class Retriever(Protocol):
    """One corpus behind one name; safe for threads.

    ``identity`` says what is found: look-ups are stored under it, and are not asked for again. It
    holds no address.
    """

    identity: str

    def find(self, query: str, k: int) -> Retrieved:
        """At most ``k`` passages.

        Raises:
            ProviderError: it cannot be reached, or what comes back is no answer.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


def look_up(retriever: Retriever, query: str, k: int) -> Retrieved | Lost:
    """``retriever.find``, with a failure as an outcome."""
    try:
        found = retriever.find(query, k)
    except ProviderError as error:
        return Lost(type(error).__name__, str(error))
    return Retrieved(unique(found.passages)[:k], found.latency_s)


class News(NamedTuple):
    """What a look-up brought that its chain did not have.

    Attributes:
        fresh: how many passages.
        match: the largest share of the query's words that one of these has; 0 where there is none.
    """

    fresh: int
    match: float


def news(query: str, found: Retrieved, had: Set[str]) -> News:
    """What ``found`` brings to a chain that has had the passages with the ids ``had``."""
    new = [p for p in unique(found.passages) if p.id not in had]
    asked = _words(query)
    shares = [len(asked & _words(p.text)) / len(asked) if asked else 1.0 for p in new]
    return News(len(new), max(shares, default=0.0))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def unique(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """The first of each id."""
    return tuple({p.id: p for p in reversed(passages)}.values())[::-1]


class RecordedRetriever:
    """What ``look_ups`` say of a query; one that is not there fails: it is never made up."""

    def __init__(self, identity: str, look_ups: Mapping[str, Retrieved]) -> None:
        self.identity = identity
        self._look_ups = look_ups

    def find(self, query: str, k: int) -> Retrieved:
        """See ``Retriever``."""
        found = self._look_ups.get(query)
        if found is None:
            raise ProviderError(f"no look-up of {query!r} is recorded")
        return Retrieved(found.passages[:k], found.latency_s)

    def close(self) -> None:
        """Nothing to give back."""
