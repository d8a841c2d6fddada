"""Trees of draws: what each node asks for, known once what it follows is bought.

An arm with a path stands for one node in each of its trees, a tree an item and draw index. Its
request holds what its parent said and what that brought, so that it is found level by level: buy
the roots, read them, look up what they ask, and so on down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tierwise.llm import Parent, Request
from tierwise.pool.grid import Need
from tierwise.pool.library import Library
from tierwise.pool.spending import Limit
from tierwise.pool.store import SamplePool
from tierwise.recipe import Arm, Said, read_turn
from tierwise.retrieval import Found, News, news
from tierwise.task import AnswerSpec, Item

Place = tuple[int, int]
"""(index of the item, index of the draw)."""


class Asks(Protocol):
    """Builds the request of an arm for an item, after a parent or at the root."""

    def __call__(self, arm: Arm, item: Item, parent: Parent | None = None) -> Request:
        """The request."""
        ...


class Told(NamedTuple):
    """What a draw said, what its query found, and which passages its chain has had by then."""

    text: str
    said: Said
    found: Found | None
    news: News | None
    had: frozenset[str]


@dataclass(frozen=True)
class Level:
    """One arm's nodes: the request of each place, and where the chain had ended before."""

    requests: dict[Place, Request] = field(default_factory=dict)
    ended: set[Place] = field(default_factory=set)


class Buys(NamedTuple):
    """For whom look-ups are made, and what they may cost."""

    tier: str
    run: str
    limit: Limit = Limit()


@dataclass
class Trees:
    """The trees of ``items``; what is read once stays, so make one for each table.

    ``draws`` says which of an arm's draws take part.
    """

    pool: SamplePool
    items: Sequence[Item]
    answer: AnswerSpec
    ask: Asks
    draws: Callable[[Arm], range]
    library: Library | None = None
    buys: Buys = Buys("", "")

    def __post_init__(self) -> None:
        self._levels: dict[Arm, Level] = {}
        self._told: dict[Arm, dict[Place, Told]] = {}

    def level(self, arm: Arm) -> Level:
        """The nodes of ``arm``; those above it are bought as far as they will be."""
        if arm not in self._levels:
            parent = arm.parent
            self._levels[arm] = self._roots(arm) if parent is None else self._below(arm, parent)
        return self._levels[arm]

    def needs(self, arm: Arm) -> Iterator[tuple[int, Need]]:
        """What must be there to read ``arm``, with the index of its item."""
        if arm.parent is None:
            of = self.draws(arm)
            for i, item in enumerate(self.items):
                yield i, Need(self.ask(arm, item), len(of), of.start)
        else:
            for (i, draw), request in self.level(arm).requests.items():
                yield i, Need(request, 1, draw)

    def told(self, arm: Arm) -> Mapping[Place, Told]:
        """What the nodes of ``arm`` said, where they arrived and what they ask was answered."""
        if arm not in self._told:
            self._told[arm] = dict(self._read(arm))
        return self._told[arm]

    def _roots(self, arm: Arm) -> Level:
        requests = [self.ask(arm, item) for item in self.items]
        of = self.draws(arm)
        return Level({(i, d): request for i, request in enumerate(requests) for d in of})

    def _below(self, arm: Arm, parent: Arm) -> Level:
        above, told, level = self.level(parent), self.told(parent), Level()
        level.ended.update(above.ended)
        of, spec = self.draws(arm), self.library.spec if self.library else None
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
            level.requests[place] = self.ask(arm, self.items[place[0]], follows)
        return level

    def _read(self, arm: Arm) -> Iterator[tuple[Place, Told]]:
        texts = dict(texts_of(self.pool, self.level(arm).requests))
        spec = self.library.spec if self.library else None
        said = {
            place: read_turn(arm.turn, text, self.answer, spec.query if spec else None)
            for place, text in texts.items()
        }
        queries = [s.query for s in said.values() if s.query is not None]
        answered: Mapping[str, object] = {}
        if queries and self.library is not None and arm.turn.passages:
            answered = self.library.read(
                self.pool, arm.turn.passages, queries,
                tier=self.buys.tier, run=self.buys.run, limit=self.buys.limit,
            )  # fmt: skip
        above = {} if arm.parent is None else self.told(arm.parent)
        for place, text in texts.items():
            had = above[place].had if place in above else frozenset()
            query = said[place].query
            if query is None:
                yield place, Told(text, said[place], None, None, had)
                continue
            found = answered.get(query)
            if isinstance(found, Found):
                had_then = had | {p.id for p in found.passages}
                yield place, Told(text, said[place], found, news(query, found, had), had_then)


def texts_of(pool: SamplePool, requests: Mapping[Place, Request]) -> Iterator[tuple[Place, str]]:
    """The stored text of each place that has one, in order of place."""
    for place, row in rows_of(pool, requests):
        yield place, row[0]


def rows_of(
    pool: SamplePool, requests: Mapping[Place, Request]
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """The stored row of each place that has one, from its text on, in order of place."""
    by_draw: dict[int, list[Place]] = {}
    for place in requests:
        by_draw.setdefault(place[1], []).append(place)
    rows = {}
    for draw, places in by_draw.items():
        keys = [requests[place].key for place in places]
        for at, _, *row in pool.draws(keys, draw, 1):
            rows[places[at]] = tuple(row)
    for place in requests:
        if place in rows:
            yield place, rows[place]


def parents_first(arms: Iterable[Arm]) -> list[list[Arm]]:
    """``arms`` and all arms above them, level by level."""
    found: dict[Arm, None] = {}
    for arm in arms:
        at: Arm | None = arm
        while at is not None:
            found[at] = None
            at = at.parent
    levels: dict[int, list[Arm]] = {}
    for arm in found:
        levels.setdefault(max(len(arm.path), 1), []).append(arm)
    return [levels[n] for n in sorted(levels)]


def even(depth: Mapping[Arm, int]) -> dict[Arm, int]:
    """``depth`` with as many draws of every arm of a tree as some arm of it has.

    A child has its parent's index, and an order goes over all draws of the root: so all have as
    many. What lies above an arm is there too.
    """
    whole: dict[Arm, int] = {}
    for arms in parents_first(depth):
        for arm in arms:
            whole[arm] = depth.get(arm, 0)
    most: dict[Arm, int] = {}
    for arm, n in whole.items():
        most[_begins(arm)] = max(most.get(_begins(arm), 0), n)
    return {arm: most[_begins(arm)] for arm in whole}


def _begins(arm: Arm) -> Arm:
    while arm.parent is not None:
        arm = arm.parent
    return arm
