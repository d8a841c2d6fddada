"""What is read from a pool: samples, failures, what they cost, looks at the test split.

Checksums of samples and look-ups are verified as they are read: a row that is not as it was stored
is never used.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import shutil
import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError
from tierwise.pool.tables import (
    SAMPLE_COLUMNS,
    TABLES,
    USAGE_COLUMNS,
    checksum,
    how_to_go_on,
    lookup_checksum,
)
from tierwise.retrieval import Lost, Retrieved
from tierwise.schema import Passage, Usage
from tierwise.schema.result import UsageTotals

COLUMNS = tuple(USAGE_COLUMNS)
_CONTENT = ", ".join(f"d.{name}" for name in SAMPLE_COLUMNS)
_READ = f"j.key, d.sample, {_CONTENT.replace(' d.estimated,', '')}"
"""Columns of ``PoolReader.samples``: place, sample, and the content but ``estimated``."""


class Billed(NamedTuple):
    """``confirmed`` came with answers; ``possibly`` is the most that may be billed beside it."""

    confirmed: Usage
    possibly: Usage

    @property
    def most(self) -> Usage:
        """What limits are held against."""
        return self.confirmed + self.possibly


@dataclass(frozen=True)
class ModelOverview:
    """What a pool holds of a model."""

    model: str
    requests: int
    samples: int
    failures: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class PoolOverview:
    """What a pool holds, and what it cost over all of its runs.

    ``possibly_billed`` are calls without an answer; ``looks`` are those at the test split.
    """

    models: tuple[ModelOverview, ...]
    usd: float
    calls: int
    tokens: int | float
    possibly_billed: UsageTotals
    looks: int


class Purchase(NamedTuple):
    """What a run spent on a tier in a stage, the most that it may be billed."""

    tier: str
    stage: str
    usage: Usage


class BoughtSamples(NamedTuple):
    """Samples of one model with the same parameters."""

    model: str
    params: Mapping[str, Any]
    requests: int
    usage: Usage


row_of: Callable[[Usage], tuple[float, ...]] = operator.attrgetter(*COLUMNS)
"""The values of the columns that hold a ``Usage``."""


class PoolReader:
    """Reads of one connection, behind a lock that writers share.

    Every method raises ``InputError`` where the file is damaged.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path, self._db = path, db
        self._lock = threading.RLock()
        self._verified: set[int] = set()  # rows of samples that were as they were stored
        self._ids: dict[str, int] = {}  # request key -> id; ids never change, so it may be kept

    def present(self, keys: Iterable[str]) -> dict[str, set[int]]:
        """Samples that are there, by request key; a request without any is left out."""
        return self._indices(keys, "samples")

    def failed(
        self, keys: Iterable[str], run: str | None = None, after: int = 0
    ) -> dict[str, set[int]]:
        """Samples that failed for good (in ``run``, or ever), by request key.

        Those of purchases up to ``after`` are left out.
        """
        if run is None:
            return self._indices(keys, "failures")
        of_run = "WHERE d.purchase > ? AND d.purchase IN (SELECT id FROM spending WHERE run = ?)"
        return self._indices(keys, "failures", of_run, after, run)

    def last_purchase(self) -> int:
        """The number of the last reservation that was made; 0 where there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM spending")[0][0])

    def last_failure(self, key: str) -> tuple[str, str] | None:
        """Error class and message of the last failure of a request's samples."""
        with self._lock:
            (request,) = self._known([key])
        rows = self._rows(
            "SELECT error_class, message FROM failures WHERE request = ?"
            " ORDER BY purchase DESC LIMIT 1",
            request,
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def samples(self, keys: Sequence[str], first: int, n_samples: int) -> list[tuple[Any, ...]]:
        """Samples ``first … first + n_samples - 1`` of requests, by place in ``keys``, then sample.

        A row is (place, sample, text, prompt_tokens, completion_tokens, reasoning_tokens,
        cached_tokens, mean_logprob, min_logprob, latency_s, finish_reason): a plain tuple, because
        150,000 are read at once.
        """
        rows = self._of_requests(
            f"SELECT {_READ}, d.estimated, d.checksum, d.rowid FROM json_each(?) AS j"
            " CROSS JOIN samples AS d ON d.request = j.value AND d.sample >= ? AND d.sample < ?",
            keys,
            first,
            first + n_samples,
        )
        verified = self._verified  # what a process has verified does not change under it
        fresh = [row for row in rows if row[13] not in verified]
        for _, sample, *content, mean, least, latency_s, end, estimated, mark, _ in fresh:
            if checksum((*content, estimated, mean, least, latency_s, end)) != mark:
                raise self._damaged(f"sample {sample} of a request")
        verified.update([row[13] for row in fresh])
        return [row[:11] for row in rows]

    def finish_reasons(self, keys: Sequence[str]) -> list[tuple[int, str, int]]:
        """(place in ``keys``, why samples of that request ended, how many of them did so)."""
        rows = self._of_requests(
            "SELECT j.key, d.finish_reason, count(*) FROM json_each(?) AS j CROSS JOIN"
            " samples AS d ON d.request = j.value GROUP BY 1, 2",
            keys,
        )
        return [(place, end, n) for place, end, n in rows]

    def ends_by_cap(self, run: str, tier: str) -> list[tuple[int, str, int]]:
        """(cap on tokens that was sent, why samples ended, how many) of what a run bought."""
        cap = "json_extract(r.content, '$.params.max_tokens')"
        other = cap.replace("max_tokens", "max_completion_tokens")
        rows = self._rows(
            f"SELECT coalesce({cap}, {other}, 0), d.finish_reason, count(*) FROM spending AS s"
            " JOIN samples AS d ON d.purchase = s.id JOIN requests AS r ON r.id = d.request"
            " WHERE s.run = ? AND s.tier = ? GROUP BY 1, 2",
            *(run, tier),
        )
        return [(int(cap), end, n) for cap, end, n in rows]

    def lookups(
        self, retriever: str, k: int, queries: Iterable[str], run: str | None = None
    ) -> dict[str, Retrieved | Lost]:
        """What each of ``queries`` brought, or that it failed (in ``run``, or ever)."""
        asked = json.dumps(list(dict.fromkeys(queries)), ensure_ascii=False)
        known: dict[str, Retrieved | Lost] = {}
        for query, error, message in self._rows(
            "SELECT l.query, l.error_class, l.message FROM json_each(?) AS j CROSS JOIN"
            " lost_lookups AS l ON l.retriever = ? AND l.query = j.value AND l.k = ?"
            " WHERE ? IS NULL OR l.run = ?",
            *(asked, retriever, k, run, run),
        ):
            known[query] = Lost(error, message)
        for query, passages, latency_s, mark in self._rows(
            "SELECT l.query, l.passages, l.latency_s, l.checksum FROM json_each(?) AS j CROSS JOIN"
            " lookups AS l ON l.retriever = ? AND l.query = j.value AND l.k = ?",
            *(asked, retriever, k),
        ):
            if lookup_checksum(passages, latency_s) != mark:
                raise self._damaged(f"what the query {query!r} brought")
            known[query] = Retrieved(tuple(Passage(*p) for p in json.loads(passages)), latency_s)
        return known

    def retrievers(self) -> set[str]:
        """The retrievers that have answered (or failed to)."""
        rows = self._rows("SELECT retriever FROM lookups UNION SELECT retriever FROM lost_lookups")
        return {name for (name,) in rows}

    def sha256(self, used: Mapping[str, Container[int]]) -> str:
        """Hash over the content of the samples that were used (request key -> sample indices).

        In order of key, then sample; who bought them, and when, is left out, so that two pools with
        the same samples hash alike. A sample that is not there adds nothing.
        """
        digest = hashlib.sha256()
        keys = sorted(used)
        rows = self._of_requests(
            f"SELECT {_READ} FROM json_each(?) AS j CROSS JOIN samples AS d ON d.request = j.value",
            keys,
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
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])

    def overview(self) -> PoolOverview:
        """What there is, by model, and what it cost."""
        models = self._rows(
            "SELECT r.model, count(*), coalesce(sum(d.n), 0), coalesce(sum(f.n), 0),"
            " coalesce(sum(d.prompt), 0), coalesce(sum(d.completion), 0) FROM requests AS r"
            " LEFT JOIN (SELECT request, count(*) AS n, sum(prompt_tokens) AS prompt,"
            " sum(completion_tokens) AS completion FROM samples GROUP BY request) AS d"
            " ON d.request = r.id LEFT JOIN (SELECT request, count(*) AS n FROM failures"
            " GROUP BY request) AS f ON f.request = r.id GROUP BY r.model ORDER BY r.model"
        )
        confirmed, possibly = self._billed()
        return PoolOverview(
            tuple(ModelOverview(*row) for row in models),
            **confirmed.totals(),
            possibly_billed=UsageTotals.of(possibly),
            looks=self.counts("looks"),
        )

    def billed(self, run: str, tier: str | None = None) -> Billed:
        """What ``run`` spent (on ``tier``, or on all), over all of its starts: with answers, and
        what may be billed without."""
        return self._billed(run, tier)

    def spent(self, run: str, tier: str | None = None) -> Usage:
        """The most that ``run`` may be billed, which is what limits are held against."""
        return self._billed(run, tier).most

    def bought(self, run: str, tier: str) -> dict[str, Usage]:
        """What ``run`` bought on ``tier``, by stage in the order in which they began."""
        rows = self._rows(
            f"SELECT stage, {_SUMS} FROM spending WHERE run = ? AND tier = ?"
            " AND state = 'settled' GROUP BY stage ORDER BY min(id)",
            *(run, tier),
        )
        return {stage: Usage(*used) for stage, *used in rows}

    def purchases(self, run: str) -> list[Purchase]:
        """What ``run`` spent, by tier and stage in their order."""
        rows = self._rows(
            f"SELECT tier, stage, {_SUMS} FROM spending WHERE run = ? AND state != 'released'"
            " GROUP BY tier, stage ORDER BY min(id)",
            run,
        )
        return [Purchase(tier, stage, Usage(*used)) for tier, stage, *used in rows]

    def bought_by_params(self) -> list[BoughtSamples]:
        """What was sent, and the tokens that came back."""
        rows = self._rows(
            "SELECT r.model, json_extract(r.content, '$.params'), count(*), sum(d.n),"
            " sum(d.prompt), sum(d.completion) FROM requests AS r JOIN (SELECT request,"
            " count(*) AS n, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion"
            " FROM samples GROUP BY request) AS d ON d.request = r.id GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [
            BoughtSamples(model, json.loads(params or "{}"), requests, Usage(0, *tokens))
            for model, params, requests, *tokens in rows
        ]

    def addresses(self, model: str) -> list[str]:
        """Where the model's requests were sent: a part of their keys."""
        rows = self._rows("SELECT DISTINCT address FROM requests WHERE model = ? ORDER BY 1", model)
        return [str(address) for (address,) in rows]

    def requests(self, model: str = "") -> list[tuple[str, str, str, str]]:
        """(key, model, address, content as JSON) of the requests to ``model``, or of all."""
        rows = self._rows(
            "SELECT key, model, address, content FROM requests WHERE ? IN (model, '') ORDER BY id",
            model,
        )
        return [(key, name, address, content) for key, name, address, content in rows]

    def samples_of(self, key: str) -> list[tuple[Any, ...]]:
        """(place 0, sample, and the values of ``SAMPLE_COLUMNS``) of one request's samples."""
        with self._lock:
            rows = self._rows(
                f"SELECT d.sample, d.checksum, {_CONTENT} FROM samples AS d WHERE d.request = ?"
                " ORDER BY d.sample",
                *self._known([key]),
            )
        for sample, mark, *content in rows:
            if checksum(content) != mark:
                raise self._damaged(f"sample {sample} of a request")
        return [(0, sample, *content) for sample, _, *content in rows]

    def mean_latency_s(self, keys: Sequence[str]) -> float:
        """Of the samples of some requests; NaN where there is none."""
        ((mean,),) = self._of_requests(
            "SELECT avg(d.latency_s) FROM json_each(?) AS j CROSS JOIN samples AS d"
            " ON d.request = j.value",
            keys,
        )
        return math.nan if mean is None else float(mean)

    def looks(self, task_sha256: str, tier: str | None = None) -> int:
        """How often the test split of these items was looked at, over all jobs on this pool."""
        rows = self._rows(
            "SELECT count(*) FROM looks WHERE task = ? AND ? IN (tier, '')",
            *(task_sha256, tier or ""),
        )
        return int(rows[0][0])

    def _billed(self, run: str | None = None, tier: str | None = None) -> Billed:
        """What ``run`` (or all) spent on ``tier`` (or on all), over all starts.

        ``spending`` has a row a reservation, at its worst case until it is settled; those that
        never were (a run that was killed, or is under way) are possibly billed. ``losses`` has a
        row an attempt that brought no answer and may be billed all the same, at its worst case.
        """
        of = {name: value for name, value in (("run", run), ("tier", tier)) if value is not None}
        where = "".join(f" AND {name} = ?" for name in of)
        with self._lock:
            states = {
                state: Usage(*used)
                for state, *used in self._rows(
                    f"SELECT state, {_SUMS} FROM spending WHERE state != 'released'{where}"
                    " GROUP BY state",
                    *of.values(),
                )
            }
            lost = self._rows(
                f"SELECT {_SUMS} FROM losses WHERE purchase IN"
                f" (SELECT id FROM spending WHERE 1{where})",
                *of.values(),
            )
        possibly = states.get("reserved", Usage()) + Usage(*lost[0])
        return Billed(states.get("settled", Usage()), possibly)

    def _indices(
        self, keys: Iterable[str], table: str, where: str = "", *values: str | int
    ) -> dict[str, set[int]]:
        asked = list(dict.fromkeys(keys))
        found: dict[str, set[int]] = {}
        for position, sample in self._of_requests(
            f"SELECT j.key, d.sample FROM json_each(?) AS j CROSS JOIN {table} AS d"
            f" ON d.request = j.value {where}",
            asked,
            *values,
        ):
            found.setdefault(asked[position], set()).add(sample)
        return found

    def _known(self, keys: Sequence[str]) -> list[int | None]:
        """Ids of requests, None where the pool has not met one; the lock is held."""
        absent = [k for k in keys if k not in self._ids]
        if absent:
            rows = self._rows(
                "SELECT r.key, r.id FROM json_each(?) AS j CROSS JOIN requests AS r"
                " ON r.key = j.value",
                json.dumps(absent),
            )
            self._ids.update((key, id_) for key, id_ in rows)
        return [self._ids.get(k) for k in keys]

    def _of_requests(
        self, query: str, keys: Sequence[str], *values: object
    ) -> list[tuple[Any, ...]]:
        """Rows of a query whose first value is the ids of requests, as JSON."""
        with self._lock:  # ids that a roll-back forgets are given to others
            return self._rows(query, json.dumps(self._known(keys)), *values)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                raise self._unusable("read", error) from error

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"the pool is damaged: {what} is not as it was stored; {how_to_go_on(self.path)}",
            path=self.path,
        )

    def _unusable(self, done: str, error: Exception) -> InputError:
        """The error for people where the file cannot be ``done`` (read, written)."""
        name = getattr(error, "sqlite_errorname", "")
        unreadable = isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error)
        if unreadable or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return InputError(
                f"the pool is damaged ({error}); {how_to_go_on(self.path)}", path=self.path
            )
        why = str(error)
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) and _is_full(self.path.parent):
            why = "the disk is full: make room, and the same command goes on"
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            why = "another program has it locked: end that, and the same command goes on"
        elif name.startswith("SQLITE_READONLY"):
            why = f"the folder {self.path.parent} cannot be written"
        return InputError(f"the pool cannot be {done}: {why}", path=self.path)


_ROOM_BYTES = 1_000_000
"""A disk with less room than this is called full: a transaction wants a page or two."""


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _ROOM_BYTES
    except OSError:
        return False


_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in COLUMNS)
