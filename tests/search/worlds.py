"""A small space over the variants of ``tests.evaluation.worlds``, and tables of known truth."""

from __future__ import annotations

import numpy as np

from tests.evaluation.worlds import ASKED, VARIANTS, WEIGHTS, random_table
from tierwise.difficulty import SIGNALS
from tierwise.evaluation import Evaluation, SampleTable, VariantTable
from tierwise.schema import Difficulty, Probe, Variant
from tierwise.schema.space import DifficultyChoice, Range, SearchSpace
from tierwise.search.space import Dimensions

SPACE = SearchSpace(
    "small",
    temperatures=(0.3, 0.8),
    variants=(1, 2),
    modes=("direct", "think"),
    strategies={
        "single": {},
        "self_consistency": {"samples": Range(2, 9, log=True)},
        "adaptive_consistency": {
            "threshold": Range(0.7, 0.99),
            "max_samples": Range(3, 9),
            "window": (1, 2),
        },
        "early_stopping": {"window": Range(2, 5), "max_samples": Range(3, 9)},
        "best_of_n": {"samples": Range(2, 9, log=True), "verifier": ("mean_logprob",)},
    },
    difficulty=DifficultyChoice(
        ("none", "length", "probe_agreement"), (1, 2, 3), probe_samples=Range(2, 4)
    ),
)
DIMS = Dimensions(SPACE, dict.fromkeys(VARIANTS, 9), logprobs=True)
EVERY = Dimensions(
    SPACE.with_difficulty(signals=tuple(SIGNALS), buckets=(1, 2, 3, 4, 5)),
    dict.fromkeys(VARIANTS, 9),
    True,
    scores=frozenset({"mean_logprob", "min_logprob", "game24"}),
    ready_signals={
        "self_rating": (Difficulty("self_rating", (), Probe((ASKED["rating"],), 1)),),
        "control_question": (
            Difficulty("control_question", (), Probe((ASKED["control_question"],), 1)),
        ),
        "router": (
            Difficulty("router", weights=WEIGHTS[0]),
            Difficulty("router", (), Probe((VARIANTS[0],), 2), weights=WEIGHTS[1]),
        ),
    },
)
"""Every signal, as a tier has them after its first stages, and up to five buckets."""


def table(seed: int = 0, n_items: int = 24, n_samples: int = 10) -> SampleTable:
    """A table of ``tests.evaluation.worlds``, its dollars around 1."""
    return random_table(seed, n_items, n_samples)


def coins(
    p: dict[Variant, np.ndarray],
    usd: dict[Variant, float],
    n_samples: int,
    *,
    seed: int = 0,
    lengths: np.ndarray | None = None,
) -> SampleTable:
    """Variants right on item i with probability ``p[variant][i]``; a wrong answer is its own."""
    rng = np.random.default_rng(seed)
    n_items = len(next(iter(p.values())))
    variants = {}
    for variant, chance in p.items():
        right = rng.random((n_items, n_samples)) < chance[:, None]
        wrong = rng.integers(1, 30, right.shape)
        variants[variant] = VariantTable(
            answers=np.where(right, 0, wrong).astype(np.int16),
            score=right.astype(float),
            prompt_usd=np.full(right.shape, usd[variant] / 2),
            completion_usd=np.full(right.shape, usd[variant] / 2),
            latency_s=np.ones(right.shape),
            scores={"mean_logprob": right - rng.random(right.shape)},
        )
    lengths = np.arange(1, n_items + 1) if lengths is None else lengths
    inputs = tuple({"question": "word " * int(n)} for n in lengths)
    return SampleTable(tuple(f"i{k}" for k in range(n_items)), inputs, variants)


def judged(score: np.ndarray, usd: np.ndarray | float, shares: tuple[float, ...] = (1.0,)):
    """An evaluation with these scores and dollars an item."""
    score = np.asarray(score, dtype=float)
    flat = np.ones(len(score))
    return Evaluation(score, flat * usd, flat, flat, shares)
