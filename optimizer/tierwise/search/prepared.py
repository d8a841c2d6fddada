"""A job with everything that it names, loaded and checked before the first call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tierwise.content import Job, LoadedTask
from tierwise.recipe import PromptTemplate, Tier
from tierwise.recipe.space import SearchSpace


@dataclass(frozen=True)
class Prepared:
    """What ``tune.prepare`` made of a job.

    ``baseline`` is None where all tiers are recorded: a recording has prompts of its own.
    """

    job: Job
    loaded: LoadedTask
    space: SearchSpace
    tiers: Mapping[str, Tier]
    baseline: PromptTemplate | None
