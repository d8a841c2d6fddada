"""Random tables and policies to compare the two evaluations on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tierwise.difficulty import parameter_settings, signal_of, turn_of
from tierwise.evaluation import SampleTable, VariantTable
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, Variant, Weight

VARIANTS = (
    Variant("plain", "direct", 0.8),
    Variant("steps", "think", 0.8),
    Variant("totals", "think", 0.3),
)
ASKED = {
    "rating": Variant("rate", "direct", 0.0),
    "control_question": Variant("ask", "direct", 0.0),
}
WEIGHTS = (
    (Weight("intercept", 0.3), Weight("words", 1.5, 5.0, 2.0)),
    (Weight("words", 1.0, 5.0, 2.0), Weight("probe_confidence", -0.9, -1.0, 0.7)),
)


def random_table(
    seed: int, n_items: int = 12, n_samples: int = 14, missing: bool = False
) -> SampleTable:
    rng = np.random.default_rng(seed)
    variants = {}
    gold = rng.integers(0, 4, n_items)
    for i, variant in enumerate(VARIANTS):
        answers = rng.integers(-1, 4, (n_items, n_samples)).astype(np.int16)
        right = rng.random((n_items, n_samples)) < rng.random((n_items, 1))
        answers = np.where(right, gold[:, None], answers).astype(np.int16)
        logprob = np.round(-rng.exponential(1.0, answers.shape), 1)
        logprob[rng.random(answers.shape) < 0.1] = np.nan
        score = (answers == gold[:, None]).astype(float)
        if missing:
            score[0, 0] = np.nan
        variants[variant] = VariantTable(
            answers=answers,
            score=score,
            prompt_usd=np.repeat(rng.random((n_items, 1)), n_samples, axis=1),
            completion_usd=rng.random(answers.shape),
            latency_s=rng.random(answers.shape),
            scores={"mean_logprob": logprob, "min_logprob": 2 * logprob, "game24": score * 0.5},
            takes_n=i != 1,
        )
    inputs = tuple({"question": "word " * int(rng.integers(1, 9))} for _ in range(n_items))
    asked = {variant: replies(turn, n_items, rng) for turn, variant in ASKED.items()}
    return SampleTable(tuple(f"i{k}" for k in range(n_items)), inputs, variants, asked)


def replies(turn: str, n_items: int, rng: np.random.Generator, n_samples: int = 4) -> VariantTable:
    """What a model says when it is asked about the task: mostly a score, never an answer."""
    shape = (n_items, n_samples)
    said = rng.integers(1, 6, shape) if turn == "rating" else rng.random(shape)
    said = np.where(rng.random(shape) < 0.1, np.nan, said)
    return VariantTable(
        answers=np.full(shape, -1, dtype=np.int16),
        score=np.zeros(shape),
        prompt_usd=np.repeat(rng.random((n_items, 1)), n_samples, axis=1),
        completion_usd=rng.random(shape),
        latency_s=rng.random(shape),
        scores={turn: said},
    )


def random_strategies(rng: np.random.Generator, cap: int = 9) -> list[StrategySpec]:
    """One of each kind that needs no turns and no stages."""
    n = int(rng.integers(1, cap + 1))
    window = int(rng.integers(1, 5))
    return [
        StrategySpec.of("single"),
        StrategySpec.of("self_consistency", samples=n),
        StrategySpec.of("self_consistency", samples=n, window=window),
        StrategySpec.of(
            "adaptive_consistency",
            threshold=float(rng.uniform(0.6, 0.99)),
            max_samples=n,
            window=window,
        ),
        StrategySpec.of("early_stopping", window=min(window, n), max_samples=n),
        StrategySpec.of("best_of_n", samples=n),
        StrategySpec.of("best_of_n", samples=n, stop_at=float(rng.choice([-1.0, -0.3, 0.0]))),
        StrategySpec.of("weighted_consistency", samples=n),
    ]


def random_strategy(rng: np.random.Generator, cap: int = 9) -> StrategySpec:
    return random_strategies(rng, cap)[int(rng.integers(8))]


def random_cascade(rng: np.random.Generator, n_variants: int) -> StrategySpec:
    """One to three stages over some of the variants, with and without weights and confidence."""
    stages = []
    for _ in range(int(rng.integers(1, 4))):
        mine = rng.permutation(n_variants)[: int(rng.integers(1, n_variants + 1))]
        confidence = -float(rng.random()) if rng.random() < 0.4 else None
        share = float(rng.choice([0.34, 0.5, 0.75, 1.0]))
        stages.append((tuple(int(v) for v in mine), int(rng.integers(1, 5)), share, confidence))
    weights = tuple(float(w) for w in rng.choice([0.3, 0.9, 1.7], n_variants))
    return StrategySpec.of(
        "cascade", stages=tuple(stages), weights=weights if rng.random() < 0.6 else ()
    )


def random_recipe(rng: np.random.Generator) -> Recipe:
    n_variants = int(rng.integers(1, 4))
    variants = tuple(VARIANTS[i] for i in rng.permutation(3)[:n_variants])
    if rng.random() < 0.25:
        return Recipe(variants, random_cascade(rng, n_variants))
    return Recipe(variants, random_strategy(rng))


def random_probe(rng: np.random.Generator, variants: Sequence[Variant]) -> Probe:
    """One to four samples of one variant, or interleaved over two or three."""
    n_variants = int(rng.integers(1, 4))
    chosen = tuple(variants[i] for i in rng.permutation(len(variants))[:n_variants])
    return Probe(chosen, n_variants + int(rng.integers(5 - n_variants)))


CUTS = {
    "none": (0.0, 1.0),
    "length": (-8.5, -1.5),
    "probe_agreement": (0.1, 0.95),
    "probe_confidence": (-2.0, -0.2),
    "verifier_score": (0.05, 0.45),
    "self_rating": (1.2, 4.8),
    "control_question": (0.1, 0.9),
    "router": (0.2, 0.8),
}


def random_difficulty(rng: np.random.Generator, kind: str) -> Difficulty:
    """One of the ways to tell by this signal, not cut yet."""
    settings = [s for s in parameter_settings(kind) if s.get("verifier", "game24") == "game24"]
    params = tuple(settings[int(rng.integers(len(settings)))].items())
    weights = WEIGHTS[int(rng.integers(2))] if kind == "router" else ()
    difficulty = Difficulty(kind, (), None, params, weights)
    if not signal_of(difficulty).probes:
        return difficulty
    asked = ASKED.get(turn_of(kind))
    probe = Probe((asked,), int(rng.integers(1, 5))) if asked else random_probe(rng, VARIANTS)
    return replace(difficulty, probe=probe)


def random_policy(rng: np.random.Generator, kind: str | None = None) -> Policy:
    kind = kind or str(rng.choice(sorted(CUTS)))
    n_buckets = 1 if kind == "none" else int(rng.integers(1, 6))
    difficulty = random_difficulty(rng, kind)
    cuts = np.sort(rng.uniform(*CUTS[kind], n_buckets - 1))[::-1]
    return Policy(
        buckets=tuple(random_recipe(rng) for _ in range(n_buckets)),
        difficulty=replace(difficulty, thresholds=tuple(float(c) for c in cuts)),
    )
