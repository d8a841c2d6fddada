"""What a study may choose from, and a policy as the parameters of a trial, and back.

The same walk over the space asks a trial for its parameters (``propose``) and reads them from a
policy that is to be enqueued or judged again (``parameters_of``), so that the two cannot differ.
Parameters are conditional: a bucket has those of its strategy only. Quantiles are shares of the
items from the easiest on; they are cut in gaps between observed values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import (
    SIGNALS,
    parameter_settings,
    self_contained,
    signal,
    signal_of,
    turn_of,
)
from tierwise.errors import InputError
from tierwise.evaluation import ABSTAINED, Evaluator
from tierwise.schema import ANSWER, Difficulty, Policy, Probe, Recipe, StrategySpec, Variant
from tierwise.schema.policy import Param
from tierwise.schema.result import Proposal
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.samples import samples_needed
from tierwise.strategies import (
    STRATEGIES,
    Cascade,
    Single,
    at_ends,
    build,
    counts_equal_answers,
    one_answer_ends,
    paths_in,
    width_of,
)
from tierwise.tasks.verifiers import LOGPROBS

Choice = str | int | float | bool | None

SINGLE = StrategySpec.of(Single.kind)

RANKED_BY = "verifier"
"""The parameter by which a strategy names what it ranks by."""

SAMPLE_COUNTS = ("samples", "max_samples", "window")
"""Parameters of strategies that count samples: what they may be is bounded by what there is."""

_STEPS = 5
"""Levels of a range on the coarse grid."""


# The space without what a tier and a task cannot score


def offered(space: SearchSpace, scores: Collection[str]) -> SearchSpace:
    """``space`` with only ``scores`` to rank by; a strategy with none of them is left out.

    Best-of-n ranks by every score of the task or recording that is no log-probability, named in the
    space or not.
    """
    own = tuple(sorted(set(scores) - set(LOGPROBS)))
    strategies: dict[str, dict[str, Dimension]] = {}
    for kind, dimensions in space.strategies.items():
        names = dimensions.get(RANKED_BY)
        if not isinstance(names, tuple):
            strategies[kind] = dict(dimensions)
            continue
        if kind == "best_of_n":
            names = tuple(dict.fromkeys((*names, *own)))
        if known := tuple(name for name in names if name is None or name in scores):
            strategies[kind] = {**dimensions, RANKED_BY: known}
    return replace(space, strategies=strategies or {"single": {}})


def without_search(space: SearchSpace) -> SearchSpace:
    """``space`` for a task that has nothing to search in: no strategy that asks queries."""

    def searches(kind: str) -> bool:
        alone = replace(space, strategies={kind: space.strategies[kind]})
        return any(turn.name == "query" for path in paths_in(alone) for turn in path)

    strategies = {kind: dims for kind, dims in space.strategies.items() if not searches(kind)}
    return replace(space, strategies=strategies or {"single": {}})


def without_votes(space: SearchSpace, *, judged: bool = False) -> tuple[SearchSpace, str]:
    """``space`` for a task of free text: no strategy or signal that counts equal answers; and what
    is said of it, empty where nothing was left out. ``judged``: best-of-n by a judge in their
    place.

    Raises:
        InputError: the space has nothing but votes.
    """

    def votes(classes: Mapping[str, type[Any]], kind: str) -> bool:
        return counts_equal_answers(classes.get(kind))

    out = [kind for kind in space.strategies if votes(STRATEGIES.classes, kind)]
    if not out:
        return space, ""
    reason = (
        "answers are free text, of which no two are the same, so that a vote has nothing to count"
    )
    offered = (
        "best_of_n with a verifier of the task, judged_best_of_n and universal_self_consistency "
        "choose among such texts; an answer form that folds equal answers (docs/answers.md) makes "
        "votes count"
    )
    strategies = {kind: dims for kind, dims in space.strategies.items() if kind not in out}
    if judged:
        strategies.setdefault("judged_best_of_n", {"samples": (3, 5)})
    if not strategies:
        raise InputError(f"the space {space.name!r} has votes only, and {reason}: {offered}")
    signals = tuple(kind for kind in space.signals if not votes(SIGNALS, kind))
    alone = not set(signals) - {"none"}
    fewer = replace(space, strategies=strategies).with_difficulty(
        signals=signals or ("none",), buckets=(1,) if alone else space.buckets
    )
    return fewer, f"{', '.join(out)} were left out: {reason}; {offered}"


def within_depth(space: SearchSpace, most: int) -> SearchSpace:
    """``space`` with no count of samples above ``most``; a strategy with none left is left out."""
    strategies: dict[str, dict[str, Dimension]] = {}
    for kind, dimensions in space.strategies.items():
        fitting = {
            name: _at_most(dimension, most) if name in SAMPLE_COUNTS else dimension
            for name, dimension in dimensions.items()
        }
        if all(fitting.values()):
            strategies[kind] = fitting
    probes = clipped(space.probe_samples, most)
    return replace(space, strategies=strategies or {"single": {}}).with_difficulty(
        probe_samples=probes
    )


def _at_most(dimension: Dimension, most: int) -> Dimension:
    if isinstance(dimension, Range):
        return clipped(dimension, most) if dimension.low <= most else ()
    return tuple(value for value in dimension if not isinstance(value, int) or value <= most)


def clipped(counts: Range, most: int) -> Range:
    """``counts`` with both ends at most ``most``."""
    return replace(counts, low=min(counts.low, most), high=min(counts.high, most))


def most_samples(space: SearchSpace) -> int:
    """The most samples of an answer that a strategy of the space may ask for, or a probe."""
    probed = any(signal(kind).probes and turn_of(kind) == ANSWER for kind in space.signals)
    most = int(space.probe_samples.high) if probed and max(space.buckets) > 1 else 1
    for kind, dims in space.strategies.items():
        counts = [dims[name] for name in SAMPLE_COUNTS if name in dims]
        for dimension in counts:
            values = dimension.ends if isinstance(dimension, Range) else dimension
            most = max([most, *(int(v) for v in values if isinstance(v, int | float))])
        if not counts:
            most = max([most, *map(width_of, at_ends(kind, dims))])
    return most


def verifiers_of(space: SearchSpace) -> list[str]:
    """Scores by which best-of-n of ``space`` ranks."""
    names = space.strategies.get("best_of_n", {}).get("verifier", ())
    return [name for name in names if isinstance(name, str)] if isinstance(names, tuple) else []


# Trial parameters


class TrialLike(Protocol):
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
    """The space of one study: what may be chosen, with the variants that are still in the race.

    Attributes:
        depths: variant -> the most samples of it that a policy may ask for on an item.
        scores: the scores that this tier's samples have; None: log-probabilities, if ``logprobs``.
        ready_signals: self-report and fitted signals -> how a policy may use them.
        nodes: turns below and beside plain answers, likewise; None: all of the space.
    """

    space: SearchSpace
    depths: Mapping[Variant, int]
    logprobs: bool
    scores: frozenset[str] | None = None
    ready_signals: Mapping[str, tuple[Difficulty, ...]] = field(default_factory=dict)
    nodes: Mapping[Variant, int] | None = None

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """The variants, in a stable order."""
        return tuple(self.depths)

    @cached_property
    def own(self) -> tuple[Variant, ...]:
        """The tier's own variants: a probe of a stronger tier would cost what it should save."""
        return tuple(variant for variant in self.variants if variant.tier is None)

    @property
    def alone(self) -> Dimensions:
        """The same without the variants of other tiers."""
        return replace(self, depths={variant: self.depths[variant] for variant in self.own})

    def most(self, variants: Sequence[Variant]) -> int:
        """The most samples of ``variants`` together, asked in turn."""
        return len(variants) * min(self.depths[variant] for variant in variants)

    def supports(self, policy: Policy) -> bool:
        """Whether there are all samples that ``policy`` may ask for."""
        nodes = self.nodes
        return all(
            (nodes is None or n <= nodes.get(variant, 0))
            if variant.path
            else n <= self.depths.get(variant, n)
            for variant, n in samples_needed([policy]).items()
        )

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """Signals other than ``none`` that this tier can be told by."""
        return tuple(kind for kind in self.space.signals if self.ways(kind))

    def ways(self, kind: str) -> tuple[Difficulty, ...]:
        """The settings of a signal, without a probe where that is searched; () where there is none.

        A signal that reads scores of samples is one only where these samples have them.
        """
        if kind == "none":
            return ()
        if not self_contained(kind):
            return self.ready_signals.get(kind, ())
        given = self.scores
        if given is None:
            given = frozenset(LOGPROBS if self.logprobs else ())
        settings = (tuple(sorted(params.items())) for params in parameter_settings(kind))
        found = (Difficulty(kind, params=params) for params in settings)
        return tuple(way for way in found if given.issuperset(signal_of(way).scores))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of strategies that trials propose; those that rank by log-probabilities only where
        these are given. Cascades are listed (``search.allocation``)."""
        return tuple(
            kind
            for kind, dims in self.space.strategies.items()
            if (self.logprobs or "mean_logprob" not in _choices(dims.get("verifier")))
            and kind != Cascade.kind
        )

    def policy_of(self, proposal: Proposal, evaluator: Evaluator) -> Policy | None:
        """The policy in canonical form on these samples; None where a bucket would be empty."""
        policy = policy_of(proposal, evaluator)
        if policy is None:
            return None
        if SINGLE.kind in self.space.strategies:
            # Merged first: without a probe there may be more that is one sample.
            policy = replace_single_votes(merge_buckets(policy), evaluator)
        return merge_buckets(policy)

    def propose(self, trial: TrialLike) -> Proposal:
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

    def _difficulty(self, trial: TrialLike) -> Difficulty:
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

    def _probe(self, trial: TrialLike) -> Probe:
        variants = self._portfolio(trial, "probe", self.space.probe_variants, self.own)
        wanted = clipped(self.space.probe_samples, self.most(variants))
        samples = int(_number(_suggest(trial, "probe.samples", wanted)))
        return Probe(variants, max(samples, len(variants)))

    def _recipe(self, trial: TrialLike, bucket: int) -> Recipe:
        variants = self._portfolio(trial, f"b{bucket}", self.space.variants, self.variants)
        kind = str(trial.suggest_categorical(f"b{bucket}.strategy", self.kinds))
        params: dict[str, Param] = {}
        for name, dimension in self.space.strategies[kind].items():
            if name in SAMPLE_COUNTS and isinstance(dimension, Range):
                dimension = clipped(dimension, self.most(variants))
            params[name] = _suggest(trial, f"b{bucket}.{kind}.{name}", dimension)
        strategy = StrategySpec.of(kind, repaired(kind, params))
        # A variant that would never be sampled from is not part of the recipe.
        return Recipe(variants[: build(strategy).max_samples], strategy)

    def _portfolio(
        self, trial: TrialLike, of: str, sizes: Sequence[int], among: Sequence[Variant]
    ) -> tuple[Variant, ...]:
        counts = [n for n in sizes if n <= len(among)] or [1]
        n = int(_number(trial.suggest_categorical(f"{of}.variants", counts)))
        labels = [variant.label for variant in among]
        named = [str(trial.suggest_categorical(f"{of}.variant{i}", labels)) for i in range(n)]
        return in_order([among[labels.index(name)] for name in named])


class ReplayedTrial(dict[str, Choice]):
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
    recorded = ReplayedTrial(proposal)
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
        flat |= {"probe.variants": len(probe.variants), "probe.samples": probe.samples}
        flat |= {f"probe.variant{i}": variant.label for i, variant in enumerate(probe.variants)}
    left = 1.0
    for b, share in enumerate(proposal.shares):
        flat[f"share{b}"] = (share - (1 - left)) / left
        left = 1 - share
    for b, recipe in enumerate(proposal.buckets):
        variants, strategy = recipe.variants, recipe.strategy
        flat |= {f"b{b}.variants": len(variants), f"b{b}.strategy": strategy.kind}
        flat |= {f"b{b}.variant{i}": variant.label for i, variant in enumerate(variants)}
        flat |= {
            f"b{b}.{strategy.kind}.{name}": value
            for name, value in strategy.params
            if not isinstance(value, tuple)
        }
    return flat


def _setting(way: Difficulty) -> str:
    """Tells a signal's ways apart: by parameters, and by whether the weights see a probe."""
    settings = [str(value) for _, value in way.params]
    if way.weights:
        settings.append("after a probe" if way.probe else "before any sample")
    return ", ".join(settings) or way.signal


