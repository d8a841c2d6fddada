"""A policy's decisions: difficulty, and for each bucket the variants and the strategy.

Ids only; the deployable file (``policy_file``) adds the exact messages, modes and evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tierwise.schema.turns import ROOT, Path, Turn, path_above, path_below

Param = int | float | str | bool | None
StrategyParam = Param | tuple[Any, ...]
"""Numbers and names; a cascade's stages are tuples of them."""


class Variant(NamedTuple):
    """What samples are bought for: prompt x mode x temperature, on this tier or a named one.

    A recipe's variants have the empty ``path``; below them a variant with a path stands for the samples of
    one node in each of the variant's trees.
    """

    prompt: str
    mode: str
    temperature: float
    tier: str | None = None
    path: Path = ()

    @property
    def label(self) -> str:
        """``prompt/mode/temperature``, with ``@tier`` where it is another one, and the path."""
        where = f"@{self.tier}" if self.tier else ""
        turns = " " + ">".join(turn.label for turn in self.path) if self.path else ""
        return f"{self.prompt}/{self.mode}/{self.temperature:g}{where}{turns}"

    @property
    def turn(self) -> Turn:
        """What its samples are asked for."""
        return self.path[-1] if self.path else ROOT

    @property
    def root(self) -> Variant:
        """The recipe's variant that this one lies below."""
        return self._replace(path=())

    @property
    def parent(self) -> Variant | None:
        """The variant whose samples are the parents of this one's; None where these begin a request."""
        return self._replace(path=path_above(self.path)) if len(self.path) > 1 else None

    def begun(self, turn: Turn) -> Variant:
        """This variant asked for ``turn`` at once."""
        return self._replace(path=() if turn == ROOT else (turn,))

    def below(self, turn: Turn) -> Variant:
        """This variant asked for ``turn`` after its sample."""
        return self._replace(path=path_below(self.path, turn))


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """The kind of a strategy and its parameters, sorted: hashable, and plain data in a file."""

    kind: str
    params: tuple[tuple[str, StrategyParam], ...] = ()

    @classmethod
    def of(
        cls, kind: str, params: Mapping[str, StrategyParam] | None = None, /, **more: StrategyParam
    ) -> StrategySpec:
        """``StrategySpec.of("self_consistency", samples=5)``."""
        return cls(kind, tuple(sorted({**(params or {}), **more}.items())))

    def __str__(self) -> str:
        inside = ", ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params
        )
        return f"{self.kind}({inside})"


class Recipe(NamedTuple):
    """One bucket's way to an answer: variants, whose samples vote together, and a strategy."""

    variants: tuple[Variant, ...]
    strategy: StrategySpec


class Probe(NamedTuple):
    """The samples that a difficulty signal looks at before the bucket is known.

    ``samples`` of them in all, interleaved over ``variants`` in turn: two samples of two prompts are one of each.
    """

    variants: tuple[Variant, ...]
    samples: int

    @property
    def interleaved(self) -> tuple[Variant, ...]:
        """The variant of each sample, in the order in which they are asked for (at once)."""
        return (self.variants * self.samples)[: self.samples]

    def among(self, variants: Sequence[Variant]) -> Probe | None:
        """The part of it that a recipe of ``variants`` takes over as its first samples; None: nothing."""
        mine = tuple(variant for variant in self.variants if variant in variants)
        samples = sum(variant in variants for variant in self.interleaved)
        return Probe(mine, samples) if samples else None

    def __str__(self) -> str:
        many = "one sample" if self.samples == 1 else f"{self.samples} samples"
        return f"{many} of {' + '.join(variant.label for variant in self.variants)}"


class Weight(NamedTuple):
    """What a feature of the prompt counts for: ``weight`` * (it - ``mean``) / ``scale``."""

    feature: str
    weight: float
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A signal (higher is easier) and where it is cut; ``>=`` goes to the easier side.

    ``thresholds`` are descending, one fewer than buckets. ``params`` are the signal's, sorted;
    ``weights`` those of a signal that was fitted (the router).
    """

    signal: str = "none"
    thresholds: tuple[float, ...] = ()
    probe: Probe | None = None
    params: tuple[tuple[str, Param], ...] = ()
    weights: tuple[Weight, ...] = ()

    @property
    def uncut(self) -> Difficulty:
        """How it is told, wherever it is cut."""
        return replace(self, thresholds=())

    def __str__(self) -> str:
        settings = "".join(f" ({value})" for _, value in self.params)
        return f"{self.signal}{settings}{f' of {self.probe}' if self.probe else ''}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a request early, in search as in serving."""

    max_usd_per_request: float | None = None
    max_samples: int | None = None
    timeout_s: float | None = 60.0
    on_error: Literal["answer_with_what_arrived", "fail"] = "answer_with_what_arrived"


NO_LIMITS = Limits(timeout_s=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Buckets, easiest first, and how a request finds its bucket.

    A search knows no limits: those of a file are chosen when it is written, so that they bound a
    request and do not steer it, whatever a provider's pace was while samples were bought.
    """

    buckets: tuple[Recipe, ...]
    difficulty: Difficulty = Difficulty()
    limits: Limits = NO_LIMITS

    def __post_init__(self) -> None:
        if len(self.difficulty.thresholds) != len(self.buckets) - 1:
            raise ValueError(
                f"{len(self.buckets)} buckets need {len(self.buckets) - 1} thresholds, "
                f"got {len(self.difficulty.thresholds)}"
            )
        if any(variant.path for variant in self.variants):
            raise ValueError("a recipe's variants have no path: the strategy asks for turns")
        cuts = self.difficulty.thresholds
        if any(a <= b for a, b in itertools.pairwise(cuts)):
            raise ValueError(f"thresholds must fall from the easiest bucket on, got {cuts}")

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Every variant that a request may sample from, the probe's first."""
        probe = self.difficulty.probe.variants if self.difficulty.probe else ()
        return tuple(dict.fromkeys((*probe, *(a for b in self.buckets for a in b.variants))))

    def bucket_of(self, signal: float) -> int:
        """Index of the bucket for a signal's value."""
        for i, cut in enumerate(self.difficulty.thresholds):
            if signal >= cut:
                return i
        return len(self.buckets) - 1


def uniform(variant: Variant, strategy: StrategySpec) -> Policy:
    """The policy of one bucket and one variant."""
    return Policy(buckets=(Recipe((variant,), strategy),))
