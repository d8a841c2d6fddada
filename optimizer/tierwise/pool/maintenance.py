"""Looking after a pool's file: check it, save what a damaged one still holds, move completions.

``check_pool`` says what is damaged and changes nothing. ``salvage_pool`` and ``collect_garbage``
write a new file from the rows that are to stay, and put it in the place of the old one, which is
kept beside it. ``export_lines`` and ``load_lines`` move completions as JSONL, one line a sample
with its exact request; where the names of a run are known, the file is a recording too.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError
from tierwise.llm import UNFINISHED, Call, Completion, Request
from tierwise.pool.store import Answered, Book, SamplePool, Settlement
from tierwise.pool.tables import (
    SAMPLE_COLUMNS,
    TABLES,
    checksum,
    connect,
    is_in_use,
    lookup_checksum,
    lost_log,
)
from tierwise.schema import Message, Usage, Variant
from tierwise.schema.files import json_lines, sync_folder, writing
from tierwise.tasks import Item

_BATCH = 500
"""Lines that are stored in one transaction."""

_SHOWN = 5
"""Damaged rows of a kind that are named."""

_Row = tuple[Any, ...]


@dataclass
class PoolDamage:
    """What is not as it was stored; a sound pool has none of it.

    Attributes:
        structure: what SQLite's own check says.
        rows: table -> rows whose content does not fit their checksum.
        examples: some of these, for people.
    """

    structure: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.structure and not self.rows

    def note(self, table: str, what: str) -> None:
        """Count a damaged row."""
        self.rows[table] += 1
        if self.rows[table] <= _SHOWN:
            self.examples.append(what)


class Rewritten(NamedTuple):
    """How many rows of each table a new file has, and how many the old one had beside them."""

    kept: Mapping[str, int]
    dropped: Mapping[str, int]
    old: Path


def check_pool(path: Path) -> PoolDamage:
    """What is damaged: the file's structure, and the content of requests, samples and look-ups.

    Raises:
        InputError: there is no pool, or it was written by another version of tierwise.
    """
    damage = PoolDamage()
    if lost := lost_log(path):
        damage.structure.append(lost)
    try:
        db = connect(path, read_only=True)
    except InputError as error:
        if "damaged" not in str(error) and "not an SQLite" not in str(error):
            raise
        damage.structure.append(str(error))
        return damage
    with closing(db):
        try:
            found = [str(line) for (line,) in db.execute("PRAGMA integrity_check(20)")]
            damage.structure += [line for line in found if line != "ok"]
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            damage.structure.append(str(error))
        for table in ("requests", "samples", "lookups"):
            for row in _readable(db, table, damage.structure):
                fault = _fault(table, row)
                if fault:
                    damage.note(table, fault)
    return damage


def salvage_pool(path: Path) -> Rewritten:
    """Make the pool anew from all rows that are as they were stored.

    Raises:
        InputError: somebody has the pool open, or nothing of it can be read.
    """
    return _rewrite(path, "damaged", lambda table, row: not _fault(table, row))


def collect_garbage(path: Path, drop_model: str = "") -> Rewritten:
    """Make the pool anew without requests that brought nothing, and without failures whose sample
    is there now; and without the completions of ``drop_model``. What was spent stays in the book.

    Raises:
        InputError: somebody has the pool open, or it is damaged.
    """
    damage = check_pool(path)
    if not damage.sound:
        raise InputError("is damaged; run `tierwise pool salvage` first", path=path)
    with closing(connect(path, read_only=True)) as db:
        dropped = {
            request
            for (request,) in db.execute("SELECT id FROM requests WHERE model = ?", (drop_model,))
        }
        there = set(db.execute("SELECT request, sample FROM samples"))
        useful = {request for request, _ in there} - dropped
        useful |= {request for (request,) in db.execute("SELECT request FROM failures")} - dropped

    def stays(table: str, row: _Row) -> bool:
        if table == "requests":
            return row[0] in useful
        if table == "failures":
            return row[0] not in dropped and row[:2] not in there
        return table != "samples" or row[0] not in dropped

    return _rewrite(path, "before-gc", stays)


class RequestName(NamedTuple):
    """What a run asked for with a request: an item, and a variant of a prompt."""

    item: Item
    variant: Variant


def export_lines(
    pool: SamplePool, out: Path, model: str = "", names: Mapping[str, RequestName] = {}
) -> int:
    """Write completions (of ``model``, or of all) as JSONL, gzipped where the name ends in .gz.

    ``names``, by request key, makes lines of a recording of them (``llm.recorded``), with their
    items before them. Returns how many there were.
    """
    n = 0
    items = {name.item.id: name.item for name in names.values()}
    try:
        with (
            writing(out) as new,
            gzip.open(new, "wt", encoding="utf-8")
            if out.suffix == ".gz"
            else new.open("w", encoding="utf-8") as file,
        ):
            for item in items.values():
                row = {"id": item.id, "inputs": dict(item.inputs), "target": item.target}
                row |= {"also": list(item.also)} if item.also else {}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            for line in _lines(pool, model, names):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                n += 1
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", path=out) from None
    return n


def load_lines(pool: SamplePool, file: Path) -> tuple[int, int]:
    """Take in what ``export_lines`` wrote; (new samples, samples that were there already).

    Raises:
        InputError: a line is not what it should be; what came before it is in the pool.
    """
    new = there = 0
    lines = _parsed(file)
    while batch := list(itertools.islice(lines, _BATCH)):
        known = pool.present({request.key for request, _, _ in batch})
        fresh = [line for line in batch if line[1] not in known.get(line[0].key, ())]
        there += len(batch) - len(fresh)
        new += len(fresh)
        by_model: dict[str, list[Answered]] = {}
        for request, sample, completion in fresh:
            answered = Answered(Call(request, sample, 1, 0), [completion])
            by_model.setdefault(request.model, []).append(answered)
        for model, answers in by_model.items():
            book = Book("import", model, file.name)
            purchase = pool.reserve(book, Usage())
            assert isinstance(purchase, int)  # nothing limits what costs nothing
            pool.exchange(book, [Settlement(purchase, answers, Usage(samples=len(answers)))])
    return new, there


def _lines(
    pool: SamplePool, model: str, names: Mapping[str, RequestName]
) -> Iterator[dict[str, Any]]:
    for key, name, address, content in pool.requests(model):
        said, named = json.loads(content), {}
        if key in names:
            item, variant = names[key]
            named = {
                "item_id": item.id,
                "prompt_id": variant.prompt,
                "mode": variant.mode,
                "temperature": variant.temperature,
            }
        for _, sample, *values in pool.samples_of(key):
            line = dict(zip(SAMPLE_COLUMNS, values, strict=True))
            if named:
                line["tokens_estimated"] = bool(line["estimated"])
                if line["finish_reason"] in UNFINISHED:  # what was cut answers nothing
                    line["answer"] = None
            yield {**named, "model": name, "address": address, **said, "sample": sample, **line}


def _parsed(file: Path) -> Iterator[tuple[Request, int, Completion]]:
    for at, line in json_lines(file):
        if "inputs" in line and "target" in line:  # an item of the recording
            continue
        try:
            parsed = _completion(line)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # of one line, any fault
            raise InputError(
                f"not a line of `pool export`: {error!r}", path=file, line=at
            ) from None
        yield parsed


def _completion(line: Mapping[str, Any]) -> tuple[Request, int, Completion]:
    messages = tuple(Message(str(role), str(text)) for role, text in line["messages"])
    request = Request(str(line["model"]), messages, dict(line["params"]), str(line["address"]))
    values = {name: line[name] for name in SAMPLE_COLUMNS}
    numbers = [value for name, value in values.items() if name not in ("text", "finish_reason")]
    if not isinstance(values["text"], str) or any(isinstance(v, str) for v in numbers):
        raise TypeError("a text that is none, or a number that is one")
    values["estimated"] = bool(values["estimated"])
    sample = line["sample"]
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
        raise ValueError(f"sample must be 0, 1, 2 …, got {sample!r}")
    return request, sample, Completion(**values)


def _fault(table: str, row: _Row) -> str:
    """What is wrong with a row of a table, or nothing."""
    try:
        if table == "requests":
            id_, key, model, address, content = row
            said = json.loads(content)
            messages = tuple(Message(*m) for m in said["messages"])
            right = Request(model, messages, said["params"], address).key == key
            return "" if right else f"request {id_}: its content is not that of its key"
        if table == "samples":
            request, sample, *content, _, mark = row
            right = checksum(content) == mark
            return "" if right else f"sample {sample} of request {request}: another checksum"
        if table == "lookups":
            _, query, _, passages, latency_s, mark = row
            right = lookup_checksum(passages, latency_s) == mark
            return "" if right else f"query {query!r}: another checksum"
    except Exception as error:  # noqa: BLE001 - a damaged row may hold anything
        return f"a row of {table} cannot be read ({type(error).__name__})"
    return ""


def _readable(db: sqlite3.Connection, table: str, faults: list[str]) -> Iterator[_Row]:
    """The rows that can be read: all, or where pages are damaged, those that are not on them."""
    db.text_factory = _text
    has_rowid = "WITHOUT ROWID" not in _definition(db, table)
    if not has_rowid:
        try:
            yield from db.execute(f"SELECT * FROM {table}")
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            faults.append(f"{table}: {error}")
        return
    try:
        last = db.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        faults.append(f"{table}: {error}")
        last = 2**24
    spans = [(1, int(last))]
    failed = 0
    while spans and failed < 10_000:
        low, high = spans.pop()
        try:
            yield from db.execute(
                f"SELECT * FROM {table} WHERE rowid >= ? AND rowid <= ?", (low, high)
            ).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            failed += 1
            if low == high:
                faults.append(f"{table}, row {low}: {error}")
            else:
                middle = (low + high) // 2
                spans += [(middle + 1, high), (low, middle)]


def _definition(db: sqlite3.Connection, table: str) -> str:
    try:
        row = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return ""
    return str(row[0]) if row else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _rewrite(path: Path, end: str, stays: Callable[[str, _Row], bool]) -> Rewritten:
    """Copy the rows that stay into a new file, and put it in the place of the old one."""
    kept, dropped = Counter[str](), Counter[str]()
    new = path.with_name(f".{path.name}.new")
    if is_in_use(path):
        raise InputError("somebody has the pool open; wait for the run, or stop it", path=path)
    new.unlink(missing_ok=True)
    try:
        with (
            closing(connect(path, read_only=True)) as old,
            closing(connect(new, read_only=False)) as db,
        ):
            requests: set[int] = set()
            db.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                rows = list(_readable(old, table, []))
                good = [row for row in rows if stays(table, row)]
                if table == "requests":
                    requests = {row[0] for row in good}
                if table in ("samples", "failures"):
                    good = [row for row in good if row[0] in requests]
                if good:
                    marks = ", ".join("?" * len(good[0]))
                    db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", good)
                kept[table] += len(good)
                dropped[table] += len(rows) - len(good)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = DELETE")
        moved = path.with_name(f"{path.name}.{end}-{int(time.time())}")
        _move(path, moved)
        os.replace(new, path)
        sync_folder(path.absolute().parent)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be written anew: {error}", path=path) from None
    finally:
        for rest in path.parent.glob(f"{new.name}*"):
            rest.unlink(missing_ok=True)
    return Rewritten(dict(kept), dict(dropped), moved)


def _move(path: Path, to: Path) -> None:
    for end in ("", "-wal", "-shm"):
        part = path.with_name(path.name + end)
        if part.exists():
            os.replace(part, to.with_name(to.name + end))
    path.with_name(f"{path.name}-open").unlink(missing_ok=True)
