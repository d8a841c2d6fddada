"""A run's folder: begun, found again, and never taken for another job's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tierwise.errors import InputError
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


@pytest.mark.parametrize("change", [{"seed": 1}, {"trials": 7}, {"gate_margin": 0.5}])
def test_another_job_is_refused(change: dict, tmp_path: Path) -> None:
    RunDir.start(tmp_path / "run", JOB)
    with pytest.raises(InputError, match=r"holds another job.*run-2"):
        RunDir.start(tmp_path / "run", replace(JOB, **change))
    assert RunDir.open(tmp_path / "run").job() == JOB


def test_fresh_begins_beside_it(tmp_path: Path) -> None:
    paths = [RunDir.start(tmp_path / "run", JOB, fresh=True).path.name for _ in range(3)]
    assert paths == ["run", "run-2", "run-3"]


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
    with pytest.raises(InputError, match="cannot be read"):
        RunDir.open(tmp_path)


def test_results_are_cleared_and_the_pool_is_not(tmp_path: Path) -> None:
    run = RunDir.start(tmp_path, JOB)
    run.write_json("summary.json", {})
    run.write("policies/a.yaml", "x")
    run.pool.touch()
    assert run.finished
    run.clear_results()
    assert {p.name for p in tmp_path.iterdir()} == {"job.yaml", "run.json", "pool.sqlite"}
