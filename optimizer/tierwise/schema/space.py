"""A search space: what a study may choose from. Values, no I/O (``content`` reads the YAML)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from tierwise.errors import InputError
from tierwise.schema.policy import Param
from tierwise.schema.validation import Count, NotNegative, Positive, Strict, Text


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``whole`` numbers only, or any.

    ``log``: searched by ratio rather than by difference.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise InputError(f"low ({self.low:g}) must not be above high ({self.high:g})")
        if self.log and self.low <= 0:
            raise InputError(f"a log range must start above 0, got low {self.low:g}")
        if self.whole and (self.low % 1 or self.high % 1):
            raise InputError(f"must be whole numbers, got {self.low:g} and {self.high:g}")

    @property
    def ends(self) -> tuple[Param, Param]:
        """The lowest and the highest value, as int where they are whole."""
        if self.whole:
            return int(self.low), int(self.high)
        return float(self.low), float(self.high)


Dimension = Range | tuple[Param, ...]
"""A range, or choices."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a policy must keep to; None: no such bound."""

    max_usd_per_item: float | None = None
    max_rounds: int | None = None


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Everything that a study may choose from.

    ``families`` empty: all. ``paraphrases``: other paraphrases of each prompt to try (0: only the
    first paraphrase).
    ``strategies``: kind -> parameter -> dimension. ``probe_variants``: over how many variants a probe's
    samples may be interleaved. ``library``: whether the prompts shipped in ``search_spaces/prompts`` take
    part: True, False, only some of its families, or None for "only where the task brings no
    prompts".
    """

    name: str
    families: tuple[str, ...] = ()
    paraphrases: int = 0
    demos: tuple[int, ...] = (0,)
    temperatures: tuple[float, ...] = (0.8,)
    variants: tuple[int, ...] = (1,)
    modes: tuple[str, ...] = ("direct",)
    strategies: Mapping[str, Mapping[str, Dimension]] = field(
        default_factory=lambda: {"single": {}}
    )
    signals: tuple[str, ...] = ("none",)
    buckets: tuple[int, ...] = (1,)
    probe_samples: Range = Range(2, 4, whole=True)
    probe_variants: tuple[int, ...] = (1,)
    search_rounds: Range | None = None
    constraints: Constraints = Constraints()
    library: bool | tuple[str, ...] | None = None


WholeFromZero = Annotated[int, Field(ge=0)]


class SpacePromptsModel(Strict):
    """Which prompts take part, with how many demonstrations and other paraphrases."""

    families: list[Text] = Field(default_factory=list)
    library: Any = None
    demos: Annotated[list[WholeFromZero], Field(min_length=1)] = Field(default_factory=lambda: [0])
    paraphrases: WholeFromZero = 0


class SpaceDifficultyModel(Strict):
    """Signals, numbers of buckets, and a probe's samples, of one variant or interleaved over several."""

    signals: Annotated[list[Text], Field(min_length=1)] = Field(default_factory=lambda: ["none"])
    buckets: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])
    probe_samples: Any = 2
    probe_variants: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])


class ConstraintsModel(Strict):
    """What a policy must keep to."""

    max_usd_per_item: Positive | None = None
    max_rounds: Count | None = None


class SpaceModel(Strict):
    """A search space."""

    description: str = ""
    prompts: SpacePromptsModel = SpacePromptsModel()
    temperature: Annotated[list[NotNegative], Field(min_length=1)]
    variants: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1])
    modes: Annotated[list[Text], Field(min_length=1)]
    strategies: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    difficulty: SpaceDifficultyModel = SpaceDifficultyModel()
    search_rounds: Any = None
    constraints: ConstraintsModel = ConstraintsModel()
