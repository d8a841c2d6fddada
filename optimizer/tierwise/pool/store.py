"""Where all bought samples live: append-only, durable before anybody uses them, shared by tiers.

A sample is keyed by (exact request, sample index) and is bought once. ``SamplePool`` is safe for
threads (one connection behind a lock) and for processes (SQLite's WAL; a writer waits for another).
Everything that a buyer has to write goes through ``exchange``: one transaction that stores what
arrived, settles its reservations and makes new ones. Who buys a sample holds a claim on it, for as
long as it lives and renews its lease, so that two processes do not buy it both.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Request, Result
from tierwise.pool.owner import Owner
from tierwise.pool.reading import COLUMNS, PoolReader, row_of
from tierwise.pool.supervision import INTERRUPTION
from tierwise.pool.tables import (
    SAMPLE_COLUMNS,
    OpenMark,
    checksum,
    connect,
    lookup_checksum,
    lost_log,
    now,
)
from tierwise.retrieval import Lost, Retrieved
from tierwise.schema import NO_LIMITS, Usage, UsageLimits

LEASE_S = 60.0
"""How long a buyer that has stopped renewing its lease keeps others from buying what it claimed."""

PATIENCE_S = 600.0
"""How long a writer waits for another program that has the pool locked."""

LONG_GONE_S = 600.0
"""A lease that ended so long ago is nobody's, however much clocks differ."""

_SETTLE = f"UPDATE spending SET state = ?, {', '.join(f'{c} = ?' for c in COLUMNS)} WHERE id = ?"
_LESS = f"UPDATE spending SET {', '.join(f'{c} = max(0, {c} - ?)' for c in COLUMNS)} WHERE id = ?"


class Answered(NamedTuple):
    """A call and the results of its ``n`` samples."""

    call: Call
    results: Sequence[Result]


class Book(NamedTuple):
    """Where a purchase is entered: for which run, tier and stage, and who buys."""

    run: str
    tier: str
    stage: str = ""
    buyer: str = ""


class Parcel(NamedTuple):
    """Calls that are sent and settled together, and the most that they can cost."""

    calls: Sequence[Call]
    worst: Usage


class Settlement(NamedTuple):
    """What became of a reservation; ``bill`` None where it was never sent."""

    purchase: int
    answered: Sequence[Answered] = ()
    bill: Usage | None = None


class Exchange(NamedTuple):
    """What ``SamplePool.exchange`` reserved, in the order wanted, and why not all of it.

    Attributes:
        reserved: (id, calls) of each parcel that may be sent; without calls where another buyer has
            bought them meanwhile, and then without an id.
        refused: the limit that the next parcel would exceed, or nothing.
        blocked: somebody else is buying samples of the next parcel.
    """

    reserved: Sequence[tuple[int | None, Sequence[Call]]]
    refused: str = ""
    blocked: bool = False


