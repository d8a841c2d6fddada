"""A policy as the parameters of a trial, and back.

The same walk over the space asks a trial for its parameters (``policy_of``), and reads them from a
policy that is to be enqueued or restated (``parameters_of``), so that the two cannot differ.
Parameters are conditional: a bucket has those of its strategy only. Quantiles are shares of the
items from the easiest on; they are cut in gaps between observed values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import self_contained, signal_of, variants
from tierwise.evaluation import Evaluator
from tierwise.recipe import Arm, Difficulty, Policy, Probe, Recipe, StrategySpec
from tierwise.recipe.policy import Param
from tierwise.recipe.space import Dimension, Range, SearchSpace
from tierwise.strategies import build
from tierwise.task.verifiers import LOGPROBS

Choice = str | int | float | bool | None


class Suggests(Protocol):
    """The part of ``optuna.Trial`` that is used here."""

    def suggest_categorical(self, name: str, choices: Sequence[Choice], /) -> Choice:
        """One of ``choices``."""
        ...

    def suggest_int(self, name: str, low: int, high: int, /, *, log: bool = False) -> int:
        """A whole number in [low, high]."""
        ...

    def suggest_float(self, name: str, low: float, high: float, /, *, log: bool = False) -> float:
        """A number in [low, high]."""
        ...


@dataclass(frozen=True)
class Proposal:
    """A policy before its thresholds are known: quantiles instead of values."""

    difficulty: Difficulty
    shares: tuple[float, ...]
    buckets: tuple[Recipe, ...]


def policy_of(proposal: Proposal, evaluator: Evaluator) -> Policy | None:
    """The policy on this table, or None where a bucket would be empty."""
    if len(proposal.buckets) == 1:
        return Policy(proposal.buckets)
    cuts = thresholds(evaluator.signal(proposal.difficulty), proposal.shares)
    if cuts is None:
        return None
    return Policy(proposal.buckets, replace(proposal.difficulty, thresholds=cuts))


def thresholds(
    values: npt.NDArray[np.float64], shares: Sequence[float]
) -> tuple[float, ...] | None:
    """Cuts, from the easiest on, that leave about ``shares`` of the values above each.

    A cut lies halfway between two observed values, so that no float noise moves an item. None
    where two cuts fall into the same gap, or one outside.
    """
    levels, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(levels) < 2:
        return None
    above = np.cumsum(counts[::-1])[::-1][1:] / counts.sum()  # share at or above levels[1:]
    gaps = (levels[1:] + levels[:-1]) / 2
    cuts = [float(gaps[int(np.argmin(np.abs(above - share)))]) for share in shares]
    if any(a <= b for a, b in itertools.pairwise(cuts)):
        return None
    return tuple(cuts)


@dataclass(frozen=True)
class Dimensions:
    """The space of one study: what may be chosen, with the arms that are still in the race.

    Attributes:
        pss: prompt sensitivity of the arms that have other wordings, for ``max_pss``.
        scores: the scores that this tier's draws have; None: log-probabilities, if ``logprobs``.
        told: ready ways to tell easy from hard by a signal that asks the model, or was fitted.
        depth_above: the most draws of an arm of another tier; None: as of the others.
    """

    space: SearchSpace
    arms: tuple[Arm, ...]
    logprobs: bool
    max_draws: int
    pss: Mapping[Arm, float] = field(default_factory=dict)
    scores: frozenset[str] | None = None
    told: Mapping[str, tuple[Difficulty, ...]] = field(default_factory=dict)
    depth_above: int | None = None

    @property
    def own(self) -> tuple[Arm, ...]:
        """The arms of the tier itself: a probe of a stronger one would cost what it should save."""
        return tuple(arm for arm in self.arms if arm.tier is None)

    @property
    def alone(self) -> Dimensions:
        """The same without the arms of other tiers."""
        return replace(self, arms=self.own)

    def depth(self, arms: Sequence[Arm]) -> int:
        """The most draws of each of ``arms`` that a policy may ask for."""
        above = any(arm.tier for arm in arms) and self.depth_above is not None
        return min(self.max_draws, self.depth_above or 0) if above else self.max_draws

    @property
    def signals(self) -> tuple[str, ...]:
        """Signals other than ``none`` that this tier can be told by."""
        return tuple(kind for kind in self.space.signals if self.ways(kind))

    def ways(self, kind: str) -> tuple[Difficulty, ...]:
        """The settings of a signal, without a probe where that is searched; () where there is none.

        A signal that reads scores of draws is one only where these draws have them.
        """
        if kind == "none":
            return ()
        if not self_contained(kind):
            return self.told.get(kind, ())
        given = self.scores
        if given is None:
            given = frozenset(LOGPROBS if self.logprobs else ())
        settings = (tuple(sorted(params.items())) for params in variants(kind))
        found = (Difficulty(kind, params=params) for params in settings)
        return tuple(way for way in found if given.issuperset(signal_of(way).scores))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of strategies; those that rank by log-probabilities only where these are given."""
        return tuple(
            kind for kind, dims in self.space.strategies.items()
            if self.logprobs or "mean_logprob" not in _choices(dims.get("verifier"))
        )  # fmt: skip

    def propose(self, trial: Suggests) -> Proposal:
        """Ask ``trial`` for everything that makes a policy."""
        n = int(_number(trial.suggest_categorical("buckets", self._bucket_counts())))
        difficulty, shares = Difficulty(), tuple[float, ...]()
        if n > 1:
            difficulty = self._difficulty(trial)
            # Easiest share first; each further bucket takes its part of what is left.
            left, cut = 1.0, []
            for b in range(n - 1):
                left *= 1 - trial.suggest_float(f"share{b}", 0.1, 0.9)
                cut.append(1 - left)
            shares = tuple(cut)
        return Proposal(difficulty, shares, tuple(self._recipe(trial, b) for b in range(n)))

    def _difficulty(self, trial: Suggests) -> Difficulty:
        kind = str(trial.suggest_categorical("signal", self.signals))
        ways = {_setting(way): way for way in self.ways(kind)}
        setting = next(iter(ways))
        if len(ways) > 1:
            setting = str(trial.suggest_categorical(f"way.{kind}", list(ways)))
        way = ways[setting]
        if signal_of(way).probes and way.probe is None:
            way = replace(way, probe=self._probe(trial))
        return way

    def _bucket_counts(self) -> list[int]:
        counts = [n for n in self.space.buckets if n == 1 or self.signals]
        return counts or [1]

    def _probe(self, trial: Suggests) -> Probe:
        arms = self._portfolio(trial, "probe", self.space.probe_arms, self.own)
        draws = int(_number(_suggest(trial, "probe.draws", self.space.probe_draws)))
        return Probe(arms, max(draws, len(arms)))

    def _recipe(self, trial: Suggests, bucket: int) -> Recipe:
        arms = self._portfolio(trial, f"b{bucket}", self.space.arms, self.arms)
        kind = str(trial.suggest_categorical(f"b{bucket}.strategy", self.kinds))
        params: dict[str, Param] = {}
        for name, dimension in self.space.strategies[kind].items():
            params[name] = _suggest(trial, f"b{bucket}.{kind}.{name}", dimension)
        strategy = StrategySpec.of(kind, repaired(kind, params))
        # An arm that would never be drawn from is not part of the recipe.
        return Recipe(arms[: build(strategy).max_draws], strategy)

    def _portfolio(
        self, trial: Suggests, of: str, sizes: Sequence[int], among: Sequence[Arm]
    ) -> tuple[Arm, ...]:
        counts = [n for n in sizes if n <= len(among)] or [1]
        n = int(_number(trial.suggest_categorical(f"{of}.arms", counts)))
        labels = [arm.label for arm in among]
        named = [str(trial.suggest_categorical(f"{of}.arm{i}", labels)) for i in range(n)]
        return in_order([among[labels.index(name)] for name in named])


