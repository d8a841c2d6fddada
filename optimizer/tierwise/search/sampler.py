"""An Optuna sampler that improves policies part by part.

A policy is made of parts: the difficulty signal, the cuts of the items into buckets, and one recipe
a bucket. Independent samplers forget that parts are good together, and model-based ones are slow on
conditional spaces (Optuna's multivariate TPE asks about 14 times a second:
``benchmarks/search_quality.py``). This one picks a parent by random scalarisation of score and
cost, then mutates or recombines one or two parts (a small step, that part of another good policy,
or anew). A bucket that is added begins as one of another good policy, the easiest as one for a
higher price. Some trials change the signal alone: good cuts and recipes are good under several
signals, and a study would settle on the first. The first trials go through simple policies: there
is no parent yet, and what is good alone is good in parts. A draft that is no new policy is made
anew: a study spends no trial on what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

STARTUP = 30
"""Trials that go through the choices in turn, in one bucket (or the fewest), before any parent."""

EXPLORE = 0.2
"""Share of later trials that change the difficulty signal, and keep all else of a good policy."""

SHARED = 0.7
"""How often a new variant of a probe is one of the easiest bucket's: samples then count twice."""

STEP, TAKE = 0.5, 0.35
"""How a part changes: by a step, by another policy's part; else anew."""

_PRICES = (-2.0, 0.5)
"""Powers of ten between which a price lies, in (range of scores) / (median dollars)."""

DRAFTS = 12
"""Drafts of a trial from a parent or in turn."""

FRESH_DRAFTS = 60
"""Drafts of a trial at random after these; where none is new there is hardly one left."""

SIGNAL, CUTS = "signal", "cuts"
_SIZES = ("buckets", "variants")


