"""Does a technique help on this tier? Every prompt against the baseline prompt, in pairs.

After Kusano et al. (arXiv 2507.13525), who find that what helps cheap models often lowers strong
ones. A prompt is judged by the mean over its paraphrases, not by its luckiest one. It is compared with
the baseline prompt in the same mode and at the same temperatures, on the same items and samples; the
baseline prompt in another mode is compared with today's, so that the gain of the mode and that of
the words are two lines. The p-values of one table are corrected together (Holm).
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import SampleTable
from tierwise.schema import Variant
from tierwise.schema.result import Technique, bounds
from tierwise.stats.comparisons import PairedBootstrap, holm

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
_PARAPHRASE = re.compile(r"~\d+")


def first_paraphrase(prompt: str) -> str:
    """The prompt that ``prompt`` is a paraphrase of; ``steps~2+2.think`` is ``steps+2.think``."""
    return _PARAPHRASE.sub("", prompt)


def techniques(
    table: SampleTable, baseline: Variant, families: Mapping[str, str] | None = None
) -> list[Technique]:
    """Every prompt and mode of ``table`` but the baseline, the largest gain first.

    Args:
        table: one sample or more of every variant; items without a sample of both sides are left out.
        baseline: the prompt and mode in use today, one of the table's variants.
        families: prompt -> family; left out: the prompt itself.
    """
    groups: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for variant in table.variants:
        groups[first_paraphrase(variant.prompt), variant.mode].append(variant)
    own = first_paraphrase(baseline.prompt), baseline.mode
    found, paired = [], functools.cache(PairedBootstrap)
    for (prompt, mode), variants in groups.items():
        others = _other(table, prompt, mode, variants, baseline)
        if (prompt, mode) != own and (compared := _compared(table, variants, others, paired)):
            family = (families or {}).get(variants[0].prompt, prompt)
            found.append(replace(compared, family=family))
    adjusted = holm([one.p for one in found]).adjusted
    judged = [_judged(t, float(p)) for t, p in zip(found, adjusted, strict=True)]
    return sorted(judged, key=lambda t: (-t.difference, t.prompt, t.mode))


def _judged(technique: Technique, adjusted_p: float) -> Technique:
    if adjusted_p > ALPHA:
        return replace(technique, adjusted_p=adjusted_p)
    verdict: Literal["helps", "hurts"] = "helps" if technique.difference > 0 else "hurts"
    return replace(technique, adjusted_p=adjusted_p, verdict=verdict)


def _other(
    table: SampleTable, prompt: str, mode: str, variants: Sequence[Variant], baseline: Variant
) -> list[Variant]:
    """What a prompt in a mode is compared with; see the module."""
    if prompt == first_paraphrase(baseline.prompt):
        return [baseline]
    temperatures = {variant.temperature for variant in variants}
    same = [
        variant
        for variant in table.variants
        if (variant.prompt, variant.mode) == (baseline.prompt, mode)
        and variant.temperature in temperatures
    ]
    return same or [baseline]


def _compared(
    table: SampleTable,
    variants: Sequence[Variant],
    others: Sequence[Variant],
    paired_over: Callable[[int], PairedBootstrap],
) -> Technique | None:
    """The comparison, without a correction; None with fewer than two items."""
    samples = min(table.variants[variant].n_samples for variant in (*variants, *others))
    mine, theirs = (
        np.array([table.variants[a].score[:, :samples].mean(axis=1) for a in group])
        for group in (variants, others)
    )
    known = ~np.isnan(np.vstack([mine, theirs])).any(axis=0)
    n = int(known.sum())
    if n < 2:
        return None
    ours, against = mine[:, known].mean(axis=0), theirs[:, known].mean(axis=0)
    paraphrases = tuple(dict.fromkeys(variant.prompt for variant in variants))
    by_paraphrase = [
        float(mine[[variant.prompt == paraphrase for variant in variants]][:, known].mean())
        for paraphrase in paraphrases
    ]
    paired = paired_over(n)
    difference = paired.difference(ours, against)
    p = min(1.0, 2 * min(paired.p_value(ours, against), paired.p_value(against, ours)))
    return Technique(
        prompt=first_paraphrase(variants[0].prompt),
        family="",
        mode=variants[0].mode,
        paraphrases=paraphrases,
        against=" + ".join(variant.label for variant in others),
        items=n,
        score=float(ours.mean()),
        against_score=float(against.mean()),
        difference=difference.mean,
        difference_ci95=bounds(difference),
        worst_paraphrase=min(by_paraphrase),
        best_paraphrase=max(by_paraphrase),
        cost_ratio=_usd(table, variants, known) / max(_usd(table, others, known), 1e-30),
        p=p,
        adjusted_p=p,
        verdict="not shown",
    )


def _usd(table: SampleTable, variants: Sequence[Variant], known: npt.NDArray[np.bool_]) -> float:
    """Dollars of one sample in a call of its own."""
    rows = [table.variants[variant] for variant in variants]
    return float(np.mean([(r.prompt_usd[:, 0] + r.completion_usd[:, 0])[known] for r in rows]))
