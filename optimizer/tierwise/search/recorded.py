"""A recording in place of a provider: the space shrinks to it, and nothing is paid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.errors import InputError, UnsupportedError, unknown_name
from tierwise.evaluation import SampleTable
from tierwise.llm.recorded import Recording
from tierwise.pool.recorded import recorded_table
from tierwise.recipe import Arm, Tier
from tierwise.search.arms import Arms
from tierwise.search.buying import FEWEST_ITEMS
from tierwise.search.effort import Effort
from tierwise.task import RECORDED, Item, Task

EVERYTHING = 10**6
FREE = Effort(
    fit_items=EVERYTHING, screen_items=EVERYTHING, race_items=EVERYTHING, study_items=EVERYTHING,
    select_items=EVERYTHING, test_items=EVERYTHING, screen_draws=EVERYTHING, race_draws=EVERYTHING,
    race_arms=12, study_arms=8,
)  # fmt: skip
"""Recorded draws cost nothing more: every stage looks at all of its items and their draws."""

MOSTLY = 0.9
"""An arm takes part where it is recorded on this part of the items that some arm is recorded on."""


class RecordedDraws:
    """The recorded draws of a tier, and of those above it, as tables."""

    free = True

    def __init__(
        self, recording: Recording, task: Task, tier: Tier,
        above: Mapping[str, tuple[Recording, Tier]] | None = None,
    ) -> None:  # fmt: skip
        self.recording, self.task, self.tier = recording, task, tier
        self.above = above or {}

    def most(self, arm: Arm) -> int:
        """Draws that every item of the arm has."""
        recording, _ = self.above.get(arm.tier or "", (self.recording, self.tier))
        return recording.arms[arm._replace(tier=None)].min_draws

    def everything(self) -> SampleTable:
        """All that is recorded, on all items of the task: NaN where a draw is not recorded."""
        return self._recorded(self.task.items, tuple(self.recording.arms))

    def table(self, items: Sequence[Item], depth: Mapping[Arm, int], stage: str) -> SampleTable:
        """The items whose draws are recorded for all arms, with at most the recorded depth.

        Raises:
            UnsupportedError: fewer than ``FEWEST_ITEMS`` items have them.
        """
        table = self._recorded(items, tuple(depth))
        arms = {
            arm: rows.columns(np.arange(min(depth[arm], self.most(arm))))
            for arm, rows in table.arms.items()
        }
        table = replace(table, arms=arms)
        complete = np.logical_and.reduce([rows.complete for rows in arms.values()])
        if complete.sum() < min(FEWEST_ITEMS, len(items)):
            raise UnsupportedError(
                f"tier {self.tier.name!r}: only {complete.sum()} of the {len(items)} items of "
                f"stage {stage!r} have recorded draws of all {len(arms)} arms; are the task's "
                "items those of the recording?"
            )
        return table.rows(np.flatnonzero(complete))

    def _recorded(self, items: Sequence[Item], arms: Sequence[Arm]) -> SampleTable:
        metric = None if self.task.metric == RECORDED else self.task.score
        return recorded_table(
            self.recording, self.tier, items, self.task.answer, metric=metric, arms=arms,
            verifiers=self.task.verifiers, others=self.above,
        )  # fmt: skip


def recorded_arms(recording: Recording, tier: Tier, baseline: str | None) -> Arms:
    """The recorded arms, in place of the space's prompts, modes and temperatures.

    Raises:
        InputError: the baseline is not recorded.
    """
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    most = max(coverage.items for coverage in recording.arms.values())
    arms = tuple(arm for arm, c in recording.arms.items() if c.items >= MOSTLY * most)
    if baseline is None:
        return Arms(prompts, arms, arms[0])
    own = [arm for arm in arms if arm.prompt == baseline]
    if not own:
        recorded = {arm.prompt for arm in arms}
        raise unknown_name(f"baseline: recorded prompt of tier {tier.name!r}", baseline, recorded)
    return Arms(prompts, arms, own[0])


def fingerprint(path: Path) -> str:
    """SHA-256 of a recording's file: what stands for the pool."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", path=path) from None
