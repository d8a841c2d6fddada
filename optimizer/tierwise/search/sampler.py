"""An Optuna sampler that improves policies part by part.

A policy is made of parts: how difficulty is told, and one recipe a bucket. Independent samplers
forget that parts are good together, and model-based ones are slow on conditional spaces (Optuna's
multivariate TPE asks about 17 times a second). This one takes the best policy for a random price of
a dollar, changes one or two of its parts (anew, by a small step, or by taking that part from
another good policy) and keeps the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

EXPLORE = 0.1
"""Share of trials that are all new."""


class PartwiseSampler(optuna.samplers.BaseSampler):
    """For a study of (score up, dollars down) over the parameters of ``search.parameters``.

    Each trial's randomness is a function of (seed, generation, trial number) alone, so that a study
    that is interrupted and resumed asks what it would have asked.
    """

    def __init__(self, seed: int, generation: int = 0, startup: int = 16) -> None:
        self._key, self._startup = (seed, generation), startup
        self._rng = np.random.default_rng(0)
        self._kept: Mapping[str, Any] = {}
        self._stepped: frozenset[str] = frozenset()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Choose a parent and the parts to change."""
        self._rng = np.random.default_rng([*self._key, trial.number])
        self._kept, self._stepped = {}, frozenset()
        done = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
                if t.values[0] == t.values[0]]  # fmt: skip
        if len(done) < self._startup or self._rng.random() < EXPLORE:
            return
        parent = self._best(done)
        kept = dict(parent.params)
        parts = sorted({_part(name) for name in kept})
        n = 1 if self._rng.random() < 0.6 else 2
        for part in self._rng.permutation(parts)[:n]:
            how = self._rng.random()
            mine = {name for name in kept if _part(name) == part}
            if how < 0.45:
                self._stepped |= {str(name) for name in mine}
            else:
                for name in mine:
                    del kept[name]
                if how < 0.75:
                    kept |= self._part_of_another(done, str(part))
        self._kept = kept

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
        """The parent's value, a step from it, or a new one."""
        value = self._kept.get(param_name)
        if value is None or not _holds(param_distribution, value):
            return _anew(self._rng, param_distribution)
        if param_name in self._stepped and self._rng.random() < 0.5:
            return _step(self._rng, param_distribution, value)
        return value

    def _best(self, done: Sequence[FrozenTrial]) -> FrozenTrial:
        score = np.array([t.values[0] for t in done])
        usd = np.array([t.values[1] for t in done])
        scale = (score.max() - score.min() or 1.0) / max(float(np.median(usd)), 1e-30)
        price = scale * 10 ** self._rng.uniform(-2.5, 1.0)
        return done[int(np.argmax(score - price * usd))]

    def _part_of_another(self, done: Sequence[FrozenTrial], part: str) -> dict[str, Any]:
        """A bucket's recipe from any bucket of another good policy, or its difficulty."""
        other = self._best(done)
        buckets = sorted({_part(n) for n in other.params if _part(n) != DIFFICULTY})
        source = part if part == DIFFICULTY else str(self._rng.choice(buckets))
        return {
            (name if part == DIFFICULTY else part + name[len(source):]): value
            for name, value in other.params.items() if _part(name) == source
        }  # fmt: skip


DIFFICULTY = "difficulty"


def _part(name: str) -> str:
    head = name.partition(".")[0]
    return head if head[:1] == "b" and head[1:].isdigit() else DIFFICULTY


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
        return _anew(rng, distribution)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    width = (distribution.high - distribution.low) * 0.15
    step = float(rng.normal()) * max(width, 1.0 if isinstance(distribution, IntDistribution) else 0)
    return _within(distribution, value + step)


def _within(distribution: IntDistribution | FloatDistribution, value: float) -> float | int:
    clipped = min(max(value, distribution.low), distribution.high)
    return round(clipped) if isinstance(distribution, IntDistribution) else float(clipped)
