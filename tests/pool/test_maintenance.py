"""A damaged pool is found out, saved and never used; completions move from pool to pool."""

from __future__ import annotations

import json
import logging
import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.llm.scripted import ScriptedModel, answering, failing
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.pool.maintenance import (
    check_pool,
    collect_garbage,
    export_lines,
    load_lines,
    salvage_pool,
)

from .conftest import World

LOG = logging.getLogger(__name__)
SAY = answering({"A: 1": 0.5, "A: 2 – ja": 0.5})


@pytest.fixture
def path(tmp_path: Path, world: World) -> Path:
    """A pool of 60 samples."""
    path = tmp_path / "pool.sqlite"
    with SamplePool.open(path) as pool:
        needs = [Need(r, 10) for r in world.requests()]
        fill(pool, ScriptedModel(SAY), world.tier, needs, Account("r", 0))
    return path


def rows(path: Path, world: World) -> list[tuple]:
    with SamplePool.open(path, read_only=True) as pool:
        return pool.samples([r.key for r in world.requests()], 0, 10)


def change(path: Path, query: str) -> None:
    """What a bad disk might do: behind the triggers' back."""
    db = sqlite3.connect(path)
    for name, kind in db.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'"):
        del kind
        db.execute(f"DROP TRIGGER {name}")
    db.execute(query)
    db.commit()
    db.close()


def test_a_sound_pool_has_no_faults(path: Path) -> None:
    assert check_pool(path).sound


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE samples SET text = 'A: 7' WHERE rowid % 4 = 0",
        "UPDATE samples SET completion_tokens = completion_tokens + 1 WHERE rowid % 4 = 0",
        "UPDATE samples SET latency_s = 0.5 WHERE rowid % 4 = 0",
    ],
)
def test_a_changed_sample_is_never_used_and_the_others_are_saved(
    query: str, path: Path, world: World
) -> None:
    before = rows(path, world)
    change(path, query)
    with pytest.raises(InputError, match=r"damaged: sample .*pool check .*pool salvage"):
        rows(path, world)
    damage = check_pool(path)
    assert damage.rows == {"samples": 15}
    rewritten = salvage_pool(path)
    assert (rewritten.kept["samples"], rewritten.dropped["samples"]) == (45, 15)
    assert check_pool(path).sound
    assert set(rows(path, world)) < set(before)
    with SamplePool.open(path) as pool:  # what is lost is bought again, and nothing else
        model = ScriptedModel(SAY)
        needs = [Need(r, 10) for r in world.requests()]
        fill(pool, model, world.tier, needs, Account("r", 0))
        assert model.samples == 15
        assert pool.samples([r.key for r in world.requests()], 0, 10) == before


def test_a_changed_request_is_found(path: Path) -> None:
    change(path, "UPDATE requests SET content = replace(content, '1 + 1', '1 + 7')")
    assert check_pool(path).rows == {"requests": 1}
    assert salvage_pool(path).kept["samples"] == 50


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_are_an_error_with_a_way_on_and_never_another_answer(
    seed: int, path: Path, world: World
) -> None:
    before = set(rows(path, world))
    rng, data = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(40):
        data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    with suppress(InputError):
        assert set(rows(path, world)) <= before
    if not check_pool(path).sound:
        try:
            salvage_pool(path)
        except InputError as error:  # nothing of it can be read
            LOG.info("%s", error)
        else:
            assert set(rows(path, world)) <= before
            assert check_pool(path).sound


def test_a_log_that_is_gone_after_a_crash_is_noticed(path: Path, world: World) -> None:
    mark = path.with_name("pool.sqlite-open")
    assert not mark.exists(), "who closes the pool takes the mark away"
    mark.touch()  # the last writer did not come to close it
    for read_only in (True, False):  # who looks first must not have SQLite make a new log
        with pytest.raises(InputError, match=r"did not end cleanly.*-wal.*is gone.*salvage"):
            SamplePool.open(path, read_only=read_only)
    assert "is gone" in check_pool(path).structure[0]
    salvage_pool(path)
    SamplePool.open(path).close()
    assert len(rows(path, world)) == 60


def test_a_file_whose_making_was_cut_off_is_no_pool_yet(tmp_path: Path) -> None:
    """A disk that is full when a run begins leaves an empty file; the next run goes on with it."""
    path = tmp_path / "pool.sqlite"
    path.touch()
    with pytest.raises(InputError, match="there is no pool here"):
        SamplePool.open(path, read_only=True)
    with SamplePool.open(path) as pool:
        assert pool.counts("samples") == 0


def test_a_process_that_ends_while_it_closes_the_pool_raises_no_alarm(path: Path) -> None:
    path.with_name("pool.sqlite-open").write_text("closing")
    assert check_pool(path).sound
    SamplePool.open(path).close()
    assert not path.with_name("pool.sqlite-open").exists()


def test_a_pool_that_is_open_is_not_rewritten(path: Path) -> None:
    with SamplePool.open(path), pytest.raises(InputError, match="has the pool open"):
        salvage_pool(path)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_completions_move_to_another_pool(name: str, path: Path, world: World) -> None:
    out, other = path.with_name(name), path.with_name("other.sqlite")
    with SamplePool.open(path, read_only=True) as pool:
        assert export_lines(pool, out) == 60
        assert export_lines(pool, path.with_name("none"), "another/model") == 0
    with SamplePool.open(other) as pool:
        assert load_lines(pool, out) == (60, 0)
        assert load_lines(pool, out) == (0, 60)
        keys = {r.key: range(10) for r in world.requests()}
        with SamplePool.open(path, read_only=True) as first:
            assert pool.sha256(keys) == first.sha256(keys)
        assert pool.spent("import").usd == 0
    assert check_pool(other).sound


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        "nonsense",
        '{"sample": -1}',
        '{"messages": 3, "model": "m", "params": {}}',
        "[" * 100_000,
        f'{{"sample": {"9" * 5000}}}',
    ],
)
def test_a_bad_line_is_named(line: str, path: Path) -> None:
    bad = path.with_name("bad.jsonl")
    with SamplePool.open(path) as pool:
        export_lines(pool, bad)
        good = bad.read_text().splitlines()[0]
        bad.write_text(f"{good}\n{line}\n")
        with pytest.raises(InputError, match=r"bad\.jsonl:2"):
            load_lines(pool, bad)
        changed = json.loads(good) | {"prompt_tokens": "many"}
        bad.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"bad\.jsonl:1"):
            load_lines(pool, bad)


def test_garbage_is_what_brought_nothing(path: Path, world: World) -> None:
    with SamplePool.open(path) as pool:
        needs = [Need(r, 2) for r in world.requests(1)]
        fill(pool, ScriptedModel(failing(SAY, 1.0)), world.tier, needs, Account("one", 0))
        fill(pool, ScriptedModel(SAY), world.tier, needs[:3], Account("two", 0))
        assert (pool.counts("failures"), pool.counts("requests")) == (12, 12)
        spent = pool.spent("one")
    kept, dropped, _ = collect_garbage(path)
    assert (dropped["failures"], kept["requests"], kept["samples"]) == (6, 12, 66)
    assert collect_garbage(path, world.tier.model).kept["samples"] == 0
    with SamplePool.open(path, read_only=True) as pool:
        assert pool.spent("one") == spent
