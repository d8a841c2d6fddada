"""A small space over the arms of ``tests.evaluation.worlds``, and tables where truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.evaluation.worlds import ARMS, ASKED, WEIGHTS, random_table
from tierwise.difficulty import SIGNALS
from tierwise.evaluation import ArmTable, Evaluation, SampleTable
from tierwise.recipe import Arm, Difficulty, Probe
from tierwise.recipe.space import Range, SearchSpace
from tierwise.search.parameters import Dimensions

SPACE = SearchSpace(
    "small",
    temperatures=(0.3, 0.8),
    arms=(1, 2),
    modes=("direct", "think"),
    strategies={
        "single": {},
        "self_consistency": {"draws": Range(2, 9, log=True, whole=True)},
        "adaptive_consistency": {
            "threshold": Range(0.7, 0.99),
            "max_draws": Range(3, 9, whole=True),
            "window": (1, 2),
        },
        "early_stopping": {
            "window": Range(2, 5, whole=True),
            "max_draws": Range(3, 9, whole=True),
        },
        "best_of_n": {
            "draws": Range(2, 9, log=True, whole=True),
            "verifier": ("mean_logprob",),
        },
    },
    signals=("none", "length", "probe_agreement"),
    buckets=(1, 2, 3),
    probe_draws=Range(2, 4, whole=True),
)
DIMS = Dimensions(SPACE, ARMS, logprobs=True, max_draws=9)
EVERY = Dimensions(
    replace(SPACE, signals=tuple(SIGNALS), buckets=(1, 2, 3, 4, 5)), ARMS, True, 9,
    scores=frozenset({"mean_logprob", "min_logprob", "game24"}),
    told={
        "self_rating": (Difficulty("self_rating", (), Probe((ASKED["rating"],), 1)),),
        "control_question": (
            Difficulty("control_question", (), Probe((ASKED["control_question"],), 1)),
        ),
        "router": (
            Difficulty("router", weights=WEIGHTS[0]),
            Difficulty("router", (), Probe((ARMS[0],), 2), weights=WEIGHTS[1]),
        ),
    },
)  # fmt: skip
"""Every signal, as a tier has them after its first stages, and up to five buckets."""


def table(seed: int = 0, n_items: int = 24, depth: int = 10) -> SampleTable:
    """A table of ``tests.evaluation.worlds``, its dollars around 1."""
    return random_table(seed, n_items, depth)


def coins(
    p: dict[Arm, np.ndarray], usd: dict[Arm, float], depth: int, *, seed: int = 0,
    lengths: np.ndarray | None = None,
) -> SampleTable:  # fmt: skip
    """Arms that are right on item i with probability ``p[arm][i]``; a wrong answer is its own."""
    rng = np.random.default_rng(seed)
    n_items = len(next(iter(p.values())))
    arms = {}
    for arm, chance in p.items():
        right = rng.random((n_items, depth)) < chance[:, None]
        wrong = rng.integers(1, 30, right.shape)
        arms[arm] = ArmTable(
            answers=np.where(right, 0, wrong).astype(np.int16),
            score=right.astype(float),
            prompt_usd=np.full(right.shape, usd[arm] / 2),
            completion_usd=np.full(right.shape, usd[arm] / 2),
            latency_s=np.ones(right.shape),
            scores={"mean_logprob": right - rng.random(right.shape)},
        )
    lengths = np.arange(1, n_items + 1) if lengths is None else lengths
    inputs = tuple({"question": "word " * int(n)} for n in lengths)
    return SampleTable(tuple(f"i{k}" for k in range(n_items)), inputs, arms)


def judged(score: np.ndarray, usd: np.ndarray | float, shares: tuple[float, ...] = (1.0,)):
    """An evaluation with these scores and dollars an item."""
    score = np.asarray(score, dtype=float)
    flat = np.ones(len(score))
    return Evaluation(score, flat * usd, flat, flat, shares)
