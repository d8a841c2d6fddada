"""A search space: what a study may choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.json_schema import SkipJsonSchema

from tierwise.errors import InputError, raise_any
from tierwise.schema.fields import (
    Count,
    FromZero,
    Mapped,
    Name,
    NotNegative,
    Positive,
    Scalar,
    Strict,
    Text,
)
from tierwise.schema.files import find_space
from tierwise.schema.policy import Param
from tierwise.schema.yaml_io import Document, read, read_as


@dataclass(frozen=True, slots=True)
class Range(Strict):
    """Numbers from ``low`` to ``high``, both included: whole ones where both ends are whole.

    ``log``: searched by ratio rather than by difference.

    Raises:
        ValueError: ``low`` is above ``high``, or a log range does not start above 0.
    """

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not be above high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must start above 0, got low {self.low:g}")

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Param, Param]:
        """The lowest and the highest value."""
        return self.low, self.high


Dimension = Range | tuple[Param, ...]
"""A range, or choices."""


def _dimension(given: Any) -> Dimension:
    if isinstance(given, Range):
        return given
    choices = given if isinstance(given, tuple) else (given,)
    if not choices:
        raise ValueError("must have at least one choice")
    return _once(choices)


def _once(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(map(repr, choices))) < len(choices):
        raise ValueError("the same choice twice")
    return choices


def _whole(given: Any) -> Range:
    found = given if isinstance(given, Range) else Range(given, given)
    if not found.whole:
        raise ValueError("must be made of whole numbers")
    return found


DimensionKeys = Annotated[Dimension, Mapped(Range | tuple[Scalar, ...] | Scalar, _dimension)]
"""In a file a value, a list of choices, or ``{low, high, log}``."""
WholeRange = Annotated[Range, Mapped(int | Range, _whole)]
"""In a file a whole number, or ``{low, high}``."""
SomeCounts = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_once)]


@dataclass(frozen=True, slots=True)
class PromptChoice(Strict):
    """Which prompts take part, with how many demonstrations and paraphrases.

    Attributes:
        families: families or ids of prompts; empty: all.
        library: whether the prompts shipped in ``search_spaces/prompts`` take part: true, false,
            only some of its families, or None for "only where the task brings no prompts".
        paraphrases: other paraphrases of each prompt to try.
    """

    families: Annotated[tuple[Text, ...], AfterValidator(_once)] = ()
    library: bool | tuple[Text, ...] | None = None
    demos: Annotated[tuple[FromZero, ...], Field(min_length=1), AfterValidator(_once)] = (0,)
    paraphrases: FromZero = 0


@dataclass(frozen=True, slots=True)
class DifficultyChoice(Strict):
    """Signals, numbers of buckets, and a probe's samples.

    ``probe_variants``: over how many variants a probe's samples may be interleaved.
    """

    signals: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_once)] = ("none",)
    buckets: SomeCounts = (1,)
    probe_samples: WholeRange = Range(2, 2)
    probe_variants: SomeCounts = (1,)

    def __post_init__(self) -> None:
        if self.probe_samples.low < 1:
            low = self.probe_samples.low
            raise InputError(
                f"difficulty.probe_samples: must be at least 1, got {low}", loc=("probe_samples",)
            )


@dataclass(frozen=True, slots=True)
class Constraints(Strict):
    """What a policy must keep to; None: no such bound."""

    max_usd_per_item: Positive | None = None
    max_rounds: Count | None = None


_NAME_KEY = "(name)"  # no file has it: a space is named after its file
REQUIRED = ("temperature", "modes", "strategies")
"""Keys that a file must have, though a space made in Python need not."""


StrategyDimensions = Annotated[
    Mapping[str, DimensionKeys],
    Mapped(
        Mapping[str, DimensionKeys] | None, lambda given: given or {}, lambda found: found or None
    ),
]
"""Parameter of a strategy -> dimension."""


@dataclass(frozen=True, slots=True)
class SearchSpace(Strict):
    """Everything that a study may choose from.

    Attributes:
        variants: how many a recipe may pool.
        strategies: kind -> parameter -> dimension; as the file says until ``runs.load_space`` has
            held them against the strategies that there are.
        search_rounds: the rounds of ``retrieval``, which is a strategy of the space with it.
    """

    name: Annotated[SkipJsonSchema[Text], Field(validation_alias=_NAME_KEY, exclude=True)]
    description: str = ""
    prompts: PromptChoice = PromptChoice()
    temperatures: Annotated[
        tuple[NotNegative, ...], Field(min_length=1, alias="temperature"), AfterValidator(_once)
    ] = (0.8,)
    variants: SomeCounts = (1,)
    modes: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_once)] = ("direct",)
    strategies: Annotated[Mapping[str, StrategyDimensions], Field(min_length=1)] = field(
        default_factory=lambda: {"single": {}}
    )
    difficulty: DifficultyChoice = DifficultyChoice()
    search_rounds: WholeRange | None = None
    constraints: Constraints = Constraints()

    @property
    def signals(self) -> tuple[str, ...]:
        """Kinds of difficulty signals."""
        return self.difficulty.signals

    @property
    def buckets(self) -> tuple[int, ...]:
        """Numbers of buckets."""
        return self.difficulty.buckets

    @property
    def probe_samples(self) -> Range:
        """Samples of a probe."""
        return self.difficulty.probe_samples

    @property
    def probe_variants(self) -> tuple[int, ...]:
        """Over how many variants a probe's samples may be interleaved."""
        return self.difficulty.probe_variants

    def with_prompts(self, **changes: Any) -> SearchSpace:
        """It with other values in ``prompts``."""
        return replace(self, prompts=replace(self.prompts, **changes))

    def with_difficulty(self, **changes: Any) -> SearchSpace:
        """It with other values in ``difficulty``."""
        return replace(self, difficulty=replace(self.difficulty, **changes))

    @classmethod
    def load(cls, name_or_path: Path | str) -> tuple[SearchSpace, Document]:
        """A search space by name or path, named after its file, with the document that it is.

        Raises:
            InputError: no such space, or every fault of the file with its line.
        """
        path = find_space(name_or_path)
        document = read(path)
        data = document.data
        if not isinstance(data, dict):
            return read_as(cls, document), document
        space = read_as(cls, document, {_NAME_KEY: path.stem, **data})
        missing = [key for key in REQUIRED if key not in data]
        raise_any([document.fault(f"{key!r} is missing") for key in missing])
        return space, document
