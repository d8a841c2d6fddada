"""Where all bought draws live: append-only, durable before anybody uses them, shared by tiers.

A draw is keyed by (exact request, draw index) and is bought once. ``SamplePool`` is safe for
threads (one connection behind a lock) and for processes (SQLite's WAL; a writer waits for another).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Request, Result
from tierwise.pool.schema import connect, now
from tierwise.pool.spending import Billed, Limit, Spent, billed


class Answered(NamedTuple):
    """A call and the results of its ``n`` draws."""

    call: Call
    results: Sequence[Result]


class SamplePool:
    """The pool at ``path``; a context manager. Made by ``SamplePool.open``.

    Every writing method raises ``InputError`` where the file cannot be written (any more).
    """

    def __init__(self, path: Path, db: sqlite3.Connection, *, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self._db = db
        self._lock = threading.RLock()
        self._ids: dict[str, int] = {}  # request key -> id; ids never change, so it may be kept

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
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    # -- reading ---------------------------------------------------------------------------------

    def present(self, keys: Iterable[str]) -> dict[str, set[int]]:
        """Draws that are there, by request key; a request without any is left out."""
        return self._indices(keys, "draws")

    def failed(self, keys: Iterable[str], run: str | None = None) -> dict[str, set[int]]:
        """Draws that failed for good (in ``run``, or ever), by request key."""
        if run is None:
            return self._indices(keys, "failures")
        return self._indices(keys, "failures", "WHERE d.purchase IN "
                             "(SELECT id FROM spending WHERE run = ?)", run)  # fmt: skip

    def draws(self, keys: Sequence[str], first: int, depth: int) -> list[tuple[Any, ...]]:
        """Draws ``first … first + depth - 1`` of requests, by place in ``keys``, then by draw.

        A row is (place, draw, text, prompt_tokens, completion_tokens, cached_tokens, mean_logprob,
        min_logprob, latency_s): a plain tuple, because 150,000 of them are read at once.
        """
        with self._lock:
            return self._db.execute(
                "SELECT j.key, d.draw, d.text, d.prompt_tokens, d.completion_tokens,"
                " d.cached_tokens, d.mean_logprob, d.min_logprob, d.latency_s"
                " FROM json_each(?) AS j CROSS JOIN draws AS d"
                " ON d.request = j.value AND d.draw >= ? AND d.draw < ?",
                (json.dumps(self._known(keys)), first, first + depth),
            ).fetchall()

    def sha256(self, used: Mapping[str, range]) -> str:
        """Hash over the content of the draws that were used (request key -> draw indices).

        In order of key, then draw; who bought them, and when, is left out, so that two pools with
        the same draws hash alike. A draw that is not there adds nothing.
        """
        digest = hashlib.sha256()
        keys = sorted(used)
        with self._lock:
            rows = self._db.execute(
                "SELECT j.key, d.draw, d.text, d.prompt_tokens, d.completion_tokens,"
                " d.reasoning_tokens, d.cached_tokens, d.mean_logprob, d.min_logprob, d.latency_s,"
                " d.finish_reason FROM json_each(?) AS j CROSS JOIN draws AS d"
                " ON d.request = j.value",
                (json.dumps(self._known(keys)),),
            )
            for position, draw, *content in rows:
                key = keys[position]
                if draw in used[key]:
                    digest.update(repr((key, draw, content)).encode())
        return digest.hexdigest()

    def counts(self, table: str) -> int:
        """Rows of ``requests``, ``draws``, ``failures``, ``looks``, ``spending`` or ``losses``."""
        if table not in ("requests", "draws", "failures", "looks", "spending", "losses"):
            raise ValueError(f"no table {table!r}")
        with self._lock:
            return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def overview(self) -> dict[str, Any]:
        """What there is, by model, and what it cost: plain data."""
        with self._lock:
            models = self._db.execute(
                "SELECT r.model, count(*), coalesce(sum(d.n), 0), coalesce(sum(f.n), 0),"
                " coalesce(sum(d.prompt), 0), coalesce(sum(d.completion), 0) FROM requests AS r"
                " LEFT JOIN (SELECT request, count(*) AS n, sum(prompt_tokens) AS prompt,"
                " sum(completion_tokens) AS completion FROM draws GROUP BY request) AS d"
                " ON d.request = r.id LEFT JOIN (SELECT request, count(*) AS n FROM failures"
                " GROUP BY request) AS f ON f.request = r.id GROUP BY r.model ORDER BY r.model"
            ).fetchall()
            confirmed, possibly = billed(self._db)
        names = ("model", "requests", "draws", "failures", "prompt_tokens", "completion_tokens")
        return {
            "models": [dict(zip(names, row, strict=True)) for row in models],
            **confirmed._asdict(), "possibly_billed": possibly._asdict(),
            "looks": self.counts("looks"),
        }  # fmt: skip

    def billed(self, run: str, tier: str | None = None) -> Billed:
        """What ``run`` spent (on ``tier``, or on all), over all of its starts: with answers, and
        what may be billed without."""
        with self._lock:
            return billed(self._db, run, tier)

    def spent(self, run: str, tier: str | None = None) -> Spent:
        """The most that ``run`` may be billed, which is what limits are held against."""
        return self.billed(run, tier).most

    def looks(self, task_sha256: str, tier: str | None = None) -> int:
        """How often the test split of these items was looked at, over all jobs on this pool."""
        with self._lock:
            row = self._db.execute(
                "SELECT count(*) FROM looks WHERE task = ?"
                + (" AND tier = ?" if tier is not None else ""),
                (task_sha256,) if tier is None else (task_sha256, tier),
            ).fetchone()
        return int(row[0])

    # -- writing ---------------------------------------------------------------------------------

    def look(self, task_sha256: str, tier: str, run: str) -> None:
        """Count a look at the test split; a run that is resumed has looked once."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO looks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (task_sha256, tier, run, now()),
            )

    def reserve(self, tier: str, run: str, worst: Spent, limit: Limit) -> int | str:
        """Set ``worst`` aside before a chunk is sent: the id of the reservation.

        Where that would pass ``limit`` for (run, tier), nothing is set aside and the name of the
        limit is returned. The check and the reservation are one transaction, so that threads and
        processes that buy for the same run cannot pass a limit together.
        """
        with self._transaction() as db:
            refused = limit.passed_by(self.spent(run, tier).plus(worst))
            if refused:
                return refused
            row = db.execute(
                "INSERT INTO spending (tier, run, at, state, reserved_usd, calls, tokens)"
                " VALUES (?, ?, ?, 'reserved', ?, ?, ?) RETURNING id", (tier, run, now(), *worst),
            ).fetchone()  # fmt: skip
            return int(row[0])

    def lose(
        self, reservation: int, worst: Spent, error_class: str, tier: str, run: str, limit: Limit
    ) -> str:
        """Store that an attempt of a chunk brought nothing and may be billed at ``worst``.

        Returns the name of the limit of (run, tier) that another attempt could pass, or nothing:
        for that one the reservation still stands.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?)",
                (reservation, error_class, *worst, now()),
            )
            return limit.passed_by(self.spent(run, tier))

    def settle(self, reservation: int, answered: Sequence[Answered], bill: Spent) -> None:
        """Store a chunk's draws and failures and settle its reservation, in one transaction.

        A draw that is there already stays as it is: what was used once never changes.
        """
        ids = self._register([call.request for call, _ in answered])
        draws, failures = [], []
        for (call, results), request in zip(answered, ids, strict=True):
            for draw, result in enumerate(results, start=call.first_draw):
                if isinstance(result, Completion):
                    draws.append((
                        request, draw, result.text, result.prompt_tokens, result.completion_tokens,
                        result.reasoning_tokens, result.cached_tokens, result.mean_logprob,
                        result.min_logprob, result.latency_s, result.finish_reason, reservation,
                    ))  # fmt: skip
                else:
                    failures.append((
                        request, draw, result.error_class, result.message, result.latency_s,
                        reservation, now(), request, draw,
                    ))  # fmt: skip
        with self._transaction() as db:
            db.executemany(
                f"INSERT INTO draws VALUES ({', '.join('?' * 12)})"
                " ON CONFLICT (request, draw) DO NOTHING", draws,
            )  # fmt: skip
            db.executemany(
                "INSERT INTO failures SELECT ?, ?, 1 + count(*), ?, ?, ?, ?, ?"
                " FROM failures WHERE request = ? AND draw = ?",
                failures,
            )
            db.execute(
                "UPDATE spending SET state = 'settled', settled_usd = ?, calls = ?, tokens = ?"
                " WHERE id = ?", (*bill, reservation),
            )  # fmt: skip

    # -- inside ----------------------------------------------------------------------------------

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

    def _indices(
        self, keys: Iterable[str], table: str, where: str = "", *values: str
    ) -> dict[str, set[int]]:
        asked = list(dict.fromkeys(keys))
        found: dict[str, set[int]] = {}
        with self._lock:
            rows = self._db.execute(
                f"SELECT j.key, d.draw FROM json_each(?) AS j CROSS JOIN {table} AS d"
                f" ON d.request = j.value {where}",
                (json.dumps(self._known(asked)), *values),
            )
            for position, draw in rows:
                found.setdefault(asked[position], set()).add(draw)
        return found

    def _known(self, keys: Sequence[str]) -> list[int | None]:
        """Ids of requests, None where the pool has not met one; the lock is held."""
        absent = [k for k in keys if k not in self._ids]
        if absent:
            self._ids.update(self._db.execute(
                "SELECT r.key, r.id FROM json_each(?) AS j CROSS JOIN requests AS r"
                " ON r.key = j.value", (json.dumps(absent),),
            ).fetchall())  # fmt: skip
        return [self._ids.get(k) for k in keys]

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
