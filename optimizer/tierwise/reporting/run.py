"""A finished run's directory, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.evaluation import SampleTable
from tierwise.recipe.policy_file import PolicyFile
from tierwise.search.run_dir import RunDir
from tierwise.search.tested import Tested


@dataclass(frozen=True)
class TierRun:
    """One tier of a run.

    Attributes:
        prompts: every arm on the same items (all items, where the tier is recorded).
        study: the arms of the study on items of the tune split.
        test: the arms of what was tested on held-out items.
        tested: what was tested, item by item.
    """

    name: str
    summary: Mapping[str, Any]
    policy: PolicyFile
    prompts: SampleTable
    study: SampleTable
    test: SampleTable
    tested: Tested


@dataclass(frozen=True)
class FinishedRun:
    """A run's tiers, in the order of the job."""

    path: Path
    task: str
    seed: int
    tiers: Mapping[str, TierRun]


def load_run(path: Path) -> FinishedRun:
    """Read a run directory.

    Raises:
        InputError: it is none, the run did not finish, or a file is missing.
    """
    run = RunDir.open(path)
    if not run.finished:
        raise InputError(
            f"{path} did not finish: run its `tierwise tune` command again, and it goes on where "
            "it stopped"
        )
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    tiers = {name: _tier(run, name, of_tier) for name, of_tier in summary["tiers"].items()}
    return FinishedRun(path, summary["task"]["name"], summary["seed"], tiers)


def _tier(run: RunDir, name: str, summary: Mapping[str, Any]) -> TierRun:
    def file(name_of_file: str) -> Path:
        path = run.path / name_of_file
        if not path.is_file():
            raise InputError(f"{path} is missing: `tierwise replay {run.path}` writes it anew")
        return path

    return TierRun(
        name, summary, PolicyFile.load(run.policies / f"{name}.yaml"),
        SampleTable.load(file(f"tables.{name}.prompts.npz")),
        SampleTable.load(file(f"tables.{name}.npz")),
        SampleTable.load(file(f"tables.{name}.test.npz")),
        Tested.load(file(f"tested.{name}.npz")),
    )  # fmt: skip
