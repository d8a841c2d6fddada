"""A run's folder: begun, found again, and never taken for another job's."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.pool import run_dir
from tierwise.pool.owner import Owner
from tierwise.pool.run_dir import LOCK, held
from tierwise.schema import Budget, default_job
from tierwise.search import RunDir

JOB = default_job()


def test_the_same_job_is_the_same_run(tmp_path: Path) -> None:
    begun = RunDir.start(tmp_path / "run", JOB)
    assert RunDir.start(tmp_path / "run", JOB) == begun == RunDir.open(tmp_path / "run")
    assert begun.job() == JOB
    assert not begun.finished


def test_the_budget_may_be_raised(tmp_path: Path) -> None:
    begun = RunDir.start(tmp_path, replace(JOB, budget=Budget(usd=1.0)))
    richer = replace(JOB, budget=Budget(usd=2.0))
    assert RunDir.start(tmp_path, richer) == begun
    assert RunDir.open(tmp_path).job() == richer
    patient = replace(richer, max_outage_s=0.0)
    assert RunDir.start(tmp_path, patient) == begun
    assert RunDir.open(tmp_path).job() == patient


@pytest.mark.parametrize("change", [{"seed": 1}, {"trials": 7}, {"gate_margin": 0.5}])
def test_another_job_is_refused(change: dict, tmp_path: Path) -> None:
    RunDir.start(tmp_path / "run", JOB)
    with pytest.raises(InputError, match=r"holds another job.*run-2"):
        RunDir.start(tmp_path / "run", replace(JOB, **change))
    assert RunDir.open(tmp_path / "run").job() == JOB


def test_fresh_begins_beside_it(tmp_path: Path) -> None:
    for name in ("run", "run-2", "run-3"):
        with RunDir.started(tmp_path / "run", JOB, fresh=True) as begun:
            assert begun.path.name == name


def test_one_that_was_killed_before_it_had_a_name_begins_again(tmp_path: Path) -> None:
    RunDir.start(tmp_path, JOB)
    (tmp_path / "run.json").rename(tmp_path / ".run.json.new")
    assert RunDir.start(tmp_path, JOB).job() == JOB


def test_what_is_not_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="not a run directory"):
        RunDir.start(tmp_path, JOB)
    with pytest.raises(InputError, match="not a run directory"):
        RunDir.start(tmp_path / "thesis.txt", JOB)
    with pytest.raises(InputError, match=r"cannot write to .*thesis\.txt/run: "):
        RunDir.start(tmp_path / "thesis.txt" / "run", JOB)
    with pytest.raises(InputError, match="not a run directory"):
        RunDir.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="is no whole JSON"):
        RunDir.open(tmp_path)


def test_results_are_cleared_and_the_pool_is_not(tmp_path: Path) -> None:
    run = RunDir.start(tmp_path, JOB)
    run.write_json("summary.json", {})
    run.write("policies/a.yaml", "x")
    run.pool.touch()
    assert run.finished
    run.clear_results()
    assert {p.name for p in tmp_path.iterdir()} == {"job.yaml", "run.json", "pool.sqlite"}


def owned(folder: Path, owner: Owner) -> None:
    """A folder whose lock file names ``owner``, and is locked by somebody that outlived it."""
    folder.mkdir()
    (folder / LOCK).write_text(f"{owner}\n2026-11-30T12:00:00+00:00\n")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    fd = os.open(folder / LOCK, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


ME = Owner.this_process()
DEAD = ME._replace(pid=2**22 + 1)
REUSED = ME._replace(began="1")
ELSEWHERE = ME._replace(pid=2**22 + 1, place=f"other{ME.place}")
REBOOTED = ME._replace(place=ME.place.replace("/", "/another-boot", 1))


@pytest.mark.parametrize("owner", [DEAD, REUSED], ids=["dead", "number used again"])
def test_a_lock_that_outlived_its_owner_is_taken_over(owner: Owner, tmp_path: Path) -> None:
    owned(tmp_path / "run", owner)
    with locked(tmp_path / "run"), held(tmp_path / "run"):
        said = (tmp_path / "run" / LOCK).read_text()
        assert Owner.read(said.splitlines()[0]) == ME
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.parametrize("owner", [ME, ELSEWHERE, REBOOTED], ids=["alive", "host", "boot"])
def test_a_lock_whose_owner_may_live_is_respected(owner: Owner, tmp_path: Path) -> None:
    owned(tmp_path / "run", owner)
    who = f"in use by process {owner.pid} on {owner.host}, since 2026.*if it is surely gone, delete"
    with locked(tmp_path / "run"), pytest.raises(InputError, match=who), held(tmp_path / "run"):
        pass
    assert Owner.read((tmp_path / "run" / LOCK).read_text().splitlines()[0]) == owner


def test_an_owner_that_has_yet_to_say_who_it_is_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK).touch()
    said = f"{ELSEWHERE}\n2026-11-30T12:00:00+00:00\n"
    monkeypatch.setattr(run_dir, "sleep", lambda s: (tmp_path / LOCK).write_text(said))
    who = f"in use by process {ELSEWHERE.pid} on "
    with locked(tmp_path), pytest.raises(InputError, match=who), held(tmp_path):
        pass
    monkeypatch.setattr(run_dir, "sleep", lambda s: (tmp_path / LOCK).write_text(""))
    (tmp_path / LOCK).write_text("")
    with locked(tmp_path), pytest.raises(InputError, match="in use by another process"):
        held(tmp_path).__enter__()


@pytest.mark.parametrize(("owner", "goes"), [(DEAD, True), (ELSEWHERE, False), (None, True)])
def test_where_no_locks_are_kept_the_written_owner_decides(
    owner: Owner | None, goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if owner is not None:
        owned(tmp_path / "run", owner)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with ExitStack() as stack:
        if not goes:
            stack.enter_context(pytest.raises(InputError, match="in use by process"))
        stack.enter_context(held(tmp_path / "run"))


def test_who_holds_a_folder_may_hold_it_again_and_another_thread_may_not(tmp_path: Path) -> None:
    def other() -> str:
        with pytest.raises(InputError) as refused, held(tmp_path):
            pass
        return str(refused.value)

    with held(tmp_path), held(tmp_path / "." / ""), ThreadPoolExecutor(1) as threads:
        assert f"in use by process {os.getpid()}" in threads.submit(other).result()
    with held(tmp_path):
        pass
