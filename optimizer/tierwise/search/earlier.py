"""What a run's folder knows of an earlier study, made before the task got other prompts.

An Optuna study refuses new choices, and a front is read from one table. So when a prompt was added
and the same command is run again, the tier is searched in new generations: they count on from the
earlier ones, judge its front again as their first trials, and buy only what is new. The folder
keeps what they began from, so that a resumed or replayed run begins from the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise.errors import InputError
from tierwise.schema import Difficulty, Probe, PromptTemplate, Recipe, StrategySpec, Variant
from tierwise.search.parameters import Proposal

FILE = "studied.json"


@dataclass(frozen=True)
class Before:
    """What a tier's search begins from.

    Attributes:
        prompts: id -> hash of the messages, of the prompts that it may choose from.
        generations: how many there were.
        proposals: the front of the last of them.
    """

    prompts: Mapping[str, str] = field(default_factory=dict)
    study_rounds: int = 0
    proposals: tuple[Proposal, ...] = ()


def before(studied: Mapping[str, Any], tier: str, prompts: Mapping[str, PromptTemplate]) -> Before:
    """What the search over ``prompts`` begins from; ``studied`` is what the folder holds.

    Raises:
        InputError: a prompt has another text than it had: an id stands for a text for ever.
    """
    now = {name: _mark(prompt) for name, prompt in sorted(prompts.items())}
    known = studied.get(tier)
    if known is None:
        return Before(now)
    if known["prompts"] == now:
        began = known["before"]
        return Before(now, began["generations"], _read(began["front"]))
    for name, mark in known["prompts"].items():
        if now.get(name, mark) != mark:
            raise InputError(
                f"prompt {name!r} has another text than when this folder was tuned; a changed text "
                "is a new id (or begin anew with --fresh)"
            )
    return Before(now, known["generations"], _read(known["front"]))


def entry(began: Before, study_rounds: int, front: Sequence[Proposal]) -> dict[str, Any]:
    """What the folder keeps of a tier that was searched: for a later run, and for this one again.

    Signals that ask the model or were fitted belong to their study, and are left out.
    """
    return {
        "prompts": dict(began.prompts),
        "generations": study_rounds,
        "front": _written(front),
        "before": {"generations": began.study_rounds, "front": _written(began.proposals)},
    }


def _mark(prompt: PromptTemplate) -> str:
    text = json.dumps([list(message) for message in prompt.messages], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _written(front: Sequence[Proposal]) -> list[dict[str, Any]]:
    return [
        {
            "signal": p.difficulty.signal,
            "params": dict(p.difficulty.params),
            "probe": p.difficulty.probe
            and [_variants(p.difficulty.probe.variants), p.difficulty.probe.samples],
            "shares": list(p.shares),
            "buckets": [
                [_variants(recipe.variants), recipe.strategy.kind, dict(recipe.strategy.params)]
                for recipe in p.buckets
            ],
        }
        for p in front
        if not p.difficulty.weights
    ]


def _variants(variants: Sequence[Variant]) -> list[list[Any]]:
    return [
        [variant.prompt, variant.mode, variant.temperature, variant.tier] for variant in variants
    ]


def _read(front: Sequence[Mapping[str, Any]]) -> tuple[Proposal, ...]:
    return tuple(
        Proposal(
            Difficulty(
                one["signal"],
                params=tuple(sorted(one["params"].items())),
                probe=one["probe"] and Probe(_armed(one["probe"][0]), one["probe"][1]),
            ),
            tuple(one["shares"]),
            tuple(
                Recipe(_armed(variants), StrategySpec.of(kind, params))
                for variants, kind, params in one["buckets"]
            ),
        )
        for one in front
    )


def _armed(variants: Sequence[Sequence[Any]]) -> tuple[Variant, ...]:
    return tuple(Variant(*variant) for variant in variants)