class SamplePool(PoolReader):
    """The pool at ``path``; a context manager. Made by ``SamplePool.open``.

    Every writing method raises ``InputError`` where the file cannot be written (any more).
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        *,
        read_only: bool,
        lease_s: float = LEASE_S,
        mark: OpenMark | None = None,
    ) -> None:
        super().__init__(path, db)
        self.read_only, self.lease_s, self._mark = read_only, lease_s, mark
        self._file = os.stat(path)
        self._leases: dict[str, tuple[float, float]] = {}
        """Buyer -> its lease as last seen, and since when it has been that."""
        if not read_only:
            db.execute("PRAGMA busy_timeout = 2000")  # ``_begin`` goes on waiting
        self._most: dict[tuple[str, str], Usage] = {}
        """(run, tier) -> ``billed(run, tier).most``, while nobody else writes."""
        self._data_version = -1

    @classmethod
    def open(
        cls, path: Path | str, *, read_only: bool = False, lease_s: float = LEASE_S
    ) -> SamplePool:
        """Open the pool, or create it and its folder.

        Raises:
            InputError: see ``tables.connect``, and where the write-ahead log is lost.
        """
        path = Path(path)
        if lost := lost_log(path):
            raise InputError(
                f"{lost}: put it back, or `tierwise pool salvage {path}` goes on without them, and "
                "the next run buys them again",
                path=path,
            )
        if read_only:
            return cls(path, connect(path, read_only=True), read_only=True)
        mark = OpenMark(path) if path.parent.is_dir() and not path.is_dir() else None
        try:
            db = connect(path, read_only=False)
        except BaseException:  # what was opened is closed, whatever it was; it goes on up
            if mark is not None:
                mark.close()
            raise
        mark = mark or OpenMark(path)
        return cls(path, db, read_only=False, lease_s=lease_s, mark=mark)

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._lock:
            if self._mark is not None:
                with contextlib.suppress(sqlite3.Error):  # then the log stays, and the mark says so
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._mark.closing()
            self._db.close()
            if self._mark is not None:
                self._mark.close()
                self._mark = None

    def __enter__(self) -> SamplePool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def look(self, task_sha256: str, tier: str, run: str) -> None:
        """Count a look at the test split; a run that is resumed has looked once."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO looks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (task_sha256, tier, run, now()),
            )

    def exchange(
        self,
        book: Book,
        settlements: Sequence[Settlement] = (),
        wanted: Sequence[Parcel] = (),
        limits: UsageLimits = NO_LIMITS,
    ) -> Exchange:
        """Store what arrived and reserve ``wanted``, in one transaction that is durable on return.

        Parcels are reserved in order until one would exceed ``limits`` for (run, tier), together
        with all that is settled, reserved or lost, or asks for samples that another buyer is
        buying. Samples that are there already stay as they are, and are not bought again.
        """
        with self._transaction() as db:
            most = self._most_of(book) + self._settle(db, settlements)
            if book.buyer:
                self._renew(db, book.buyer)
            others = self._others(db, book.buyer) if wanted else ()
            reserved: list[tuple[int | None, Sequence[Call]]] = []
            fresh: list[Parcel] = []
            next_id = self._next_purchase(db)
            refused, blocked = "", False
            surely = limits.fits(most + _total(row_of(parcel.worst) for parcel in wanted))
            for parcel, calls in zip(wanted, self._missing(db, wanted), strict=True):
                if not calls:
                    reserved.append((None, ()))
                    continue
                if others and any(self._claimed(db, call, others) for call in calls):
                    blocked = True
                    break
                if not surely and limits.exceeded_by(most + parcel.worst):
                    # Added up anew, in the order of reservations: rounding must not decide.
                    self._reserve(db, book, fresh)
                    fresh = []
                    most = self._billed(book.run, book.tier).most
                    refused = limits.exceeded_by(most + parcel.worst)
                    if refused:
                        break
                if not surely:
                    most += parcel.worst
                fresh.append(Parcel(calls, parcel.worst))
                reserved.append((next_id, calls))
                next_id += 1
            self._reserve(db, book, fresh)
            if surely:
                most += _total(row_of(parcel.worst) for parcel in fresh)
            # Within the transaction, which keeps other threads out: a roll-back forgets it.
            self._most[book.run, book.tier] = most
        return Exchange(reserved, refused, blocked)

    def reserve(self, book: Book, worst: Usage, limits: UsageLimits = NO_LIMITS) -> int | str:
        """Set ``worst`` aside for what is no call of a model: the id, or the limit in the way."""
        with self._transaction() as db:
            most = self._most_of(book)
            refused = limits.exceeded_by(most + worst)
            if refused:
                return refused
            purchase = self._next_purchase(db)
            self._reserve(db, book, [Parcel((), worst)])
            self._most[book.run, book.tier] = most + worst
        return purchase

    def lose(
        self, purchase: int, worst: Usage, error_class: str, book: Book, limits: UsageLimits
    ) -> str:
        """Store that an attempt brought nothing and may be billed at ``worst``.

        Returns the name of the limit of (run, tier) that another attempt could exceed, or nothing:
        for that one the reservation still stands. Where there must be none, what was set aside for
        this one is what it may be billed, and is not counted twice.
        """
        with self._transaction() as db:
            marks = ", ?" * len(COLUMNS)
            db.execute(
                f"INSERT INTO losses VALUES (?, ?, ?{marks})",
                (purchase, error_class, now(), *row_of(worst)),
            )
            self._most.pop((book.run, book.tier), None)
            refused = limits.exceeded_by(self._billed(book.run, book.tier).most)
            if refused:
                db.execute(_LESS, (*row_of(worst), purchase))
            return refused

    def leave(self, buyer: str) -> None:
        """Give up what ``buyer`` has claimed: it buys nothing more."""
        with self._transaction() as db:
            db.execute("DELETE FROM claims WHERE buyer = ?", (buyer,))
            db.execute("DELETE FROM buyers WHERE name = ?", (buyer,))

    def keep_lookups(
        self, retriever: str, k: int, known: Mapping[str, Retrieved | Lost], run: str
    ) -> None:
        """Store what look-ups brought; one that is there already stays as it is."""
        with self._transaction() as db:
            for query, found in known.items():
                if isinstance(found, Retrieved):
                    passages = json.dumps([list(p) for p in found.passages], ensure_ascii=False)
                    mark = lookup_checksum(passages, found.latency_s)
                    db.execute(
                        "INSERT INTO lookups VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                        (retriever, query, k, passages, found.latency_s, mark),
                    )
                else:
                    db.execute(
                        "INSERT INTO lost_lookups VALUES (?, ?, ?, ?, ?, ?, ?)"
                        " ON CONFLICT DO NOTHING",
                        (retriever, query, k, run, found.error_class, found.message, now()),
                    )

    def _most_of(self, book: Book) -> Usage:
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:  # another connection has written
            self._data_version = version
            self._most.clear()
        known = self._most.get((book.run, book.tier))
        return self._billed(book.run, book.tier).most if known is None else known

    def _next_purchase(self, db: sqlite3.Connection) -> int:
        """The id of the reservation that is made next, within a transaction."""
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM spending").fetchone()
        return int(last) + 1

    def _reserve(self, db: sqlite3.Connection, book: Book, parcels: Sequence[Parcel]) -> None:
        """Enter reservations, and claims on their samples, under the next ids."""
        if not parcels:
            return
        first, at = self._next_purchase(db), now()
        db.executemany(
            f"INSERT INTO spending (id, tier, run, at, stage, state, {', '.join(COLUMNS)})"
            f" VALUES (?, ?, ?, ?, ?, 'reserved'{', ?' * len(COLUMNS)})",
            [
                (purchase, book.tier, book.run, at, book.stage, *row_of(worst))
                for purchase, (_, worst) in enumerate(parcels, first)
            ],
        )
        claimed = [
            (call, purchase) for purchase, (calls, _) in enumerate(parcels, first) for call in calls
        ]
        if book.buyer and claimed:
            ids = self._register(db, [call.request for call, _ in claimed])
            db.executemany(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?)",
                [
                    (request, call.first_sample, call.n, book.buyer, purchase)
                    for request, (call, purchase) in zip(ids, claimed, strict=True)
                ],
            )

    def _settle(self, db: sqlite3.Connection, settlements: Sequence[Settlement]) -> Usage:
        """Store settlements; what they add to the most that may be billed."""
        if not settlements:
            return Usage()
        asked = json.dumps([settlement.purchase for settlement in settlements])
        aside = {
            purchase: columns
            for purchase, *columns in db.execute(
                f"SELECT id, {', '.join(COLUMNS)} FROM spending WHERE state = 'reserved'"
                " AND id IN (SELECT value FROM json_each(?))",
                (asked,),
            )
        }
        # Where an interruption came between a commit and its notice, it is settled already.
        left = [settlement for settlement in settlements if settlement.purchase in aside]
        self._insert(db, [(purchase, *answer) for purchase, own, _ in left for answer in own])
        db.execute(
            "DELETE FROM claims WHERE purchase IN (SELECT value FROM json_each(?))", (asked,)
        )
        used = [row_of(bill or Usage()) for _, _, bill in left]
        db.executemany(
            _SETTLE,
            [
                ("released" if bill is None else "settled", *row, purchase)
                for (purchase, _, bill), row in zip(left, used, strict=True)
            ],
        )
        return _total(used) - _total(aside.values())

    def _insert(
        self, db: sqlite3.Connection, answered: Sequence[tuple[int, Call, Sequence[Result]]]
    ) -> None:
        """Enter samples and failures, each with its purchase."""
        ids, at = self._register(db, [call.request for _, call, _ in answered]), now()
        samples, failures = [], []
        for (purchase, call, results), request in zip(answered, ids, strict=True):
            for sample, result in enumerate(results, start=call.first_sample):
                if isinstance(result, Completion):
                    content = content_of(result)
                    samples.append((request, sample, *content, purchase, checksum(content)))
                else:
                    why = result.error_class, result.message, result.latency_s
                    failures.append((request, sample, *why, purchase, at, request, sample))
        db.executemany(
            f"INSERT INTO samples VALUES ({', '.join('?' * (4 + len(SAMPLE_COLUMNS)))})"
            " ON CONFLICT (request, sample) DO NOTHING",
            samples,
        )
        db.executemany(
            "INSERT INTO failures SELECT ?, ?, 1 + count(*), ?, ?, ?, ?, ?"
            " FROM failures WHERE request = ? AND sample = ?",
            failures,
        )

    def _missing(self, db: sqlite3.Connection, parcels: Sequence[Parcel]) -> list[list[Call]]:
        """Of each parcel, the parts of its calls whose samples are not there."""
        calls = [call for parcel in parcels for call in parcel.calls]
        ids = self._known([call.request.key for call in calls])
        there: dict[int, set[int]] = {}
        for place, sample in db.execute(
            "SELECT j.key, d.sample FROM json_each(?) AS j CROSS JOIN samples AS d"
            " ON d.request = json_extract(j.value, '$[0]')"
            " AND d.sample >= json_extract(j.value, '$[1]')"
            " AND d.sample < json_extract(j.value, '$[2]')",
            (
                json.dumps(
                    [
                        (request, call.first_sample, call.first_sample + call.n)
                        for request, call in zip(ids, calls, strict=True)
                    ]
                ),
            ),
        ):
            there.setdefault(place, set()).add(sample)
        left = iter([list(_without(call, there.get(i))) for i, call in enumerate(calls)])
        return [[part for _ in parcel.calls for part in next(left)] for parcel in parcels]

    def _renew(self, db: sqlite3.Connection, buyer: str) -> None:
        db.execute(
            "INSERT INTO buyers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET until_s ="
            " excluded.until_s",
            (buyer, time.time() + self.lease_s),
        )

    def _others(self, db: sqlite3.Connection, buyer: str) -> tuple[str, ...]:
        """Who else buys, and is alive; claims of those who are not are taken away.

        A lease ends when it was not renewed for its length on this process's own clock: clocks of
        two machines differ, and any of them may be set.
        """
        rows = db.execute("SELECT name, until_s FROM buyers WHERE name != ?", (buyer,)).fetchall()
        now_s, alive = time.monotonic(), []
        for name, until_s in rows:
            known_until_s, since_s = self._leases.get(name, (None, now_s))
            if known_until_s != until_s:
                since_s = now_s
            self._leases[name] = until_s, since_s
            lasts = now_s - since_s <= self.lease_s and until_s > time.time() - LONG_GONE_S
            if lasts and _may_live(name):
                alive.append(name)
        for name in {name for name, _ in rows} - set(alive):
            db.execute("DELETE FROM claims WHERE buyer = ?", (name,))
            db.execute("DELETE FROM buyers WHERE name = ?", (name,))
        return tuple(alive)

    def _claimed(self, db: sqlite3.Connection, call: Call, others: Sequence[str]) -> bool:
        (request,) = self._known([call.request.key])
        if request is None:
            return False
        rows = db.execute(
            "SELECT buyer FROM claims WHERE request = ? AND first < ? AND first + n > ?",
            (request, call.first_sample + call.n, call.first_sample),
        )
        return any(buyer in others for (buyer,) in rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, whatever interrupts it (Ctrl-C, kill -9, a full disk)."""
        if self.read_only:
            raise InputError("this pool was opened to be read only", path=self.path)
        with self._lock:
            self._still_there()
            try:
                self._begin()
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.IntegrityError:
                raise
            except (
                sqlite3.DatabaseError,
                UnicodeDecodeError,
            ) as error:  # a full disk, a lock that never goes away
                raise self._unusable("written", error) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                    self._ids.clear()
                    self._most.clear()

    def _begin(self) -> None:
        """Begin to write, once another process has ended its transaction."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                locked = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
                give_up_at = INTERRUPTION.give_up_at
                given_up = give_up_at is not None and time.monotonic() >= give_up_at
                if not locked or given_up or time.monotonic() >= until:
                    raise

    def _still_there(self) -> None:
        """Raise InputError where the file was taken away: what is written now would be lost."""
        try:
            there = os.path.samestat(os.stat(self.path), self._file)
        except OSError:
            there = False
        if not there:
            raise InputError(
                "the pool's file was removed or replaced while it was in use; nothing more is "
                "bought",
                path=self.path,
            )

    def _register(self, db: sqlite3.Connection, requests: Sequence[Request]) -> list[int]:
        """Ids of requests, those that are new entered."""
        try:
            return [self._ids[request.key] for request in requests]
        except KeyError:
            known = self._known([r.key for r in requests])
        new = [r for r, i in zip(requests, known, strict=True) if i is None]
        db.executemany(
            "INSERT INTO requests (key, model, address, content)"
            " VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            [(r.key, r.model, r.address, _content(r)) for r in new],
        )
        return [i for i in self._known([r.key for r in requests]) if i is not None]


def buyer_name() -> str:
    """A name for somebody who buys from this process."""
    return f"{uuid.uuid4().hex} {Owner.this_process()}"


def _may_live(buyer: str) -> bool:
    """Whether a buyer's process may be alive."""
    owner = Owner.read(buyer.partition(" ")[2])
    return owner is None or not owner.surely_gone


def _total(rows: Iterable[Sequence[float]]) -> Usage:
    """The sum of rows of ``COLUMNS``."""
    return Usage(*map(sum, zip(*rows, strict=True)))


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


def _without(call: Call, there: set[int] | None) -> Iterator[Call]:
    """The parts of a call beside the samples that are there."""
    if not there:
        yield call
        return
    first, end = None, call.first_sample + call.n
    for sample in range(call.first_sample, end + 1):
        if sample < end and sample not in there:
            first = sample if first is None else first
        elif first is not None:
            yield Call(call.request, first, sample - first, call.seed + first - call.first_sample)
            first = None


content_of: Callable[[Completion], tuple[object, ...]] = operator.attrgetter(*SAMPLE_COLUMNS)
"""What is stored of a completion."""


def _content(request: Request) -> str:
    content = {"messages": [list(m) for m in request.messages], "params": dict(request.params)}
    return _encode(content)
