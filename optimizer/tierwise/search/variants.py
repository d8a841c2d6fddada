"""The variants that a study may choose from: prompts x modes x temperatures that fit a tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tierwise.difficulty import asking
from tierwise.errors import InputError
from tierwise.llm.models import temperatures_of
from tierwise.schema import PromptTemplate, Tier, Variant, substitute
from tierwise.schema.space import SearchSpace
from tierwise.schema.tier import mode_fits
from tierwise.tasks import Item, Task

ASK_MODE = "ask"
"""The mode in which self-report signals ask: it leaves room for one word."""

MOST_TOKENS = 16
"""Of a reply: one word or digit, and what a chat template puts around it."""

_REASONS = ("reasoning_effort", "thinking", "reasoning")


@dataclass(frozen=True)
class Variants:
    """Candidate variants in a stable order, with the exact prompts behind them.

    ``baseline`` is the baseline prompt in its mode. ``asking``: signal -> the variants by which it
    asks the model about the task; no candidates, since their completions are no answers.
    """

    prompts: Mapping[str, PromptTemplate]
    candidates: tuple[Variant, ...]
    baseline: Variant
    asking: Mapping[str, tuple[Variant, ...]] = field(default_factory=dict)


def candidate_variants(
    task: Task,
    tier: Tier,
    space: SearchSpace,
    prompts: Sequence[PromptTemplate],
    baseline: PromptTemplate,
) -> Variants:
    """Every variant of ``space`` that ``tier`` has the mode for.

    Paraphrases become prompts ``id~1`` …, demonstrations ``id+2.mode``. The baseline is
    ``baseline`` in its first mode at the space's first temperature, whether or not the space has
    it.

    Raises:
        InputError: no prompt fits a mode that the tier and the space share.
    """
    modes = [mode for mode in tier.modes if mode_fits(mode, space.modes)]
    if not modes:
        raise InputError(
            f"tier {tier.name!r} has the modes {', '.join(tier.modes)}, and the space "
            f"{space.name!r} searches {', '.join(space.modes)}: none is in both"
        )
    found: dict[str, PromptTemplate] = {}
    variants: list[Variant] = []
    for prompt in prompts:
        for mode in modes:
            if prompt.modes and not mode_fits(mode, prompt.modes):
                continue
            for paraphrase in prompt.variants()[: 1 + space.prompts.paraphrases]:
                shown = _with_demonstrations(paraphrase, mode, task, space.prompts.demos)
                found |= {one.id: one for one in shown}
                at = temperatures_of(tier, mode, space.temperatures)
                variants += [Variant(one.id, mode, t) for one in shown for t in at]
    if not variants:
        raise InputError(f"no prompt fits the modes {', '.join(modes)} of tier {tier.name!r}")
    own_modes = [m for m in modes if not baseline.modes or mode_fits(m, baseline.modes)] or modes
    first = temperatures_of(tier, own_modes[0], space.temperatures[:1])[0]
    baseline_variant = Variant(baseline.id, own_modes[0], first)
    found.setdefault(baseline.id, baseline)
    return Variants(found, tuple(dict.fromkeys((baseline_variant, *variants))), baseline_variant)


def _with_demonstrations(
    prompt: PromptTemplate, mode: str, task: Task, counts: Sequence[int]
) -> list[PromptTemplate]:
    kind = mode if mode in task.demonstration else mode.partition("-")[0]
    shown = [prompt] if 0 in counts or kind not in task.demonstration else []
    if kind in task.demonstration:
        for k in counts:
            if k > 0 and len(_shown_items(task, k)) == k:
                pairs = [_demonstration(task, item, kind) for item in _shown_items(task, k)]
                shown.append(
                    replace(prompt.with_demonstrations(pairs), id=f"{prompt.id}+{k}.{kind}")
                )
    return shown


def _shown_items(task: Task, k: int) -> list[Item]:
    told = (item for item in task.splits["train"] if item.target)
    return sorted(told, key=lambda item: item.content_sha256)[:k]


def _demonstration(task: Task, item: Item, mode: str) -> tuple[Mapping[str, str], str]:
    fields = {**item.inputs, "target": item.target}
    return item.inputs, substitute(task.demonstration[mode], fields)


# Prompts that ask the model about the task, for self-report signals


def with_mode_to_ask(tier: Tier, space: SearchSpace) -> Tier:
    """``tier`` with the mode ``ask``, where a signal of the space needs it: its shortest, cut."""
    shared = [mode for mode in tier.modes if mode_fits(mode, space.modes)]
    if not asking(space.signals) or not shared:
        return tier
    sends = dict(tier.modes[min(shared, key=lambda mode: token_cap(tier.modes[mode]))])
    sends.pop("suffix", None)
    thinks = any(sends.get(name) not in (None, "none") for name in _REASONS)
    for cap in ("max_tokens", "max_completion_tokens"):
        if cap in sends and not thinks:  # a model that reasons needs room for it
            sends[cap] = min(int(token_cap(sends)), MOST_TOKENS)
    return replace(tier, modes={**tier.modes, ASK_MODE: sends})


def asking_variants(
    prompts: Sequence[PromptTemplate], signals: Sequence[str]
) -> tuple[dict[str, PromptTemplate], dict[str, tuple[Variant, ...]]]:
    """Every paraphrase by id, and signal -> its variants."""
    paraphrases = {w.id: w for prompt in prompts for w in prompt.variants()}
    variants = {
        kind: tuple(Variant(w.id, ASK_MODE, 0.0) for w in paraphrases.values() if w.turn == turn)
        for kind, turn in asking(signals).items()
    }
    return paraphrases, variants


def token_cap(sends: Mapping[str, object]) -> float:
    """The most tokens of a completion that a mode allows; 1,024 where it does not say."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = sends.get(name)
        if isinstance(value, int):
            return float(value)
    return 1024.0
