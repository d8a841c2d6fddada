"""A policy's decisions: difficulty, and for each bucket the arms and the strategy.

Ids only; the deployable file (``policy_file``) adds the exact messages, modes and evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from tierwise.recipe.turns import ROOT, Path, Turn, path_above, path_below

Param = int | float | str | bool | None


class Arm(NamedTuple):
    """What draws are bought for: prompt x mode x temperature, on this tier or a named one.

    A recipe's arms have the empty ``path``; below them an arm with a path stands for the draws of
    one node in each of the arm's trees.
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
        """What its draws are asked for."""
        return self.path[-1] if self.path else ROOT

    @property
    def root(self) -> Arm:
        """The recipe's arm that this one lies below."""
        return self._replace(path=())

    @property
    def parent(self) -> Arm | None:
        """The arm whose draws are the parents of this one's; None where these begin a request."""
        return self._replace(path=path_above(self.path)) if len(self.path) > 1 else None

    def begun(self, turn: Turn) -> Arm:
        """This arm asked for ``turn`` at once."""
        return self._replace(path=() if turn == ROOT else (turn,))

    def below(self, turn: Turn) -> Arm:
        """This arm asked for ``turn`` after its draw."""
        return self._replace(path=path_below(self.path, turn))


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """The kind of a strategy and its parameters, sorted: hashable, and plain data in a file."""

    kind: str
    params: tuple[tuple[str, Param], ...] = ()

    @classmethod
    def of(
        cls, kind: str, params: Mapping[str, Param] | None = None, /, **more: Param
    ) -> StrategySpec:
        """``StrategySpec.of("self_consistency", draws=5)``."""
        return cls(kind, tuple(sorted({**(params or {}), **more}.items())))

    def __str__(self) -> str:
        inside = ", ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params
        )
        return f"{self.kind}({inside})"


class Recipe(NamedTuple):
    """One bucket's way to an answer: arms, whose draws vote together, and a strategy."""

    arms: tuple[Arm, ...]
    strategy: StrategySpec


class Probe(NamedTuple):
    """The draws that a difficulty signal looks at before the bucket is known.

    ``draws`` of them in all, dealt over ``arms`` in turn: two draws of two prompts are one of each.
    """

    arms: tuple[Arm, ...]
    draws: int

    @property
    def dealt(self) -> tuple[Arm, ...]:
        """The arm of each draw, in the order in which they are asked for (at once)."""
        return (self.arms * self.draws)[: self.draws]

    def among(self, arms: Sequence[Arm]) -> Probe | None:
        """The part of it that a recipe of ``arms`` takes over as its first draws; None: nothing."""
        mine = tuple(arm for arm in self.arms if arm in arms)
        draws = sum(arm in arms for arm in self.dealt)
        return Probe(mine, draws) if draws else None

    def __str__(self) -> str:
        many = "one draw" if self.draws == 1 else f"{self.draws} draws"
        return f"{many} of {' + '.join(arm.label for arm in self.arms)}"


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
    max_draws: int | None = None
    timeout_s: float | None = 60.0
    on_error: Literal["answer_with_what_arrived", "fail"] = "answer_with_what_arrived"


NO_LIMITS = Limits(timeout_s=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Buckets, easiest first, and how a request finds its bucket.

    A search knows no limits: those of a file are chosen when it is written, so that they bound a
    request and do not steer it, whatever a provider's pace was while draws were bought.
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
        if any(arm.path for arm in self.arms):
            raise ValueError("a recipe's arms have no path: the strategy asks for turns")
        cuts = self.difficulty.thresholds
        if any(a <= b for a, b in itertools.pairwise(cuts)):
            raise ValueError(f"thresholds must fall from the easiest bucket on, got {cuts}")

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm that a request may draw from, the probe's first."""
        probe = self.difficulty.probe.arms if self.difficulty.probe else ()
        return tuple(dict.fromkeys((*probe, *(a for b in self.buckets for a in b.arms))))

    def bucket_of(self, signal: float) -> int:
        """Index of the bucket for a signal's value."""
        for i, cut in enumerate(self.difficulty.thresholds):
            if signal >= cut:
                return i
        return len(self.buckets) - 1


def uniform(arm: Arm, strategy: StrategySpec) -> Policy:
    """The policy of one bucket and one arm."""
    return Policy(buckets=(Recipe((arm,), strategy),))
