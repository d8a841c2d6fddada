"""Trees of samples: what each node asks for, known once what it follows is bought.

A variant with a path stands for one node in each of its trees, a tree an item and sample index. Its
request holds what its parent said and what that brought, so that it is found level by level: buy
the roots, read them, look up what they ask, and so on down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tierwise.llm import UNFINISHED, Parent, Request
from tierwise.pool.buy import NOBODY, Account
from tierwise.pool.calls import Need
from tierwise.pool.store import Book, SamplePool, Settlement
from tierwise.retrieval import Lost, News, Retrieved, Retriever, look_up, news
from tierwise.schema import RetrieverSpec, Said, Usage, Variant, read_turn
from tierwise.schema.turns import SELECTING
from tierwise.tasks import AnswerSpec, Item

Place = tuple[int, int]
"""(index of the item, index of the sample)."""


class Asks(Protocol):
    """Builds the request of a variant for an item, after a parent or at the root."""

    def __call__(self, variant: Variant, item: Item, parent: Parent | None = None) -> Request:
        """The request."""
        ...


class Told(NamedTuple):
    """What a sample said, what its query found, and which passages its chain has had by then."""

    text: str
    said: Said
    found: Retrieved | None
    news: News | None
    had: frozenset[str]


@dataclass(frozen=True)
class Level:
    """One variant's nodes: the request of each place, and where the chain had ended before."""

    requests: dict[Place, Request] = field(default_factory=dict)
    ended: set[Place] = field(default_factory=set)


AT_ONCE = 8
"""Look-ups that are out at one time."""


@dataclass(frozen=True)
class Library:
    """Where the queries of a tier are answered.

    ``identity`` is that of the retriever; ``retriever`` None is a replay: nothing is looked up, and
    what the pool does not have is not there. ``free``: its look-ups were paid for elsewhere, and
    are not booked.
    """

    spec: RetrieverSpec
    identity: str
    retriever: Retriever | None = None
    free: bool = False

    def read(
        self, pool: SamplePool, k: int, queries: Sequence[str], account: Account = NOBODY
    ) -> dict[str, Retrieved | Lost]:
        """What each query brings, looked up where the pool does not have it.

        A query that failed for good in this run is not asked again in it. Where the account's
        limits do not allow what is missing, it is not there.
        """
        asked = tuple(dict.fromkeys(queries))
        known = pool.lookups(
            self.identity, k, asked, None if self.retriever is None else account.run
        )
        missing = [query for query in asked if query not in known]
        if not missing or self.retriever is None:
            return known
        usd_per_call = 0.0 if self.free else self.spec.usd_per_call
        spent = Usage(usd=usd_per_call * len(missing))
        book = Book(account.run, account.tier)
        reserved = pool.reserve(book, spent, account.limits)
        if isinstance(reserved, str):
            return known
        retriever = self.retriever
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = list(threads.map(lambda query: look_up(retriever, query, k), missing))
        fresh = dict(zip(missing, found, strict=True))
        pool.keep_lookups(self.identity, k, fresh, account.run)
        pool.exchange(book, [Settlement(reserved, (), spent)])
        return known | fresh


