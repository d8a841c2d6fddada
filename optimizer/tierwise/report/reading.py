"""A run directory as far as it can be read: what is missing is said, and the rest is shown."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from tierwise.errors import InputError, TierwiseError
from tierwise.evaluation import SampleTable
from tierwise.pool.run_dir import RunDir
from tierwise.schema import Job
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.result import PlannedTier, RunPlan, Summary, TierSummary, TrialRow, from_json
from tierwise.search.export import TRIAL_FIELDS
from tierwise.search.tested import Tested

DAMAGED = (OSError, ValueError, KeyError, zipfile.BadZipFile, TierwiseError)
"""What numpy, yaml and csv make of a file that is cut off or not ours."""

T = TypeVar("T")


@dataclass(frozen=True)
class TierFiles:
    """One tier; what could not be read is None.

    ``tone`` is the class that colours it in every chart.
    """

    name: str
    tone: str
    summary: TierSummary
    policy: PolicyFile | None
    prompts: SampleTable | None
    study: SampleTable | None
    test: SampleTable | None
    tested: Tested | None
    trials: tuple[TrialRow, ...]

    @property
    def simulated(self) -> bool:
        """Whether its dollars are nobody's bill."""
        return self.policy is not None and self.policy.tier.price.simulated


@dataclass(frozen=True)
class RunFiles:
    """A run directory: ``missing`` says in sentences what could not be read.

    ``plan`` is what was planned before the first purchase, by tier; empty where nobody kept it.
    """

    run: RunDir
    job: Job | None
    plan: Mapping[str, PlannedTier]
    summary: Summary | None
    tiers: Mapping[str, TierFiles]
    failed: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def seed(self) -> int:
        """The job's seed."""
        return self.summary.seed if self.summary else 0

    @property
    def task(self) -> str:
        """The task's name."""
        if self.summary:
            return self.summary.task.name
        return Path(self.job.task).name if self.job else "unknown"


def read(path: Path) -> RunFiles:
    """Read what there is in ``path``.

    Raises:
        InputError: it is no run directory at all.
    """
    run = RunDir.open(path)
    missing: list[str] = []

    def attempt(name: str, reading: Callable[[Path], T]) -> T | None:
        file = path / name
        if not file.exists():
            missing.append(f"{name} is not there.")
            return None
        try:
            return reading(file)
        except InputError as error:
            missing.append(f"{name}: {error.message}.")
            return None
        except DAMAGED as error:
            missing.append(f"{name} cannot be read ({type(error).__name__}).")
            return None

    job = attempt("job.yaml", lambda file: run.job())
    plan = (
        attempt(run.plan.name, lambda file: from_json(file, RunPlan)) if run.plan.exists() else None
    )
    planned = plan.tiers if plan else {}
    if not run.finished:
        missing.append(
            "The run did not finish, so there are no results yet: its `tierwise tune` command goes "
            "on where it stopped."
        )
        return RunFiles(run, job, planned, None, {}, {}, tuple(missing))
    summary = attempt("summary.json", lambda file: from_json(file, Summary))
    trials = attempt("trials.csv", _trials) or {}
    tiers = {}
    for i, (name, of_tier) in enumerate((summary.tiers if summary else {}).items()):
        tiers[name] = TierFiles(
            name,
            f"t{i % 6}",
            of_tier,
            attempt(f"policies/{name}.yaml", PolicyFile.load),
            attempt(f"tables.{name}.prompts.npz", _whole(SampleTable.load)),
            attempt(f"tables.{name}.npz", _whole(SampleTable.load)),
            attempt(f"tables.{name}.test.npz", _whole(SampleTable.load)),
            attempt(f"tested.{name}.npz", _whole(Tested.load)),
            trials.get(of_tier.studies[-1], ()),
        )
    failed = summary.failed if summary else {}
    return RunFiles(run, job, planned, summary, tiers, failed, tuple(missing))


def _whole(reading: Callable[[Path], T]) -> Callable[[Path], T]:
    """Numpy leaves a file open that it cannot read: so it gets none that was cut off."""

    def read_whole(path: Path) -> T:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile(path.name)
        return reading(path)

    return read_whole


def _trials(path: Path) -> dict[str, tuple[TrialRow, ...]]:
    by_study: dict[str, list[TrialRow]] = {}
    adapter = TypeAdapter(TrialRow)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if set(rows.fieldnames or ()) != set(TRIAL_FIELDS):
            raise InputError("is no table of trials", path=path)
        for row in rows:
            trial = adapter.validate_strings(row)
            by_study.setdefault(trial.study, []).append(trial)
    return {study: tuple(found) for study, found in by_study.items()}
