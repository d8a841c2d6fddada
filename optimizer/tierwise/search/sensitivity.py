"""Prompt sensitivity (ProSA, arXiv 2410.12405): how much a score hangs on the paraphrase.

Per item S = the mean of |Y_i - Y_j| over all pairs of prompt variants; PSS is its mean over items.
For right and wrong alone, with k of m variants right, S = 2k(m-k) / (m(m-1)). Y is one sample here:
with many samples of each variant S is its expectation, and what two samples of the *same* prompt differ
by is reported beside it, since a sampled answer varies without any change of paraphrase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import SampleTable
from tierwise.schema import Variant
from tierwise.schema.result import PromptSensitivity, bounds, number
from tierwise.stats.intervals import bootstrap_mean
from tierwise.stats.rank import spearman

Floats = npt.NDArray[np.float64]


def item_sensitivity(variants: Sequence[Floats]) -> Floats:
    """(n_items,): S of each item; ``variants`` are (n_items, n_samples) scores in [0, 1].

    A graded score is taken at its samples: the mean of |a - b| over all pairs of samples of two
    variants.
    """
    pairs = [
        np.abs(a[:, :, None] - b[:, None, :]).mean(axis=(1, 2))
        for i, a in enumerate(variants)
        for b in variants[:i]
    ]
    return np.asarray(np.mean(pairs, axis=0), dtype=np.float64)


def by_chance(samples: Floats) -> Floats:
    """(n_items,): the mean of |a - b| over pairs of samples of one prompt; NaN with one sample."""
    n = samples.shape[1]
    if n < 2:
        return np.full(len(samples), np.nan)
    apart = np.abs(samples[:, :, None] - samples[:, None, :]).sum(axis=(1, 2))
    return np.asarray(apart / (n * (n - 1)), dtype=np.float64)


def sensitivities(
    table: SampleTable, families: Mapping[str, str] | None = None
) -> list[PromptSensitivity]:
    """PSS for each mode and temperature: over all prompts (``*``), and within each family.

    ``families``: prompt id -> family; paraphrases share one. Groups of one prompt are left out.
    """
    groups: dict[tuple[str, str, float], list[Variant]] = defaultdict(list)
    for variant in table.variants:
        for family in ("*", (families or {}).get(variant.prompt, "*")):
            group = groups[family, variant.mode, variant.temperature]
            group += [variant] if variant not in group else []
    return [
        _sensitivity(table, *key, variants) for key, variants in groups.items() if len(variants) > 1
    ]


def _sensitivity(
    table: SampleTable, family: str, mode: str, temperature: float, variants: Sequence[Variant]
) -> PromptSensitivity:
    scores = [table.variants[variant].score for variant in variants]
    each = item_sensitivity(scores)
    confidence = [
        table.variants[a].scores["mean_logprob"]
        for a in variants
        if "mean_logprob" in table.variants[a].scores
    ]
    related = (
        spearman(each, np.mean([np.nanmean(c, axis=1) for c in confidence], axis=0))
        if confidence and all(np.isfinite(c).any(axis=1).all() for c in confidence)
        else float("nan")
    )
    pss = bootstrap_mean(each, bounds=(0.0, 1.0))
    return PromptSensitivity(
        family=family,
        mode=mode,
        temperature=temperature,
        prompts=tuple(variant.prompt for variant in variants),
        pss=number(pss.mean),
        pss_ci95=bounds(pss),
        by_chance=number(float(np.mean([by_chance(s) for s in scores]))),
        spearman_with_confidence=number(related),
        mean_score=float(np.mean([s.mean() for s in scores])),
    )
