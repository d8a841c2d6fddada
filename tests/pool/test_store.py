from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Failure
from tierwise.pool import Book, SamplePool
from tierwise.pool.store import Answered, Settlement
from tierwise.pool.tables import POOL_SCHEMA
from tierwise.schema import Usage, UsageLimits


def used(usd: float, calls: int, tokens: int) -> Usage:
    """Of so many tokens, all of them completions'."""
    return Usage(calls, completion_tokens=tokens, usd=usd)


BILL = used(0.5, 1, 10)


def store(pool: SamplePool, request, *results, first=0, run="r", tier="small"):
    reservation = pool.reserve(Book(run, tier), BILL)
    pool.exchange(
        Book("r", "small"),
        [Settlement(reservation, [Answered(Call(request, first, len(results), 0), results)], BILL)],
    )


def test_a_sample_comes_back_as_it_was_bought_also_after_reopening(tmp_path, world):
    request = world.requests()[0]
    bought = Completion("A: 1 ✓", 7, 5, 2, 3, -0.25, -1.5, 0.125, "length")
    with SamplePool.open(tmp_path / "sub" / "pool.sqlite") as pool:
        store(pool, request, bought, first=3)
    with SamplePool.open(tmp_path / "sub" / "pool.sqlite", read_only=True) as pool:
        assert pool.present([request.key]) == {request.key: {3}}
        assert pool.samples(["unknown", request.key], 3, 1) == [
            (1, 3, "A: 1 ✓", 7, 5, 2, 3, -0.25, -1.5, 0.125, "length")
        ]
        assert pool.samples([request.key], 0, 3) == []


def test_the_first_sample_stands_when_it_is_bought_twice(pool, world):
    request = world.requests()[0]
    store(pool, request, Completion("first", 1, 1))
    store(pool, request, Completion("second", 1, 1), Completion("new", 1, 1))
    assert [row[2] for row in pool.samples([request.key], 0, 5)] == ["first", "new"]


