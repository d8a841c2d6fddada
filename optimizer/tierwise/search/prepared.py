"""A job with everything that it names, loaded and checked before the first call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.schema import Job, LoadedTask, PromptTemplate, Tier
from tierwise.schema.space import SearchSpace
from tierwise.search.variants import Variants, asking_variants, candidate_variants


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

    def variants(
        self, tier: Tier, baseline: PromptTemplate, prompts: Sequence[PromptTemplate]
    ) -> Variants:
        """All variants that may be sampled from; ``tier`` has the mode that signals ask in.

        Raises:
            InputError: no prompt fits a mode that the tier and the space share.
        """
        space, loaded = self.space, self.loaded
        variants = candidate_variants(loaded.task, tier, space, prompts, baseline)
        paraphrases, asking = asking_variants(loaded.asking, space.signals)
        return replace(variants, prompts={**variants.prompts, **paraphrases}, asking=asking)
