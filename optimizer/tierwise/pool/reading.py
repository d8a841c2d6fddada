"""What is read from a pool: samples, failures, what they cost, looks at the test split."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from tierwise.pool.spending import COLUMNS, Billed, billed
from tierwise.retrieval import Lost, Retrieved
from tierwise.schema import Passage, Usage

TABLES = (
    "requests",
    "samples",
    "failures",
    "looks",
    "spending",
    "losses",
    "lookups",
    "lost_lookups",
)


class PoolReader:
    """Reads of one connection, behind a lock that writers share."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lock = threading.RLock()
        self._ids: dict[str, int] = {}  # request key -> id; ids never change, so it may be kept

    def present(self, keys: Iterable[str]) -> dict[str, set[int]]:
        """Samples that are there, by request key; a request without any is left out."""
        return self._indices(keys, "samples")

    def failed(self, keys: Iterable[str], run: str | None = None) -> dict[str, set[int]]:
        """Samples that failed for good (in ``run``, or ever), by request key."""
        if run is None:
            return self._indices(keys, "failures")
        return self._indices(
            keys, "failures", "WHERE d.purchase IN (SELECT id FROM spending WHERE run = ?)", run
        )

    def last_failure(self, key: str) -> tuple[str, str] | None:
        """Error class and message of the last failure of a request's samples."""
        with self._lock:
            (request,) = self._known([key])
            row: tuple[str, str] | None = self._db.execute(
                "SELECT error_class, message FROM failures WHERE request = ?"
                " ORDER BY purchase DESC LIMIT 1",
                (request,),
            ).fetchone()
        return row

    def samples(self, keys: Sequence[str], first: int, n_samples: int) -> list[tuple[Any, ...]]:
        """Samples ``first … first + n_samples - 1`` of requests, by place in ``keys``, then by sample.

        A row is (place, sample, text, prompt_tokens, completion_tokens, cached_tokens, mean_logprob,
        min_logprob, latency_s, finish_reason): a plain tuple, because 150,000 of them are read at once.
        """
        with self._lock:
            return self._db.execute(
                "SELECT j.key, d.sample, d.text, d.prompt_tokens, d.completion_tokens,"
                " d.cached_tokens, d.mean_logprob, d.min_logprob, d.latency_s, d.finish_reason"
                " FROM json_each(?) AS j CROSS JOIN samples AS d"
                " ON d.request = j.value AND d.sample >= ? AND d.sample < ?",
                (json.dumps(self._known(keys)), first, first + n_samples),
            ).fetchall()

    def lookups(
        self, retriever: str, k: int, queries: Iterable[str], run: str | None = None
    ) -> dict[str, Retrieved | Lost]:
        """What is known of ``queries``: what each brought, or that it failed (in ``run``, or ever)."""
        asked = json.dumps(list(dict.fromkeys(queries)), ensure_ascii=False)
        known: dict[str, Retrieved | Lost] = {}
        with self._lock:
            for query, error, message in self._db.execute(
                "SELECT l.query, l.error_class, l.message FROM json_each(?) AS j CROSS JOIN"
                " lost_lookups AS l ON l.retriever = ? AND l.query = j.value AND l.k = ?"
                " WHERE ? IS NULL OR l.run = ?",
                (asked, retriever, k, run, run),
            ):
                known[query] = Lost(error, message)
            for query, passages, latency_s in self._db.execute(
                "SELECT l.query, l.passages, l.latency_s FROM json_each(?) AS j CROSS JOIN"
                " lookups AS l ON l.retriever = ? AND l.query = j.value AND l.k = ?",
                (asked, retriever, k),
            ):
                found = tuple(Passage(*p) for p in json.loads(passages))
                known[query] = Retrieved(found, latency_s)
        return known

    def retrievers(self) -> set[str]:
        """The retrievers that have answered (or failed to)."""
        with self._lock:
            rows = self._db.execute(
                "SELECT retriever FROM lookups UNION SELECT retriever FROM lost_lookups"
            )
            return {name for (name,) in rows}

    def sha256(self, used: Mapping[str, Container[int]]) -> str:
        """Hash over the content of the samples that were used (request key -> sample indices).

        In order of key, then sample; who bought them, and when, is left out, so that two pools with
        the same samples hash alike. A sample that is not there adds nothing.
        """
        digest = hashlib.sha256()
        keys = sorted(used)
        with self._lock:
            rows = self._db.execute(
                "SELECT j.key, d.sample, d.text, d.prompt_tokens, d.completion_tokens,"
                " d.reasoning_tokens, d.cached_tokens, d.mean_logprob, d.min_logprob, d.latency_s,"
                " d.finish_reason FROM json_each(?) AS j CROSS JOIN samples AS d"
                " ON d.request = j.value",
                (json.dumps(self._known(keys)),),
            )
            for position, sample, *content in rows:
                key = keys[position]
                if sample in used[key]:
                    digest.update(repr((key, sample, content)).encode())
        return digest.hexdigest()

    def counts(self, table: str) -> int:
        """Rows of one of the pool's ``TABLES``."""
        if table not in TABLES:
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
                " sum(completion_tokens) AS completion FROM samples GROUP BY request) AS d"
                " ON d.request = r.id LEFT JOIN (SELECT request, count(*) AS n FROM failures"
                " GROUP BY request) AS f ON f.request = r.id GROUP BY r.model ORDER BY r.model"
            ).fetchall()
            confirmed, possibly = billed(self._db)
        names = ("model", "requests", "samples", "failures", "prompt_tokens", "completion_tokens")
        return {
            "models": [dict(zip(names, row, strict=True)) for row in models],
            **confirmed.totals(),
            "possibly_billed": possibly.totals(),
            "looks": self.counts("looks"),
        }

    def billed(self, run: str, tier: str | None = None) -> Billed:
        """What ``run`` spent (on ``tier``, or on all), over all of its starts: with answers, and
        what may be billed without."""
        with self._lock:
            return billed(self._db, run, tier)

    def bought(self, run: str, tier: str) -> dict[str, Usage]:
        """What ``run`` bought on ``tier``, by stage in the order in which they began."""
        sums = ", ".join(f"sum({name})" for name in COLUMNS)
        with self._lock:
            rows = self._db.execute(
                f"SELECT stage, {sums} FROM spending WHERE run = ? AND tier = ?"
                " AND state = 'settled' GROUP BY stage ORDER BY min(id)",
                (run, tier),
            ).fetchall()
        return {stage: Usage(*used) for stage, *used in rows}

    def mean_latency_s(self, keys: Sequence[str]) -> float:
        """Of the samples of some requests; NaN where there is none."""
        with self._lock:
            (mean,) = self._db.execute(
                "SELECT avg(d.latency_s) FROM json_each(?) AS j CROSS JOIN samples AS d"
                " ON d.request = j.value",
                (json.dumps(self._known(keys)),),
            ).fetchone()
        return math.nan if mean is None else float(mean)

    def spent(self, run: str, tier: str | None = None) -> Usage:
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

    def _indices(
        self, keys: Iterable[str], table: str, where: str = "", *values: str
    ) -> dict[str, set[int]]:
        asked = list(dict.fromkeys(keys))
        found: dict[str, set[int]] = {}
        with self._lock:
            rows = self._db.execute(
                f"SELECT j.key, d.sample FROM json_each(?) AS j CROSS JOIN {table} AS d"
                f" ON d.request = j.value {where}",
                (json.dumps(self._known(asked)), *values),
            )
            for position, sample in rows:
                found.setdefault(asked[position], set()).add(sample)
        return found

    def _known(self, keys: Sequence[str]) -> list[int | None]:
        """Ids of requests, None where the pool has not met one; the lock is held."""
        absent = [k for k in keys if k not in self._ids]
        if absent:
            self._ids.update(
                self._db.execute(
                    "SELECT r.key, r.id FROM json_each(?) AS j CROSS JOIN requests AS r"
                    " ON r.key = j.value",
                    (json.dumps(absent),),
                ).fetchall()
            )
        return [self._ids.get(k) for k in keys]