@pytest.mark.parametrize("table", ["requests", "samples", "failures", "looks", "spending"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET rowid = 0"])
def test_nothing_stored_can_be_changed_or_removed(pool, world, table, statement):
    store(pool, world.requests()[0], Completion("a", 1, 1), Failure("E", "m"))
    pool.look("sha", "small", "r")
    if "UPDATE" in statement:
        column = {"failures": "message", "looks": "at", "spending": "calls"}.get(table)
        statement = f"UPDATE {table} SET {column or 'rowid'} = 7"
    with (
        sqlite3.connect(pool.path) as other,
        pytest.raises(sqlite3.IntegrityError, match=r"append-only|never changed"),
    ):
        other.execute(statement.format(table))
    other.close()


def test_failures_are_rows_with_their_attempts(pool, world):
    request = world.requests()[0]
    store(pool, request, Failure("RateLimitError", "429"), run="one")
    store(pool, request, Failure("Timeout", "60 s"), Completion("a", 1, 1), run="two")
    assert pool.failed([request.key]) == {request.key: {0}}
    assert pool.failed([request.key], "one") == {request.key: {0}}
    assert pool.failed([request.key], "three") == {}
    assert pool.counts("failures") == 2
    with sqlite3.connect(pool.path) as db:
        rows = db.execute("SELECT attempt, error_class FROM failures ORDER BY attempt").fetchall()
    db.close()
    assert rows == [(1, "RateLimitError"), (2, "Timeout")]


def test_a_chunk_is_stored_with_its_bill_or_not_at_all(pool, world):
    request = world.requests()[0]
    reservation = pool.reserve(Book("r", "small"), BILL)
    broken = Completion("text", None, 1)  # the database refuses a sample without its tokens
    answered = [Answered(Call(request, 0, 2, 0), [Completion("fine", 1, 1), broken])]
    with pytest.raises(struct.error):
        pool.exchange(Book("r", "small"), [Settlement(reservation, answered, Usage())])
    assert pool.present([request.key]) == {}
    assert pool.spent("r") == BILL


def test_open_reservations_count_at_their_worst_case(pool):
    first = pool.reserve(Book("r", "small"), used(3.0, 3, 30))
    pool.reserve(Book("r", "large"), used(2.0, 2, 20))
    pool.reserve(Book("another", "small"), used(9.0, 9, 90))
    pool.exchange(Book("r", "small"), [Settlement(first, [], used(1.0, 1, 10))])
    assert pool.spent("r") == used(3.0, 3, 30)
    assert pool.spent("r", "small") == used(1.0, 1, 10)
    assert pool.spent("nobody") == Usage()


@pytest.mark.parametrize("name", ["usd", "calls", "tokens"])
def test_a_reservation_that_passes_a_limit_is_refused_by_name(pool, name):
    limit = UsageLimits(**{name: 5})
    assert isinstance(pool.reserve(Book("r", "small"), used(5, 5, 5), limit), int)
    assert pool.reserve(Book("r", "small"), used(1, 1, 1), limit) == name
    assert isinstance(pool.reserve(Book("r", "large"), used(5, 5, 5), limit), int)
    assert pool.counts("spending") == 2


def test_looks_at_the_test_split_are_counted_across_jobs_and_once_for_a_resumed_one(pool):
    for tier, run in [("small", "a"), ("small", "b"), ("large", "a"), ("small", "a")]:
        pool.look("items", tier, run)
    assert pool.looks("items") == 3
    assert pool.looks("items", "small") == 2
    assert pool.looks("other items") == 0


def test_the_hash_is_of_the_samples_used_and_of_nothing_else(tmp_path, world):
    a, b = world.requests()[:2]
    with SamplePool.open(tmp_path / "1") as one, SamplePool.open(tmp_path / "2") as two:
        store(one, a, Completion("x", 1, 1), Completion("y", 1, 1))
        store(one, b, Completion("z", 1, 1))
        store(two, b, Completion("z", 1, 1), run="another")
        store(two, a, Completion("x", 1, 1), run="another")
        used = {a.key: range(1), b.key: range(4)}
        assert one.sha256(used) == two.sha256(dict(reversed(used.items())))
        assert one.sha256({a.key: range(2)}) != two.sha256({a.key: range(2)})
        before = one.sha256(used)
        store(one, a, Completion("later", 1, 1), first=2)
        assert one.sha256(used) == before


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "pool.sqlite"
    SamplePool.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {POOL_SCHEMA + 1}")
    db.close()
    with pytest.raises(InputError, match=f"schema {POOL_SCHEMA + 1}.*another pool"):
        SamplePool.open(path)


def test_a_file_that_is_not_a_pool_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes, and long enough to look like a file\n" * 20)
    with pytest.raises(InputError, match="not an SQLite database"):
        SamplePool.open(text)
    assert text.read_text().startswith("these are my notes")

    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="not a pool"):
        SamplePool.open(foreign)
    assert foreign.read_bytes() == before


def test_bad_places_are_input_errors(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot open the pool"):
        SamplePool.open(tmp_path / "file" / "pool.sqlite")
    with pytest.raises(InputError, match="is a folder"):
        SamplePool.open(tmp_path)
    with pytest.raises(InputError, match="no pool here"):
        SamplePool.open(tmp_path / "absent.sqlite", read_only=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_an_input_error_but_can_be_replayed(tmp_path: Path):
    SamplePool.open(tmp_path / "pool.sqlite").close()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="cannot be written"):
            SamplePool.open(tmp_path / "other.sqlite")
        with SamplePool.open(tmp_path / "pool.sqlite", read_only=True) as pool:
            assert pool.counts("samples") == 0
    finally:
        tmp_path.chmod(0o700)


def test_a_pool_opened_to_read_cannot_be_written(tmp_path, world):
    SamplePool.open(tmp_path / "pool.sqlite").close()
    with (
        SamplePool.open(tmp_path / "pool.sqlite", read_only=True) as pool,
        pytest.raises(InputError, match="read only"),
    ):
        store(pool, world.requests()[0], Completion("a", 1, 1))


def test_a_full_disk_is_an_input_error_and_what_was_stored_stays(pool, world):
    a, b = world.requests()[:2]
    store(pool, a, Completion("a", 1, 1))
    pages = pool._db.execute("PRAGMA page_count").fetchone()[0]
    pool._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match=r"cannot be written: .*full"):
        store(pool, b, Completion("b" * 100_000, 1, 1))
    assert pool.present([a.key, b.key]) == {a.key: {0}}
    pool._db.execute("PRAGMA max_page_count = 100000")
    store(pool, b, Completion("b" * 100_000, 1, 1))
    assert pool.counts("samples") == 2
