"""What difficulty signals ask a model about a task: the variants for it, and the paraphrase that is kept.

These variants are no candidates for an answer. Each paraphrase is asked once an item, at temperature 0, in
a mode of its own that leaves room for one word; the screening keeps the paraphrase that tells best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tierwise.difficulty import asking, turn_of
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Difficulty, Probe, PromptTemplate, Tier, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.search_size import token_cap
from tierwise.stats.rank import auroc

MODE = "ask"
MOST_TOKENS = 16
"""Of a reply: one word or digit, and what a chat template puts around it."""
SAMPLES = 1

_REASONS = ("reasoning_effort", "thinking", "reasoning")


def with_mode_to_ask(tier: Tier, space: SearchSpace) -> Tier:
    """``tier`` with the mode ``ask``, where a signal of the space needs it: its shortest, cut."""
    shared = [mode for mode in space.modes if mode in tier.modes]
    if not asking(space.signals) or not shared:
        return tier
    sends = dict(tier.modes[min(shared, key=lambda mode: token_cap(tier.modes[mode]))])
    sends.pop("suffix", None)
    thinks = any(sends.get(name) not in (None, "none") for name in _REASONS)
    for cap in ("max_tokens", "max_completion_tokens"):
        if cap in sends and not thinks:  # a model that reasons needs room for it
            sends[cap] = min(int(token_cap(sends)), MOST_TOKENS)
    return replace(tier, modes={**tier.modes, MODE: sends})


def asking_variants(
    prompts: Sequence[PromptTemplate], signals: Sequence[str]
) -> tuple[dict[str, PromptTemplate], dict[str, tuple[Variant, ...]]]:
    """Every paraphrase by id, and signal -> its variants."""
    paraphrases = {w.id: w for prompt in prompts for w in prompt.variants()}
    variants = {
        kind: tuple(Variant(w.id, MODE, 0.0) for w in paraphrases.values() if w.turn == turn)
        for kind, turn in asking(signals).items()
    }
    return paraphrases, variants


def told(
    table: SampleTable, variants: Mapping[str, Sequence[Variant]]
) -> dict[str, tuple[Difficulty]]:
    """Signal -> how it is told by the paraphrase that orders the items best by their mean score.

    A signal that says the same of all items is left out. ``table`` has the answers too.
    """
    success = np.mean([rows.score.mean(axis=1) for rows in table.variants.values()], axis=0)
    easier = success >= np.median(success)
    if easier.all():
        easier = success > np.median(success)
    evaluator = Evaluator(table, Permutations(1, shuffled=False))
    found: dict[str, tuple[Difficulty]] = {}
    for kind, paraphrases in variants.items():
        ways = [Difficulty(kind, (), Probe((variant,), SAMPLES)) for variant in paraphrases]
        values = [np.nan_to_num(evaluator.signal(way), neginf=-1e9) for way in ways]
        tells = [
            (area if (area := auroc(v, easier)) == area else 0.5) if len(np.unique(v)) > 1 else 0.0
            for v in values
        ]
        if max(tells, default=0.0) > 0:
            found[kind] = (ways[int(np.argmax(tells))],)
    return found


def asked_of(told: Mapping[str, Sequence[Difficulty]]) -> dict[Variant, int]:
    """Variant -> samples an item that these ways to tell ask for, beside any answers."""
    return {
        variant: way.probe.samples
        for kind, ways in told.items()
        if kind in asking((kind,))
        for way in ways
        if way.probe
        for variant in way.probe.variants
    }


def watched(told: Mapping[str, Sequence[Difficulty]]) -> tuple[Variant, ...]:
    """Variants of answers whose first samples a fitted signal sees, which must stay in the race."""
    return tuple(
        dict.fromkeys(
            variant
            for kind, ways in told.items()
            if not asking((kind,))
            for way in ways
            if way.probe
            for variant in way.probe.variants
        )
    )


def turns_of(variants: Mapping[str, Sequence[Variant]]) -> dict[Variant, str]:
    """Variant -> the turn that it asks in."""
    return {variant: turn_of(kind) for kind, of_kind in variants.items() for variant in of_kind}
