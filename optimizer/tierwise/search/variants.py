"""The variants that a study may choose from: prompts x modes x temperatures that fit a tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tierwise.errors import InputError
from tierwise.schema import PromptTemplate, Tier, Variant, substitute
from tierwise.schema.space import SearchSpace
from tierwise.tasks import Item, Task


@dataclass(frozen=True)
class Variants:
    """Candidate variants in a stable order, with the exact prompts behind them.

    ``baseline`` is the prompt and mode in use today. ``asking``: signal -> the variants by which it
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
    modes = [mode for mode in space.modes if mode in tier.modes]
    if not modes:
        raise InputError(
            f"tier {tier.name!r} has the modes {', '.join(tier.modes)}, and the space "
            f"{space.name!r} searches {', '.join(space.modes)}: none is in both"
        )
    found: dict[str, PromptTemplate] = {}
    variants: list[Variant] = []
    for prompt in prompts:
        for mode in modes:
            if prompt.modes and mode not in prompt.modes:
                continue
            for paraphrase in prompt.variants()[: 1 + space.paraphrases]:
                shown = _with_demonstrations(paraphrase, mode, task, space.demos)
                found |= {one.id: one for one in shown}
                variants += [Variant(one.id, mode, t) for one in shown for t in space.temperatures]
    if not variants:
        raise InputError(f"no prompt fits the modes {', '.join(modes)} of tier {tier.name!r}")
    own_modes = [m for m in modes if not baseline.modes or m in baseline.modes] or modes
    today = Variant(baseline.id, own_modes[0], space.temperatures[0])
    found.setdefault(baseline.id, baseline)
    return Variants(found, tuple(dict.fromkeys((today, *variants))), today)


def _with_demonstrations(
    prompt: PromptTemplate, mode: str, task: Task, counts: Sequence[int]
) -> list[PromptTemplate]:
    shown = [prompt] if 0 in counts or mode not in task.demonstration else []
    if mode in task.demonstration:
        for k in counts:
            if k > 0:
                pairs = [_demonstration(task, item, mode) for item in _shown_items(task, k)]
                shown.append(
                    replace(prompt.with_demonstrations(pairs), id=f"{prompt.id}+{k}.{mode}")
                )
    return shown


def _shown_items(task: Task, k: int) -> list[Item]:
    return sorted(task.splits["train"], key=lambda item: item.content_sha256)[:k]


def _demonstration(task: Task, item: Item, mode: str) -> tuple[Mapping[str, str], str]:
    fields = {**item.inputs, "target": item.target}
    return item.inputs, substitute(task.demonstration[mode], fields)
