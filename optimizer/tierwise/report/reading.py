"""A run directory as far as it can be read: what is missing is said, and the rest is shown."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tierwise.errors import InputError, TierwiseError
from tierwise.evaluation import SampleTable
from tierwise.schema import Job
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.export import TRIAL_FIELDS
from tierwise.search.run_dir import RunDir
from tierwise.search.tested import Tested

SCHEMA = "tierwise/summary/v1"
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    zipfile.BadZipFile,
    TierwiseError,
)
"""What comes of a file that is cut off, of another version, or not ours."""

T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """A line of ``trials.csv``."""

    study: str
    number: int
    score: float
    usd: float
    policy: str


@dataclass(frozen=True)
class TierFiles:
    """One tier; what could not be read is None.

    ``tone`` is the class that colours it in every chart.
    """

    name: str
    tone: str
    summary: Mapping[str, Any]
    policy: PolicyFile | None
    prompts: SampleTable | None
    study: SampleTable | None
    test: SampleTable | None
    tested: Tested | None
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """Whether the chosen point was exported; else the baseline was."""
        return bool(self.summary.get("gate") == "passed")

    @property
    def exported(self) -> Mapping[str, Any]:
        """What the exported policy did on the test split."""
        if self.passed:
            return dict(self.summary["operating_points"][self.summary["chosen"]])
        return dict(self.summary["baseline"])

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
    plan: Mapping[str, Any]
    summary: Mapping[str, Any]
    tiers: Mapping[str, TierFiles]
    failed: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def seed(self) -> int:
        """The job's seed."""
        return int(self.summary.get("seed", 0))

    @property
    def task(self) -> str:
        """The task's name."""
        if self.summary:
            return str(self.summary["task"]["name"])
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
        except UNREADABLE as error:
            missing.append(f"{name} cannot be read ({type(error).__name__}).")
            return None

    job = attempt("job.yaml", lambda file: run.job())
    plan = attempt(run.plan.name, _plan) if run.plan.exists() else None
    if not run.finished:
        missing.append(
            "The run did not finish, so there are no results yet: its `tierwise tune` command goes "
            "on where it stopped."
        )
        return RunFiles(run, job, plan or {}, {}, {}, {}, tuple(missing))
    summary = attempt("summary.json", _summary) or {}
    if summary and summary.get("schema") != SCHEMA:
        missing.append(
            f"summary.json is of schema {summary.get('schema')!r}, this report reads {SCHEMA!r}: "
            "what could not be understood is left out."
        )
    trials = attempt("trials.csv", _trials) or {}
    tiers = {}
    for i, (name, of_tier) in enumerate(summary.get("tiers", {}).items()):
        tiers[name] = TierFiles(
            name,
            f"t{i % 6}",
            of_tier,
            attempt(f"policies/{name}.yaml", PolicyFile.load),
            attempt(f"tables.{name}.prompts.npz", _whole(SampleTable.load)),
            attempt(f"tables.{name}.npz", _whole(SampleTable.load)),
            attempt(f"tables.{name}.test.npz", _whole(SampleTable.load)),
            attempt(f"tested.{name}.npz", _whole(Tested.load)),
            trials.get((of_tier.get("studies") or [""])[-1], ()),
        )
    return RunFiles(run, job, plan or {}, summary, tiers, summary.get("failed", {}), tuple(missing))


def _summary(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(found, dict) and isinstance(found.get("tiers"), dict)):
        raise InputError("not a summary", path=path)
    return found


def _plan(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))["tiers"])


def _whole(reading: Callable[[Path], T]) -> Callable[[Path], T]:
    """Numpy leaves a file open that it cannot read: so it gets none that was cut off."""

    def read_whole(path: Path) -> T:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile(path.name)
        return reading(path)

    return read_whole


def _trials(path: Path) -> dict[str, tuple[Trial, ...]]:
    by_study: dict[str, list[Trial]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not set(TRIAL_FIELDS) <= set(rows.fieldnames or ()):
            raise InputError("not a table of trials", path=path)
        for row in rows:
            trial = Trial(
                row["study"],
                int(row["trial"]),
                float(row["score"]),
                float(row["usd_per_item"]),
                row["policy"],
            )
            by_study.setdefault(trial.study, []).append(trial)
    return {study: tuple(found) for study, found in by_study.items()}
