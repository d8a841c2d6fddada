"""The pool's file: an SQLite database in WAL mode, its tables, and how it is opened.

``synchronous=NORMAL``: what was committed survives the process (kill -9 at any moment, tried in the
tests); only a power cut can take the last commits, and never the file's consistency. Tables are
append-only by trigger, but for the settlement of a reservation.
"""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from tierwise.errors import InputError

SCHEMA = 5
"""Version of the tables below; a file with another one is refused."""

APPLICATION_ID = 0x54574C31
"""Marks the file as a pool (SQLite's ``application_id``)."""

BUSY_S = 60.0
"""How long a writer waits for another process's transaction (milliseconds, as a rule)."""

_USAGE = {
    "calls": "INTEGER",
    "samples": "INTEGER",
    "prompt_tokens": "INTEGER",
    "completion_tokens": "INTEGER",
    "reasoning_tokens": "INTEGER",
    "cached_tokens": "INTEGER",
    "estimated_tokens": "INTEGER",
    "usd": "REAL",
    "seconds": "REAL",
}
"""Columns of a table that hold a ``Usage``, in the order of its fields."""

_KEPT_TABLES = ("requests", "samples", "failures", "looks", "losses", "lookups", "lost_lookups")

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One exact request; everything else refers to it by its small integer.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    address TEXT NOT NULL,
    content TEXT NOT NULL          -- {"messages": [[role, content], …], "params": {…}}
);

-- A chunk's reservation and its settlement; when it was bought, and in which run.
CREATE TABLE spending (
    id INTEGER PRIMARY KEY,
    tier TEXT NOT NULL,
    run TEXT NOT NULL,
    at TEXT NOT NULL,
    stage TEXT NOT NULL,           -- of the search; '' where nobody said
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled')),
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
    mean_logprob REAL,
    min_logprob REAL,
    latency_s REAL NOT NULL,
    finish_reason TEXT NOT NULL,
    purchase INTEGER NOT NULL REFERENCES spending,
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

-- What a query of a retriever brought; both tables name it by its content, never by an address.
CREATE TABLE lookups (
    retriever TEXT NOT NULL,
    query TEXT NOT NULL,
    k INTEGER NOT NULL,
    passages TEXT NOT NULL,        -- [[id, text, score], …]
    latency_s REAL NOT NULL,
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
""".replace("{usage}", ",\n".join(f"    {name} {kind} NOT NULL" for name, kind in _USAGE.items()))

_KEPT = """
CREATE TRIGGER {table}_unchanged BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
CREATE TRIGGER {table}_kept BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
"""

_SETTLED = """
CREATE TRIGGER spending_settled BEFORE UPDATE ON spending WHEN OLD.state = 'settled'
BEGIN SELECT RAISE(ABORT, 'settled spending is never changed'); END;
CREATE TRIGGER spending_kept BEFORE DELETE ON spending
BEGIN SELECT RAISE(ABORT, 'the pool is append-only'); END;
"""


def now() -> str:
    """The time as the pool writes it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open or create the pool at ``path``.

    Raises:
        InputError: the folder cannot be written, the file is absent (``read_only``), is not a pool,
            or was written by a newer tierwise.
    """
    try:
        return _connect(path, read_only)
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"cannot open the pool: {_reason(path, error)}", path=path) from None


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    if path.is_dir():
        raise InputError("is a folder; a pool is one file, such as pool.sqlite", path=path)
    if read_only and not path.exists():
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
            _prepare(db)
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
            _run(db, _TABLES + _kept(*_KEPT_TABLES) + _SETTLED)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA}")
            db.execute("INSERT INTO meta VALUES ('created', ?)", (now(),))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -65536")  # 64 MB: deeper samples are indexed between older ones


def _kept(*tables: str) -> str:
    return "".join(_KEPT.format(table=table) for table in tables)


def _run(db: sqlite3.Connection, script: str) -> None:
    """One by one: ``executescript`` would commit the transaction that makes creation atomic."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            db.execute(text)
            text = ""


def _mark(db: sqlite3.Connection) -> tuple[int, int]:
    """(application id, version of the tables)."""
    names = ("application_id", "user_version")
    mark, version = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return mark, version


def _check(db: sqlite3.Connection, path: Path) -> None:
    mark, version = _mark(db)
    if mark != APPLICATION_ID:
        raise InputError("is an SQLite database, but not a pool of tierwise", path=path)
    if version != SCHEMA:
        raise InputError(
            f"was written by another version of tierwise (pool schema {version}, this one knows "
            f"{SCHEMA}); use that version, or name another pool",
            path=path,
        )


def _reason(path: Path, error: Exception) -> str:
    if "not a database" in str(error):
        return "the file is not an SQLite database"
    if "unable to open" in str(error) or "readonly" in str(error):
        return f"the folder {path.parent} cannot be written"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return str(error)
