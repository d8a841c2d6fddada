"""Cascade: one weighted vote over stages of variants, cheap ones first.

Generalises votes, probe-then-think and escalation. Each stage asks some samples of its variants
(other prompts, modes or models); all votes so far count together, each with the log-odds weight of
its variant (arXiv 2510.01499); where the leader is sure enough the request ends, else the next
stage is asked. FrugalGPT (arXiv 2305.05176) and agreement-based cascades (arXiv 2407.02348) drop
the earlier votes; pooling them costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tierwise.errors import InputError
from tierwise.strategies._base import (
    Ask,
    Return,
    Sample,
    Seen,
    counted,
    interleave,
    names_in_words,
    plurality,
    register_strategy,
    votes_of,
    whole,
)

CONFIDENCE_SCORE = "mean_logprob"
"""The score that ``Stage.confidence`` is compared with."""


class Stage(NamedTuple):
    """One stage of a cascade.

    Attributes:
        variants: indices of the recipe's variants; its samples are interleaved over them.
        samples: how many it asks for, all at once.
        share: the request ends where the leading answer has at least this share of the weight of
            all samples so far, abstentions included. Of the last stage it means nothing.
        confidence: and where the leader's samples have at least this mean log-probability a token;
            None: whatever they have.
    """

    variants: tuple[int, ...]
    samples: int
    share: float = 1.0
    confidence: float | None = None


@register_strategy
@dataclass(frozen=True, slots=True)
class Cascade:
    """Stages over a recipe's variants; the last one ends the request.

    Attributes:
        stages: in the order in which they are asked, see ``Stage``.
        weights: of the votes of each of the recipe's variants, above 0; none: all weigh 1.
    """

    stages: tuple[Stage, ...]
    weights: tuple[float, ...] = ()

    kind: ClassVar[str] = "cascade"
    counts_equal_answers: ClassVar[bool] = True
    dimensions: ClassVar[Mapping[str, str]] = {
        "stages": "int",
        "samples": "int",
        "threshold": "float",
    }
    """What a search space says of it, with types: numbers of stages, samples of a stage, shares
    that end one. Its variants, weights and thresholds follow from the samples
    (``search.allocation``)."""

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not self.stages:
            raise InputError("cascade.stages must be a list of at least one stage")
        try:
            stages = tuple(Stage(*stage) for stage in self.stages)
            weights = tuple(float(weight) for weight in self.weights)
        except TypeError:
            raise InputError("cascade.stages: each has variants, samples and a share") from None
        object.__setattr__(self, "stages", stages)
        object.__setattr__(self, "weights", weights)
        for i, stage in enumerate(stages):
            _check(f"cascade.stages[{i}]", stage)
        if any(not 0 < weight < math.inf for weight in weights):
            raise InputError(f"cascade.weights must be above 0, got {self.weights!r}")

    @property
    def n_variants(self) -> int:
        """The fewest variants that a recipe must have for it."""
        return 1 + max(variant for stage in self.stages for variant in stage.variants)

    @property
    def max_samples(self) -> int:
        """Samples of all stages."""
        return sum(stage.samples for stage in self.stages)

    def schedule(self, begun: Sequence[int]) -> list[list[int]]:
        """For each stage the variants of the samples that it asks for, where nothing ends before.

        ``begun`` are the variants of samples that are there (a reused probe's): they are not asked
        for again by the stages that would ask for them.
        """
        spare = Counter(begun)
        asked = []
        for stage in self.stages:
            mine = []
            for place in interleave([0] * len(stage.variants), stage.samples):
                variant = stage.variants[place]
                if spare[variant]:
                    spare[variant] -= 1
                else:
                    mine.append(variant)
            asked.append(mine)
        return asked

    def weight(self, variant: int) -> float:
        """What a vote of the recipe's ``variant`` counts."""
        return self.weights[variant] if variant < len(self.weights) else 1.0

    def in_words(self, variants: Sequence[str]) -> str:
        """See ``Strategy``."""
        said = []
        for i, stage in enumerate(self.stages):
            names = names_in_words([variants[v] for v in stage.variants])
            what = f"{counted(stage.samples, 'sample')} of {names}"
            if i:
                last = self.stages[i - 1]
                low = f"where the leader has below {last.share:.0%} of the votes"
                if last.confidence is not None:
                    low += f" or a mean log-probability below {last.confidence:g}"
                what = f"{low}, {what} more"
            said.append(what)
        votes = "weighted vote" if len(set(self.weights)) > 1 else "vote"
        return f"a {votes} in stages: {'; '.join(said)}"

    def step(self, seen: Seen) -> Ask | Return:
        """Ask for the first stage that lacks samples, unless the leader is sure before it."""
        begun = [sample.variant for sample in seen.samples]
        for i, missing in enumerate(self.schedule(begun)):
            if missing:
                if i and self.sure(self.stages[i - 1], seen.samples):
                    break
                return Ask(len(missing), tuple(missing))
        return Return(self.choose(seen))

    def sure(self, stage: Stage, samples: Sequence[Sample]) -> bool:
        """Whether the leader of ``samples`` ends the request at ``stage``."""
        votes = votes_of(samples, self._weight)
        if not votes:
            return False
        leader = max(votes, key=lambda answer: votes[answer])  # the first of equal ones
        total = 0.0
        for sample in samples:
            total += self._weight(sample)
        if votes[leader] < stage.share * total * (1 - 1e-9):
            return False
        if stage.confidence is None:
            return True
        of_leader = [
            score
            for sample in samples
            if sample.answer == leader
            and not math.isnan(score := sample.scores.get(CONFIDENCE_SCORE, math.nan))
        ]
        if not of_leader:
            return False
        summed = 0.0
        for score in of_leader:
            summed += score
        return summed / len(of_leader) >= stage.confidence

    def choose(self, seen: Seen) -> int:
        """The first sample of the answer with the most weight."""
        return plurality(seen.samples, self._weight)

    def _weight(self, sample: Sample) -> float:
        return self.weight(sample.variant)


def _check(name: str, stage: Stage) -> None:
    if not isinstance(stage.variants, tuple) or not stage.variants:
        raise InputError(f"{name}.variants must name at least one variant")
    for variant in stage.variants:
        whole(f"{name}.variants", variant, 0)
    whole(f"{name}.samples", stage.samples, 1)
    for what, value, low, high in (
        ("share", stage.share, 0.0, 1.0),
        ("confidence", stage.confidence, -math.inf, 0.0),
    ):
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None and what == "confidence":
            continue
        if not known or not low < float(value) <= high:  # type: ignore[arg-type]  # `known` says that it is a number
            raise InputError(f"{name}.{what} must be in ({low:g}, {high:g}], got {value!r}")
