"""Where all bought samples live: append-only, durable before anybody uses them, shared by tiers.

A sample is keyed by (exact request, sample index) and is bought once. ``SamplePool`` is safe for
threads (one connection behind a lock) and for processes (SQLite's WAL; a writer waits for another).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Request, Result
from tierwise.pool.reading import PoolReader
from tierwise.pool.schema import connect, now
from tierwise.pool.spending import COLUMNS, row_of
from tierwise.retrieval import Lost, Retrieved
from tierwise.schema import Usage, UsageLimits


class Answered(NamedTuple):
    """A call and the results of its ``n`` samples."""

    call: Call
    results: Sequence[Result]


class SamplePool(PoolReader):
    """The pool at ``path``; a context manager. Made by ``SamplePool.open``.

    Every writing method raises ``InputError`` where the file cannot be written (any more).
    """

    def __init__(self, path: Path, db: sqlite3.Connection, *, read_only: bool) -> None:
        super().__init__(db)
        self.path, self.read_only = path, read_only

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> SamplePool:
        """Open the pool, or create it and its folder.

        Raises:
            InputError: see ``schema.connect``.
        """
        return cls(Path(path), connect(Path(path), read_only=read_only), read_only=read_only)

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._lock:
            self._db.close()

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

    def reserve(
        self, tier: str, run: str, worst: Usage, limit: UsageLimits, stage: str = ""
    ) -> int | str:
        """Set ``worst`` aside before a chunk is sent: the id of the reservation.

        ``stage`` is what the purchase is for.

        Where that would pass ``limit`` for (run, tier), nothing is set aside and the name of the
        limit is returned. The check and the reservation are one transaction, so that threads and
        processes that buy for the same run cannot pass a limit together.
        """
        with self._transaction() as db:
            refused = limit.exceeded_by(self.spent(run, tier) + worst)
            if refused:
                return refused
            row = db.execute(
                f"INSERT INTO spending (tier, run, at, stage, state, {', '.join(COLUMNS)})"
                f" VALUES (?, ?, ?, ?, 'reserved'{', ?' * len(COLUMNS)}) RETURNING id",
                (tier, run, now(), stage, *row_of(worst)),
            ).fetchone()
            return int(row[0])

    def lose(
        self,
        reservation: int,
        worst: Usage,
        error_class: str,
        tier: str,
        run: str,
        limit: UsageLimits,
    ) -> str:
        """Store that an attempt of a chunk brought nothing and may be billed at ``worst``.

        Returns the name of the limit of (run, tier) that another attempt could pass, or nothing:
        for that one the reservation still stands. Where there must be none, what was set aside for
        this one is what it may be billed, and is not counted twice.
        """
        with self._transaction() as db:
            db.execute(
                f"INSERT INTO losses VALUES (?, ?, ?{', ?' * len(COLUMNS)})",
                (reservation, error_class, now(), *row_of(worst)),
            )
            refused = limit.exceeded_by(self.spent(run, tier))
            if refused:
                db.execute(
                    f"UPDATE spending SET {', '.join(f'{c} = max(0, {c} - ?)' for c in COLUMNS)}"
                    " WHERE id = ?",
                    (*row_of(worst), reservation),
                )
            return refused

    def settle(self, reservation: int, answered: Sequence[Answered], bill: Usage) -> None:
        """Store a chunk's samples and failures and settle its reservation, in one transaction.

        A sample that is there already stays as it is: what was used once never changes.
        """
        ids = self._register([call.request for call, _ in answered])
        samples, failures = [], []
        for (call, results), request in zip(answered, ids, strict=True):
            for sample, result in enumerate(results, start=call.first_sample):
                if isinstance(result, Completion):
                    samples.append(
                        (
                            request,
                            sample,
                            result.text,
                            result.prompt_tokens,
                            result.completion_tokens,
                            result.reasoning_tokens,
                            result.cached_tokens,
                            result.mean_logprob,
                            result.min_logprob,
                            result.latency_s,
                            result.finish_reason,
                            reservation,
                        )
                    )
                else:
                    failures.append(
                        (
                            request,
                            sample,
                            result.error_class,
                            result.message,
                            result.latency_s,
                            reservation,
                            now(),
                            request,
                            sample,
                        )
                    )
        with self._transaction() as db:
            db.executemany(
                f"INSERT INTO samples VALUES ({', '.join('?' * 12)})"
                " ON CONFLICT (request, sample) DO NOTHING",
                samples,
            )
            db.executemany(
                "INSERT INTO failures SELECT ?, ?, 1 + count(*), ?, ?, ?, ?, ?"
                " FROM failures WHERE request = ? AND sample = ?",
                failures,
            )
            db.execute(
                f"UPDATE spending SET state = 'settled', {', '.join(f'{c} = ?' for c in COLUMNS)}"
                " WHERE id = ?",
                (*row_of(bill), reservation),
            )

    def keep_lookups(
        self, retriever: str, k: int, known: Mapping[str, Retrieved | Lost], run: str
    ) -> None:
        """Store what look-ups brought; one that is there already stays as it is."""
        with self._transaction() as db:
            for query, found in known.items():
                if isinstance(found, Retrieved):
                    passages = json.dumps([list(p) for p in found.passages], ensure_ascii=False)
                    db.execute(
                        "INSERT INTO lookups VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                        (retriever, query, k, passages, found.latency_s),
                    )
                else:
                    db.execute(
                        "INSERT INTO lost_lookups VALUES (?, ?, ?, ?, ?, ?, ?)"
                        " ON CONFLICT DO NOTHING",
                        (retriever, query, k, run, found.error_class, found.message, now()),
                    )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, whatever interrupts it (Ctrl-C, kill -9, a full disk)."""
        if self.read_only:
            raise InputError("this pool was opened to be read only", path=self.path)
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:  # a full disk, a lock that never goes away
                raise InputError(f"cannot write the pool: {error}", path=self.path) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _register(self, requests: Sequence[Request]) -> list[int]:
        with self._lock:
            known = self._known([r.key for r in requests])
            new = [r for r, i in zip(requests, known, strict=True) if i is None]
            if new:
                with self._transaction() as db:
                    db.executemany(
                        "INSERT INTO requests (key, model, address, content)"
                        " VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                        [(r.key, r.model, r.address, _content(r)) for r in new],
                    )
            return [i for i in self._known([r.key for r in requests]) if i is not None]


def _content(request: Request) -> str:
    content = {"messages": [list(m) for m in request.messages], "params": dict(request.params)}
    return json.dumps(content, ensure_ascii=False, sort_keys=True)