class Recorded(dict[str, Choice]):
    """Answers a walk over the space with a policy's values, and keeps them by name."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__()
        self._wanted = _flat(proposal)

    def _take(self, name: str) -> Choice:
        self[name] = self._wanted[name]
        return self[name]

    def suggest_categorical(self, name: str, choices: Sequence[Choice], /) -> Choice:
        """The policy's choice; KeyError where the space does not have it."""
        value = self._take(name)
        if value not in choices:
            raise KeyError(name)
        return value

    def suggest_int(self, name: str, low: int, high: int, /, *, log: bool = False) -> int:
        """The policy's number, moved into the range."""
        self[name] = min(max(int(_number(self._take(name))), low), high)
        return int(_number(self[name]))

    def suggest_float(self, name: str, low: float, high: float, /, *, log: bool = False) -> float:
        """The policy's number, moved into the range."""
        self[name] = min(max(float(_number(self._take(name))), low), high)
        return float(_number(self[name]))


def parameters_of(proposal: Proposal, dimensions: Dimensions) -> dict[str, Choice] | None:
    """The trial parameters of a proposal, or None where the space does not hold it."""
    recorded = Recorded(proposal)
    try:
        dimensions.propose(recorded)
    except KeyError:
        return None
    return dict(recorded)


def _flat(proposal: Proposal) -> Mapping[str, Choice]:
    kind, probe = proposal.difficulty.signal, proposal.difficulty.probe
    flat: dict[str, Choice] = {"buckets": len(proposal.buckets), "signal": kind}
    flat[f"way.{kind}"] = _setting(proposal.difficulty)
    if probe:
        flat |= {"probe.arms": len(probe.arms), "probe.draws": probe.draws}
        flat |= {f"probe.arm{i}": arm.label for i, arm in enumerate(probe.arms)}
    left = 1.0
    for b, share in enumerate(proposal.shares):
        flat[f"share{b}"] = (share - (1 - left)) / left
        left = 1 - share
    for b, (arms, strategy) in enumerate(proposal.buckets):
        flat |= {f"b{b}.arms": len(arms), f"b{b}.strategy": strategy.kind}
        flat |= {f"b{b}.arm{i}": arm.label for i, arm in enumerate(arms)}
        flat |= {f"b{b}.{strategy.kind}.{name}": value for name, value in strategy.params}
    return flat


