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
from tierwise.pool import FEWEST_ITEMS
from tierwise.pool.recorded import recorded_table
from tierwise.schema import Tier, Variant
from tierwise.search.problem import SearchSize
from tierwise.search.variants import Variants
from tierwise.tasks import RECORDED, Item, Task
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

EVERYTHING = 10**6
FREE = SearchSize(
    fit_items=EVERYTHING,
    screen_items=EVERYTHING,
    race_items=EVERYTHING,
    study_items=EVERYTHING,
    select_items=EVERYTHING,
    test_items=EVERYTHING,
    screen_samples=EVERYTHING,
    race_samples=EVERYTHING,
    race_variants=12,
    study_variants=8,
)
"""Recorded samples cost nothing more: every stage looks at all of its items and their samples."""

MOSTLY = 0.9
"""A variant takes part where it is recorded on this part of the items that some variant is recorded on."""


class RecordedSamples:
    """The recorded samples of a tier, and of those above it, as tables."""

    free = True

    def __init__(
        self,
        recording: Recording,
        task: Task,
        tier: Tier,
        above: Mapping[str, tuple[Recording, Tier]] | None = None,
    ) -> None:
        self.recording, self.task, self.tier = recording, task, tier
        self.above = above or {}

    def most(self, variant: Variant) -> int:
        """Samples that every item of the variant has."""
        recording, _ = self.above.get(variant.tier or "", (self.recording, self.tier))
        return recording.variants[variant._replace(tier=None)].min_samples

    def everything(self) -> SampleTable:
        """All that is recorded, on all items of the task: NaN where a sample is not recorded."""
        return self._recorded(self.task.items, tuple(self.recording.variants))

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """The items whose samples are recorded for all variants, with at most the recorded depth.

        Raises:
            UnsupportedError: fewer than ``FEWEST_ITEMS`` items have them.
        """
        table = self._recorded(items, tuple(n_samples))
        variants = {
            variant: rows.columns(np.arange(min(n_samples[variant], self.most(variant))))
            for variant, rows in table.variants.items()
        }
        table = replace(table, variants=variants)
        complete = np.logical_and.reduce([rows.complete for rows in variants.values()])
        if complete.sum() < min(FEWEST_ITEMS, len(items)):
            raise UnsupportedError(
                f"tier {self.tier.name!r}: only {complete.sum()} of the {len(items)} items of "
                f"stage {stage!r} have recorded samples of all {len(variants)} variants; are the task's "
                "items those of the recording?"
            )
        return table.rows(np.flatnonzero(complete))

    def _recorded(self, items: Sequence[Item], variants: Sequence[Variant]) -> SampleTable:
        metric = None if self.task.metric == RECORDED else self.task.score
        return recorded_table(
            self.recording,
            self.tier,
            items,
            self.task.answer,
            metric=metric,
            variants=variants,
            verifiers=self.task.verifiers,
            others=self.above,
        )


def recorded_variants(recording: Recording, tier: Tier, baseline: str | None) -> Variants:
    """The recorded variants, in place of the space's prompts, modes and temperatures.

    Raises:
        InputError: the baseline is not recorded.
    """
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    most = max(coverage.items for coverage in recording.variants.values())
    variants = tuple(
        variant for variant, c in recording.variants.items() if c.items >= MOSTLY * most
    )
    if baseline is None:
        return Variants(prompts, variants, variants[0])
    own = [variant for variant in variants if variant.prompt == baseline]
    if not own:
        recorded = {variant.prompt for variant in variants}
        raise unknown_name(f"baseline: recorded prompt of tier {tier.name!r}", baseline, recorded)
    return Variants(prompts, variants, own[0])


def fingerprint(path: Path) -> str:
    """SHA-256 of a recording's file: what stands for the pool."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", path=path) from None


def scores_of(task: Task, tier: Tier, recording: Recording | None = None) -> frozenset[str]:
    """Names of the scores that samples will have: log-probabilities, the task's verifiers, and what
    some sample of a recording carries."""
    found = set(task.verifiers)
    if recording is None:
        return frozenset(found | set(LOGPROBS if tier.logprobs else ()))
    names = ("mean_logprob", *RECORDED_SCORES)
    samples = [d for of in recording.samples.values() for by in of.values() for d in by.values()]
    found |= {name for name in names if any(getattr(d, name) is not None for d in samples)}
    return frozenset(found)
