"""The pool's file: an SQLite database in WAL mode, its tables, and how it is opened.

``synchronous=FULL``: what was committed survives a power cut. Tables are append-only by trigger,
but for what becomes of a reservation, and for claims. Samples and look-ups carry a checksum (CRC-32
of their content), which is verified when they are read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tierwise.errors import InputError
from tierwise.schema import Usage

POOL_SCHEMA = 6
"""Version of the tables below; a file with another one is refused."""

APPLICATION_ID = 0x54574C31
"""Marks the file as a pool (SQLite's ``application_id``)."""

BUSY_S = 60.0
"""How long a writer waits for another process's transaction (milliseconds, as a rule)."""

USAGE_COLUMNS = {
    of.name: "REAL" if of.name in ("usd", "seconds") else "INTEGER" for of in fields(Usage)
}
"""Columns of a table that hold a ``Usage``, in the order of its fields."""

SAMPLE_COLUMNS = (
    *("text", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"),
    *("estimated", "mean_logprob", "min_logprob", "latency_s", "finish_reason"),
)
"""What is stored of a completion, in the order that its checksum takes."""

_NUMBERS = struct.Struct("<5q3d")
_NAN = float("nan")

TABLES = (
    *("requests", "samples", "failures", "looks"),
    *("spending", "losses", "lookups", "lost_lookups"),
)
"""All tables but ``meta`` and those that hold what is under way."""

_DEFINITIONS = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One exact request; everything else refers to it by its small integer.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    address TEXT NOT NULL,
    content TEXT NOT NULL          -- {"messages": [[role, content], …], "params": {…}}
);

-- What was sent together: a reservation, and what became of it.
CREATE TABLE spending (
    id INTEGER PRIMARY KEY,
    tier TEXT NOT NULL,
    run TEXT NOT NULL,
    at TEXT NOT NULL,
    stage TEXT NOT NULL,           -- of the search; '' where nobody said
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled', 'released')),
{usage}                            -- at worst while reserved, as it was once settled
);
CREATE INDEX spending_of ON spending (run, tier);

CREATE TABLE samples (
    request INTEGER NOT NULL REFERENCES requests,
    sample INTEGER NOT NULL,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,    -- 1: the tokens are not as the provider counted them
    mean_logprob REAL,
    min_logprob REAL,
    latency_s REAL NOT NULL,
    finish_reason TEXT NOT NULL,
    purchase INTEGER NOT NULL REFERENCES spending,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (request, sample)
);

CREATE TABLE failures (
    request INTEGER NOT NULL REFERENCES requests,
    sample INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    error_class TEXT NOT NULL,
    message TEXT NOT NULL,
    latency_s REAL NOT NULL,
    purchase INTEGER NOT NULL REFERENCES spending,
    at TEXT NOT NULL,
    PRIMARY KEY (request, sample, attempt)
) WITHOUT ROWID;

CREATE TABLE looks (
    task TEXT NOT NULL,            -- items_sha256
    tier TEXT NOT NULL,
    run TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (task, tier, run)
) WITHOUT ROWID;

-- An attempt that brought no answer and may be billed all the same, at its worst case.
CREATE TABLE losses (
    purchase INTEGER NOT NULL REFERENCES spending,
    error_class TEXT NOT NULL,
    at TEXT NOT NULL,
{usage}
);
CREATE INDEX losses_of ON losses (purchase);

-- What a query of a retriever brought; both tables name it by its content, never by an address.
CREATE TABLE lookups (
    retriever TEXT NOT NULL,
    query TEXT NOT NULL,
    k INTEGER NOT NULL,
    passages TEXT NOT NULL,        -- [[id, text, score], …]
    latency_s REAL NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (retriever, query, k)
) WITHOUT ROWID;

CREATE TABLE lost_lookups (
    retriever TEXT NOT NULL,
    query TEXT NOT NULL,
    k INTEGER NOT NULL,
    run TEXT NOT NULL,
    error_class TEXT NOT NULL,
    message TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (retriever, query, k, run)
) WITHOUT ROWID;

-- Samples that somebody is buying, so that nobody else does, for as long as its buyer's lease.
CREATE TABLE buyers (
    name TEXT PRIMARY KEY,
    until_s REAL NOT NULL          -- seconds since the epoch; renewed while the buyer is alive
) WITHOUT ROWID;
CREATE TABLE claims (
    request INTEGER NOT NULL,
    first INTEGER NOT NULL,
    n INTEGER NOT NULL,
    buyer TEXT NOT NULL,
    purchase INTEGER NOT NULL,
    PRIMARY KEY (request, first, purchase)
) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (purchase);

CREATE TRIGGER spending_final BEFORE UPDATE ON spending WHEN OLD.state != 'reserved'
BEGIN SELECT RAISE(ABORT, 'settled spending is never changed'); END;
CREATE TRIGGER spending_kept BEFORE DELETE ON spending
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
""".replace(
    "{usage}", ",\n".join(f"    {name} {kind} NOT NULL" for name, kind in USAGE_COLUMNS.items())
)

_KEPT = """
CREATE TRIGGER {table}_unchanged BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
CREATE TRIGGER {table}_kept BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
"""


def now() -> str:
    """The time as the pool writes it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def checksum(content: Sequence[Any]) -> int:
    """CRC-32 of what is stored of a completion, in the order of ``SAMPLE_COLUMNS``."""
    text, prompt, completion, reasoning, cached, estimated, mean, least, latency_s, finish = content
    # Written out: every sample that is read is checked, and a loop takes twice as long.
    mean = _NAN if mean is None else mean
    least = _NAN if least is None else least
    numbers = _NUMBERS.pack(
        prompt, completion, reasoning, cached, estimated, mean, least, latency_s
    )
    return zlib.crc32(f"{text}\0{finish}".encode("utf-8", "surrogatepass"), zlib.crc32(numbers))


def lookup_checksum(passages: str, latency_s: float) -> int:
    """CRC-32 of what is stored of a look-up."""
    return zlib.crc32(passages.encode(), zlib.crc32(struct.pack("<d", latency_s)))


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open or create the pool at ``path``.

    Raises:
        InputError: the folder cannot be written, the file is absent (``read_only``), is not a pool,
            is damaged, or was written by another version of tierwise.
    """
    try:
        return _connect(path, read_only)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot open the pool: {_reason(path, error)}", path=path) from None


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    if path.is_dir():
        raise InputError("is a folder; a pool is one file, such as pool.sqlite", path=path)
    if read_only and not (path.exists() and path.stat().st_size):  # empty: its making was cut off
        raise InputError("there is no pool here", path=path)
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as undo:
        db = _open_read_only(path) if read_only else _open(path, "mode=rwc")
        undo.callback(db.close)
        if not read_only:
            _create(db)
        _check(db, path)
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA cache_size = -65536")  # 64 MB: samples are indexed between others
        undo.pop_all()
    return db


def _open(path: Path, query: str) -> sqlite3.Connection:
    # Threads share the connection, one at a time: SamplePool holds a lock around every use.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    db = _open(path, "mode=ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        db.close()  # WAL wants a file beside the pool, which a read-only folder refuses
        if path.with_name(f"{path.name}-wal").exists():
            raise
        db = _open(path, "mode=ro&immutable=1")
    return db


def _create(db: sqlite3.Connection) -> None:
    """Make an empty file a pool; others stay as they are."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            kept = (table for table in TABLES if table != "spending")
            _run(db, _DEFINITIONS + "".join(_KEPT.format(table=table) for table in kept))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {POOL_SCHEMA}")
            db.execute("INSERT INTO meta VALUES ('created', ?)", (now(),))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _run(db: sqlite3.Connection, script: str) -> None:
    """One by one: ``executescript`` would commit the transaction that makes creation atomic."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            db.execute(text)
            text = ""


def _check(db: sqlite3.Connection, path: Path) -> None:
    names = ("application_id", "user_version")
    mark, version = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    if mark != APPLICATION_ID:
        raise InputError("is an SQLite database, but not a pool of tierwise", path=path)
    if version != POOL_SCHEMA:
        raise InputError(
            f"was written by another version of tierwise (pool schema {version}, this one knows "
            f"{POOL_SCHEMA}); use that version, or name another pool",
            path=path,
        )


def _reason(path: Path, error: Exception) -> str:
    if "not a database" in str(error):
        return "the file is not an SQLite database"
    if "malformed" in str(error) or isinstance(error, UnicodeDecodeError):
        return f"the file is damaged ({error}); {how_to_go_on(path)}"
    if "unable to open" in str(error) or "readonly" in str(error):
        return f"the folder {path.parent} cannot be written"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return str(error)


def how_to_go_on(path: Path) -> str:
    """What to do about a damaged pool."""
    return (
        f"`tierwise pool check {path}` says what is lost, and `tierwise pool salvage {path}` keeps "
        "the rest: what is lost is bought again by the next run"
    )


_CLOSING = "closing"


def is_in_use(path: Path) -> bool:
    """Whether a process has the pool open to write."""
    mark = path.with_name(f"{path.name}-open")
    if not mark.exists():
        return False
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def lost_log(path: Path) -> str:
    """What is said of a pool that was not closed and whose write-ahead log somebody deleted.

    Empty where that is not so. To be asked before SQLite opens the pool, which makes a new log.
    """
    try:
        closed = path.with_name(f"{path.name}-open").read_text().endswith(_CLOSING)
    except OSError:  # no such mark, or no such place: opening the pool says so
        return ""
    log = path.with_name(f"{path.name}-wal")
    if closed or not path.exists() or log.exists() or is_in_use(path):
        return ""
    return f"the last run did not end cleanly, and {log.name}, which held its last answers, is gone"


class OpenMark:
    """A file beside the pool for as long as somebody has it open to write.

    Its presence when nobody has means that the last writer did not come to close the pool.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-open")
        self._file: IO[str] = self._path.open("a+")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        self._file.truncate(0)

    def closing(self) -> None:
        """Note that all is in the database's own file, where nobody else has it open."""
        if self._alone():
            self._file.write(_CLOSING)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _alone(self) -> bool:
        """Whether no other process has the pool open to write."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return True

    def close(self) -> None:
        """Take the mark away with the last writer; call it after the database is closed."""
        with self._file:
            if self._alone():
                self._path.unlink(missing_ok=True)
