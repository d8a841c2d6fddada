"""Tiers of known slope: what more samples and thinking are worth is set, not learned."""

from __future__ import annotations

import numpy as np

from tierwise.evaluation import SampleTable, VariantTable
from tierwise.schema import Variant
from tierwise.schema.space import Range, SearchSpace

SPACE = SearchSpace(
    "votes",
    modes=("direct", "think"),
    strategies={"single": {}, "self_consistency": {"samples": Range(2, 9)}},
)
DIRECT = Variant("plain", "direct", 0.8)
THINK = Variant("steps", "think", 0.8)


def variant_table(
    chance: np.ndarray, samples: int, rng: np.random.Generator, wrongs: int = 1
) -> VariantTable:
    """Right with ``chance`` (n_items,); a wrong answer is one of ``wrongs``."""
    right = rng.random((len(chance), samples)) < chance[:, None]
    wrong = rng.integers(1, wrongs + 1, right.shape)
    usd = np.full(right.shape, 1e-6)
    return VariantTable(
        np.where(right, 0, wrong).astype(np.int16), right.astype(float), usd, usd, usd
    )


def tier(
    seed: int, *, share: float = 0.0, think: float = 0.0, n_items: int = 48, samples: int = 5
) -> SampleTable:
    """Two direct and two thinking variants.

    On ``share`` of the items a vote helps: they are right half of the time and wrong in many ways.
    On the others right and one wrong answer have chances that are symmetric over items, so that
    votes lose as often as they gain. ``think``: by how much thinking raises the chance of some.
    """
    rng = np.random.default_rng(seed)
    variants = {}
    for variant in (
        DIRECT,
        THINK,
        DIRECT._replace(temperature=0.3),
        THINK._replace(temperature=0.3),
    ):
        gains = rng.random(n_items) < share
        chance = np.where(gains, 0.5, rng.random(n_items))
        if variant.mode == "think":
            chance = np.minimum(1.0, chance + think)
        rows = variant_table(chance, samples, rng)
        many = variant_table(chance, samples, rng, wrongs=60)
        mixed = [
            np.where(gains[:, None], many_v, v)
            for many_v, v in ((many.answers, rows.answers), (many.score, rows.score))
        ]
        variants[variant] = VariantTable(
            *mixed, rows.prompt_usd, rows.completion_usd, rows.latency_s
        )
    inputs = tuple({"question": f"{i}"} for i in range(n_items))
    return SampleTable(tuple(map(str, range(n_items))), inputs, variants)