def in_order(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """A portfolio is a set: one order for all of its permutations, no variant twice."""
    return tuple(sorted(set(variants), key=lambda variant: variant.label))


def repaired(kind: str, params: Mapping[str, Param]) -> dict[str, Param]:
    """Parameters that contradict each other, moved to the nearest that do not."""
    fixed = dict(params)
    if kind == "early_stopping":
        fixed["max_samples"] = max(
            int(_number(fixed["max_samples"])), int(_number(fixed["window"]))
        )
    return fixed


def _suggest(trial: TrialLike, name: str, dimension: Dimension) -> Param:
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


# Canonical form: merge equal buckets, replace one-sample votes by ``single``


def merge_buckets(policy: Policy) -> Policy:
    """``policy`` without the cuts between buckets of the same recipe.

    Where that leaves one bucket there is no signal to pay for. The answers are the same.
    """
    kept, cuts = [policy.buckets[0]], []
    for recipe, cut in zip(policy.buckets[1:], policy.difficulty.thresholds, strict=True):
        if recipe != kept[-1]:
            kept.append(recipe)
            cuts.append(cut)
    if len(kept) == 1:
        return Policy(tuple(kept), limits=policy.limits)
    difficulty = replace(policy.difficulty, thresholds=tuple(cuts))
    return Policy(tuple(kept), difficulty, policy.limits)


def replace_single_votes(policy: Policy, evaluator: Evaluator) -> Policy:
    """``policy`` with ``single`` for a strategy that is one sample on the evaluator's samples.

    That is a vote that its first answer ends, of a variant whose samples all have an answer. Every
    permutation of the samples gives the same answer, calls and dollars; where a probe's samples are
    the first of the bucket's variants the two may differ, and nothing is changed.
    """
    probe = policy.difficulty.probe
    buckets = tuple(_as_single(recipe, probe, evaluator) for recipe in policy.buckets)
    return policy if buckets == policy.buckets else replace(policy, buckets=buckets)


def _as_single(recipe: Recipe, probe: Probe | None, evaluator: Evaluator) -> Recipe:
    if recipe.strategy == SINGLE or not one_answer_ends(build(recipe.strategy)):
        return recipe
    if probe is not None and probe.among(recipe.variants):
        return recipe
    first = recipe.variants[:1]  # the others are not sampled from
    silent = (evaluator.table.of(first[0]).answers == ABSTAINED).any()
    return recipe if silent else Recipe(first, SINGLE)


# A coarse grid of the space: what racing and allocation look at


def strategy_grid(
    dimensions: Dimensions, max_samples: int, steps: int = _STEPS
) -> list[StrategySpec]:
    """Strategies of the space that need at most ``max_samples`` samples, on a grid of what these
    allow."""
    specs: dict[StrategySpec, None] = {}
    for kind in dimensions.kinds:
        space = dimensions.space.strategies[kind]
        within = (_clipped(d, max_samples) if n in SAMPLE_COUNTS else d for n, d in space.items())
        for values in itertools.product(*(_levels(d, steps) for d in within)):
            params = repaired(kind, dict(zip(space, values, strict=True)))
            spec = StrategySpec.of(kind, params)
            if width_of(build(spec)) <= max_samples:
                specs[spec] = None
    return list(specs)


def _clipped(dimension: Dimension, most: int) -> Dimension:
    """A count of samples up to ``most``, where that is within its range."""
    if isinstance(dimension, Range) and dimension.low <= most < dimension.high:
        return replace(dimension, high=most)
    return dimension


def recipe_grid(dimensions: Dimensions, steps: int = _STEPS) -> list[Recipe]:
    """Every recipe of the grid."""
    found: list[Recipe] = []
    for size in dimensions.space.variants:
        for chosen in map(in_order, itertools.combinations(dimensions.variants, size)):
            if len({variant.tier for variant in chosen}) > 1:
                continue  # a vote over two tiers is left to the sampler
            # One sample of a portfolio is one sample of its first variant.
            specs = strategy_grid(dimensions, dimensions.most(chosen), steps)
            found += [Recipe(chosen, spec) for spec in specs if width_of(build(spec)) >= size]
    return found


def _levels(dimension: Dimension, steps: int) -> list[Param]:
    if not isinstance(dimension, Range):
        return list(dimension)
    space = np.geomspace if dimension.log else np.linspace
    levels = space(dimension.low, dimension.high, steps)
    if dimension.whole:
        return [int(v) for v in np.unique(np.rint(levels))]
    return [round(float(v), 3) for v in levels]