def _setting(way: Difficulty) -> str:
    """Tells a signal's ways apart: by parameters, and by whether the weights see a probe."""
    settings = [str(value) for _, value in way.params]
    if way.weights:
        settings.append("after a probe" if way.probe else "before any draw")
    return ", ".join(settings) or way.signal


def in_order(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """A portfolio is a set: one order for all of its permutations, no arm twice."""
    return tuple(sorted(set(arms), key=lambda arm: arm.label))


def repaired(kind: str, params: Mapping[str, Param]) -> dict[str, Param]:
    """Parameters that contradict each other, moved to the nearest that do not."""
    fixed = dict(params)
    if kind == "early_stopping":
        fixed["max_draws"] = max(int(_number(fixed["max_draws"])), int(_number(fixed["window"])))
    return fixed


def _suggest(trial: Suggests, name: str, dimension: Dimension) -> Param:
    if not isinstance(dimension, Range):
        return trial.suggest_categorical(name, list(dimension))
    if dimension.whole:
        low, high = int(dimension.low), int(dimension.high)
        return low if low == high else trial.suggest_int(name, low, high, log=dimension.log)
    return round(trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log), 3)


def _choices(dimension: Dimension | None) -> tuple[Param, ...]:
    return dimension if isinstance(dimension, tuple) else ()


def _number(value: Choice) -> float:
    if value is None or isinstance(value, str) or math.isnan(value):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)