class Walk:
    """Answers a walk over the space as a trial would, and keeps what was asked."""

    def __init__(self, sample: Callable[[str, BaseDistribution], Any]) -> None:
        self._sample, self.asked = sample, dict[str, Any]()

    def _ask(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.asked:
            self.asked[name] = self._sample(name, distribution)
        return self.asked[name]

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> Any:
        """As ``optuna.Trial``."""
        return self._ask(name, CategoricalDistribution(tuple(choices)))

    def suggest_int(self, name: str, low: int, high: int, /, *, log: bool = False) -> int:
        """As ``optuna.Trial``."""
        return int(self._ask(name, IntDistribution(low, high, log=log)))

    def suggest_float(self, name: str, low: float, high: float, /, *, log: bool = False) -> float:
        """As ``optuna.Trial``."""
        return float(self._ask(name, FloatDistribution(low, high, log=log)))


IsNew = Callable[[Walk, Sequence[FrozenTrial]], bool]
"""(walk, trials that were told) -> whether the walk comes to a policy that is worth a trial."""


class PartwiseSampler(optuna.samplers.BaseSampler):
    """For a study of (score up, dollars down) over the parameters of ``search.space``.

    Each trial's randomness is a function of (seed, study round, trial number) alone, so that a
    study that is interrupted and resumed asks what it would have asked.
    """

    def __init__(
        self, seed: int, study_round: int = 0, startup: int = STARTUP, is_new: IsNew | None = None
    ) -> None:
        self._key, self._startup, self._is_new = (seed, study_round), startup, is_new
        self._draft: dict[str, Any] = {}
        self._rng = np.random.default_rng(0)
        self._kept: dict[str, Any] = {}
        self._stepped: set[str] = set()
        self._known: set[str] = set()
        self._drafted = -1
        self._begin(0, ())

    def draft(self, study: optuna.Study) -> bool:
        """Draft the next trial; False where no draft of many comes to a new policy."""
        return self._draft_of(study, len(study.get_trials(deepcopy=False)))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Draft a policy, if ``draft`` has not."""
        if trial.number != self._drafted:
            self._draft_of(study, trial.number)

    def _draft_of(self, study: optuna.Study, number: int) -> bool:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._draft, self._drafted = {}, number
        for draft in range(DRAFTS + FRESH_DRAFTS):
            self._rng = np.random.default_rng([*self._key, number, draft])
            self._choose(number + draft, done if draft < DRAFTS else None)
            if self._is_new is None:
                return True
            walk = Walk(self.sample)
            if self._is_new(walk, done):
                self._draft = walk.asked
                return True
        return False

    def _choose(self, number: int, done: Sequence[FrozenTrial] | None) -> None:
        """Choose a parent and the parts to change; all anew where ``done`` is None."""
        if done is None:
            self._begin(None, ())
            return
        if len(done) < self._startup:
            self._begin(number, ())
            return
        explores = self._rng.random() < EXPLORE
        self._begin(None, done)
        self._kept = dict(self._best().params)
        parts = sorted({_part(name) for name in self._kept})
        self._known = {*parts, SIGNAL} if explores else set(parts)
        if explores:
            self._drop(SIGNAL)
            return
        for part in self._rng.permutation(parts)[: self._one_or_two()]:
            self._change(str(part))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Empty: every parameter is asked for by itself, after its parent's value is known."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Empty."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What was drafted."""
        if param_name in self._draft:
            return self._draft[param_name]
        return self.sample(param_name, param_distribution)

    def sample(self, param_name: str, param_distribution: BaseDistribution) -> Any:
        """The parent's value, a step from it, or a new one."""
        if self._turn is not None and isinstance(param_distribution, CategoricalDistribution):
            choices = param_distribution.choices
            size = param_name.rpartition(".")[2] in _SIZES
            return choices[0 if size else self._turn % len(choices)]
        part = _part(param_name)
        if self._done and part not in self._known:
            self._known.add(part)
            self._kept |= self._part_of_another(part)
        value = self._kept.get(param_name)
        if value is None or not _holds(param_distribution, value):
            return self._new(param_name, param_distribution)
        if param_name in self._stepped:
            return _step(self._rng, param_distribution, value)
        return value

    def _begin(self, turn: int | None, done: Sequence[FrozenTrial]) -> None:
        """A trial without a parent yet; ``turn`` is its place in the startup."""
        self._turn, self._done = turn, done
        self._kept, self._stepped, self._known = {}, set(), set()
        values = np.array([trial.values for trial in done]).reshape(-1, 2)
        self._score, self._usd = values.T

    def _change(self, part: str) -> None:
        """Change a part of what is kept."""
        mine = {name: value for name, value in self._kept.items() if _part(name) == part}
        how = self._rng.random()
        if how >= STEP:
            other = self._part_of_another(part) if how < STEP + TAKE else {}
            if other != mine:
                self._drop(part)
                self._kept |= other
                return
        names = self._rng.permutation(sorted(mine))[: self._one_or_two()]
        self._stepped |= {str(name) for name in names}

    def _drop(self, part: str) -> None:
        self._kept = {name: value for name, value in self._kept.items() if _part(name) != part}

    def _new(self, name: str, distribution: BaseDistribution) -> Any:
        if name.startswith("probe.variant") and name != "probe.variants":
            shared = self._kept.get("b0." + name.removeprefix("probe."))
            if _holds(distribution, shared) and self._rng.random() < SHARED:
                return shared
        return _anew(self._rng, distribution)

    def _one_or_two(self) -> int:
        return 1 if self._rng.random() < 0.6 else 2

    def _best(self, lean: int = 0) -> FrozenTrial:
        """The best trial at a random price of a dollar; ``lean``: to higher (1) or lower (-1)."""
        score, usd = self._score, self._usd
        scale = (score.max() - score.min() or 1.0) / max(float(np.median(usd)), 1e-30)
        powers = np.sort(self._rng.uniform(*_PRICES, size=2 if lean else 1))
        price = scale * 10 ** powers[-1 if lean > 0 else 0]
        return self._done[int(np.argmax(score - price * usd))]

    def _part_of_another(self, part: str) -> dict[str, Any]:
        """A part of another good policy; for a bucket the recipe of any bucket.

        Easier buckets come first, and what is easy is worth less: so the first leans to a policy
        for a higher price of a dollar than the others.
        """
        if part in (SIGNAL, CUTS):
            return {n: value for n, value in self._best().params.items() if _part(n) == part}
        other = self._best(lean=1 if part == "b0" else -1)
        buckets = sorted({_part(name) for name in other.params} - {SIGNAL, CUTS})
        source = str(self._rng.choice(buckets))
        return {
            part + name[len(source) :]: value
            for name, value in other.params.items()
            if _part(name) == source
        }


def _part(name: str) -> str:
    head = name.partition(".")[0]
    if head[:1] == "b" and head[1:].isdigit():
        return head
    return CUTS if head == "buckets" or head.startswith("share") else SIGNAL


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return not isinstance(value, str) and distribution._contains(
        distribution.to_internal_repr(value)
    )


def _anew(rng: np.random.Generator, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    whole = isinstance(distribution, IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if whole:
        low, high = low - 0.5, high + 0.5
    if distribution.log:
        value = float(np.exp(rng.uniform(np.log(max(low, 0.5)), np.log(high))))
    else:
        value = float(rng.uniform(low, high))
    return _within(distribution, value)


def _step(rng: np.random.Generator, distribution: BaseDistribution, value: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        others = [c for c in distribution.choices if c != value]
        return others[int(rng.integers(len(others)))] if others else value
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    width = float(distribution.high - distribution.low) * 0.15
    if isinstance(distribution, IntDistribution):
        # At least one up or down.
        step = float(rng.choice([-1, 1])) * max(1.0, abs(float(rng.normal())) * width)
    else:
        step = float(rng.normal()) * width
    return _within(distribution, value + step)


def _within(distribution: IntDistribution | FloatDistribution, value: float) -> float | int:
    clipped = min(max(value, distribution.low), distribution.high)
    return round(clipped) if isinstance(distribution, IntDistribution) else float(clipped)