@dataclass
class Trees:
    """The trees of ``items``; what is read once stays, so make one for each table.

    ``samples`` says which of a variant's samples take part.
    """

    pool: SamplePool
    items: Sequence[Item]
    answer: AnswerSpec
    ask: Asks
    samples: Callable[[Variant], range]
    library: Library | None = None
    account: Account = NOBODY

    def __post_init__(self) -> None:
        self._levels: dict[Variant, Level] = {}
        self._told: dict[Variant, dict[Place, Told]] = {}
        self._lost: dict[Variant, set[Place]] = {}

    def level(self, variant: Variant) -> Level:
        """The nodes of ``variant``; those above it are bought as far as they will be."""
        if variant not in self._levels:
            parent = variant.parent
            self._levels[variant] = (
                self._roots(variant) if parent is None else self._below(variant, parent)
            )
        return self._levels[variant]

    def needs(self, variant: Variant) -> Iterator[tuple[int, Need]]:
        """What must be there to read ``variant``, with the index of its item."""
        if variant.parent is None:
            of = self.samples(variant)
            for i, item in enumerate(self.items):
                yield i, Need(self.ask(variant, item), len(of), of.start)
        else:
            for (i, sample), request in self.level(variant).requests.items():
                yield i, Need(request, 1, sample)

    def told(self, variant: Variant) -> Mapping[Place, Told]:
        """What the nodes of ``variant`` said, where they arrived and what they ask was answered."""
        if variant not in self._told:
            self._told[variant] = dict(self._read(variant))
        return self._told[variant]

    def without_passages(self, variant: Variant) -> Set[Place]:
        """The queries of ``variant`` whose look-up failed for good."""
        self.told(variant)
        return self._lost.get(variant, set())

    def _roots(self, variant: Variant) -> Level:
        requests = [self.ask(variant, item) for item in self.items]
        of = self.samples(variant)
        return Level({(i, d): request for i, request in enumerate(requests) for d in of})

    def _below(self, variant: Variant, parent: Variant) -> Level:
        if variant.turn.name == SELECTING:
            return self._blocks(variant, parent)
        above, told, level = self.level(parent), self.told(parent), Level()
        level.ended.update(above.ended)
        of, spec = self.samples(variant), self.library.spec if self.library else None
        for place, known in told.items():
            if place[1] not in of:
                continue
            if parent.turn.name == "query" and known.said.answer is not None:
                level.ended.add(place)
                continue
            shown = None
            if spec is not None and parent.turn.name == "query":
                shown = spec.shown(known.found.passages if known.found else ())
            follows = Parent(above.requests[place], known.text, known.said.query, shown)
            level.requests[place] = self.ask(variant, self.items[place[0]], follows)
        return level

    def _blocks(self, variant: Variant, parent: Variant) -> Level:
        """Choices among blocks of samples, each below its last; elsewhere there is none."""
        above, told, level = self.level(parent), self.told(parent), Level()
        size, of = variant.turn.passages, self.samples(variant)
        for (i, last), known in told.items():
            if last not in of:
                continue
            if (last + 1) % size:
                level.ended.add((i, last))
                continue
            block = [told.get((i, d)) for d in range(last + 1 - size, last + 1)]
            texts = tuple(one.text for one in block if one is not None)
            if len(texts) == size:
                follows = Parent(above.requests[i, last], known.text, block=texts)
                level.requests[i, last] = self.ask(variant, self.items[i], follows)
        return level

    def _read(self, variant: Variant) -> Iterator[tuple[Place, Told]]:
        rows = dict(rows_of(self.pool, self.level(variant).requests))
        texts = {place: row[0] for place, row in rows.items()}
        spec = self.library.spec if self.library else None
        said = {
            place: read_turn(
                variant.turn,
                row[0],
                self.answer,
                spec.query if spec else None,
                row[-1] not in UNFINISHED,
            )
            for place, row in rows.items()
        }
        queries = [s.query for s in said.values() if s.query is not None]
        answered: Mapping[str, object] = {}
        if queries and self.library is not None and variant.turn.passages:
            answered = self.library.read(self.pool, variant.turn.passages, queries, self.account)
        above = {} if variant.parent is None else self.told(variant.parent)
        for place, text in texts.items():
            had = above[place].had if place in above else frozenset()
            query = said[place].query
            if query is None:
                yield place, Told(text, said[place], None, None, had)
                continue
            found = answered.get(query)
            if isinstance(found, Retrieved):
                had_then = had | {p.id for p in found.passages}
                yield place, Told(text, said[place], found, news(query, found, had), had_then)
            elif isinstance(found, Lost):
                self._lost.setdefault(variant, set()).add(place)


def rows_of(
    pool: SamplePool, requests: Mapping[Place, Request]
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """The stored row of each place that has one, from its text on, in order of place."""
    by_sample: dict[int, list[Place]] = {}
    for place in requests:
        by_sample.setdefault(place[1], []).append(place)
    rows = {}
    for sample, places in by_sample.items():
        keys = [requests[place].key for place in places]
        for at, _, *row in pool.samples(keys, sample, 1):
            rows[places[at]] = tuple(row)
    for place in requests:
        if place in rows:
            yield place, rows[place]


def parents_first(variants: Iterable[Variant]) -> list[list[Variant]]:
    """``variants`` and all variants above them, level by level."""
    found: dict[Variant, None] = {}
    for variant in variants:
        at: Variant | None = variant
        while at is not None:
            found[at] = None
            at = at.parent
    levels: dict[int, list[Variant]] = {}
    for variant in found:
        levels.setdefault(max(len(variant.path), 1), []).append(variant)
    return [levels[n] for n in sorted(levels)]


def even(n_samples: Mapping[Variant, int]) -> dict[Variant, int]:
    """``n_samples`` with as many samples of every variant of a tree as some variant of it has.

    A child has its parent's index, and an order goes over all samples of the root: so all have as
    many. What lies above a variant is there too.
    """
    whole: dict[Variant, int] = {}
    for variants in parents_first(n_samples):
        for variant in variants:
            whole[variant] = n_samples.get(variant, 0)
    most: dict[Variant, int] = {}
    for variant, n in whole.items():
        most[variant.beginning] = max(most.get(variant.beginning, 0), n)
    return {variant: most[variant.beginning] for variant in whole}
