"""What the builders of all sections share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tierwise.analysis.tier_files import TierFiles
from tierwise.errors import UnsupportedError
from tierwise.report.charts import Chart
from tierwise.runs.artifacts import RunFiles
from tierwise.schema.policy_file import PolicyFile

T = TypeVar("T")


class Built(NamedTuple):
    """What a section's template reads, by name, and what is missing of it, in sentences."""

    context: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A chart, and the rows of the table behind it."""

    title: str
    chart: Chart
    rows: tuple[Any, ...]


def each_tier(
    run: RunFiles, build: Callable[[TierFiles], T | None]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """What ``build`` makes of each tier (None is left out), and a note where a file is missing."""
    found, notes = [], []
    for tier in run.tiers.values():
        try:
            made = build(tier)
        except UnsupportedError as error:
            notes.append(f"{tier.name} is not shown: {error}.")
            continue
        if made is not None:
            found.append(made)
    return tuple(found), tuple(notes)


def sorted_by(policy: PolicyFile) -> str:
    """How a request finds its bucket: ``length, cut at -12 (higher is easier)``."""
    difficulty = policy.policy.difficulty
    cuts = ", ".join(f"{cut:.3g}" for cut in difficulty.thresholds)
    of = f" of {difficulty.probe}" if difficulty.probe else ""
    return f"{difficulty.signal}{of}, cut at {cuts} (higher is easier)"
