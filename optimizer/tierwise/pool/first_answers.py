"""What the answers of a tier show beside their scores: patterns that read nothing, caps that cut
answers, items that the provider refuses.

The first samples are read before the rest is bought, so that a wrong answer pattern costs what 20
samples cost. What is said of cuts and refusals is counted from the pool, the same in a replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierwise.errors import InputError
from tierwise.evaluation import SampleTable
from tierwise.evaluation.table import ABSTAINED, VariantTable
from tierwise.llm import UNFINISHED
from tierwise.llm.base import CAPS
from tierwise.pool.calls import Need
from tierwise.pool.reading import PoolReader
from tierwise.pool.store import SamplePool
from tierwise.schema import Tier, Usage, Variant
from tierwise.tasks import RECORDED, AnswerSpec, Item, Task

FIRST_SAMPLES = 20
"""Samples that are read before more are bought."""
MOST_FIRST = 24
"""As many where the samples of an item are not divided otherwise."""
ENOUGH_READ = 16
"""Of these, as many that were not cut say whether the pattern reads what the model says."""
UNREADABLE = 0.95
"""The share of unreadable answers from which on the pattern is wrong."""
SAID_FROM, SAID_AT_ONCE = 0.1, 0.3
"""The share of a mode's samples that were cut, or whose tokens were estimated, that is said; of the
first samples it takes more."""
FEWEST_SAID = 10
FEWEST_WRONG = 8
"""Items without any score from which on it is said that none is right."""
SHOWN_TEXTS, SHOWN_CHARS = 3, 160


class Remark(NamedTuple):
    """A sentence about a tier's samples, and the part of the run that it is about."""

    about: str
    text: str


def first_needs(needs: Mapping[Variant, Sequence[Need]], prompts: int) -> list[Need]:
    """``FIRST_SAMPLES`` samples, or few more, of two prompts item by item, or of the only one.

    None where ``needs``, those of each variant that answers the task, are of one of several
    ``prompts``. Of many samples an item only the first are taken. Paraphrases are one prompt.
    """
    of_prompt: dict[str, Variant] = {}
    for variant in needs:
        of_prompt.setdefault(base_of(variant.prompt), variant)
    chosen = list(of_prompt.values())[:2]
    if len(chosen) < min(prompts, 2):
        return []
    first: list[Need] = []
    bought = 0
    for both in zip(*(needs[variant] for variant in chosen), strict=False):
        for need in both:
            samples = min(need.samples, FIRST_SAMPLES // len(chosen), MOST_FIRST - bought)
            first += [need._replace(samples=samples)] if samples > 0 else []
            bought += max(samples, 0)
        if bought >= FIRST_SAMPLES:
            break
    return first


def base_of(prompt: str) -> str:
    """The prompt that a paraphrase is one of: ``steps`` for ``steps~2``."""
    return prompt.partition("~")[0]


def check_readable(pool: SamplePool, needs: Iterable[Need], task: Task, tier: str) -> bool:
    """Whether enough answers were not cut to tell that the task's answer pattern reads some.

    A recording's own score needs no pattern.

    Raises:
        InputError: it reads next to none of them.
    """
    if task.metric == RECORDED:
        return True
    read = 0
    unread: list[str] = []
    for need in needs:
        for _, _, text, *_, end in pool.samples([need.request.key], need.first, need.samples):
            if end in UNFINISHED:
                continue
            if task.answer.extract(text) is None:
                unread.append(text)
            else:
                read += 1
    total = read + len(unread)
    if total < ENOUGH_READ:
        return False
    if len(unread) < UNREADABLE * total:
        return True
    shown = "\n".join(f"  {_shown(text)}" for text in _spread(unread))
    raise InputError(
        f"{len(unread)} of the first {total} answers of tier {tier!r} that were not cut cannot be "
        f"read as answers of task {task.name!r}: {_pattern(task.answer)}. It was said, for "
        "instance:\n"
        f"{shown}\n"
        "mend answer in the task (or what the prompts ask for) and run the same command again: "
        "nothing is bought twice"
    )


def _spread(texts: Sequence[str]) -> list[str]:
    """A few different ones, from all over."""
    different = list(dict.fromkeys(texts))
    step = max(1, len(different) // SHOWN_TEXTS)
    return different[::step][:SHOWN_TEXTS]


def _shown(text: str) -> str:
    """The end of a text, where an answer is looked for."""
    line = repr(text.strip())
    return line if len(line) <= SHOWN_CHARS else f"…{line[-SHOWN_CHARS:]}"


def _pattern(answer: AnswerSpec) -> str:
    shown = " | ".join(map(repr, answer.patterns))
    pattern = f"answer.extract {shown}" if shown else "the whole text"
    return f"{pattern} (take {answer.take}, normalise {answer.normalise})"


def with_refused(
    table: SampleTable,
    failed: Mapping[Variant, NDArray[np.bool_]],
    counts: Mapping[Variant, NDArray[np.intp]] | None = None,
    answered: Collection[str] = (),
) -> tuple[SampleTable, set[str], set[str]]:
    """``table`` with the samples that failed for good as abstentions of score 0 and no cost.

    Else a prompt that overflows the context would erase its own failures, and of chains that were
    broken off only those that ended early would count. An item that failed under every variant that
    it was asked under stays as it is, without samples.

    Args:
        table: of ``(n_items, n_samples)`` a variant, NaN where there is no sample.
        failed: variants (all) and nodes (some) of the table -> which samples failed for good.
        counts: each variant -> how many samples of each item it was asked for; None: of all.
        answered: ids of items that some variant, which may be another, has answered before.

    Returns:
        The table; ids of the items that failed under every variant; of those under some.
    """
    none, some = np.ones(table.n_items, np.bool_), np.zeros(table.n_items, np.bool_)
    for variant, lost in failed.items():
        if variant in table.variants:
            gone = np.isnan(table.variants[variant].score).all(axis=1) & lost.any(axis=1)
            none &= gone if counts is None else gone | (counts[variant] == 0)
        some |= lost.any(axis=1)
    none &= some & np.array([item not in answered for item in table.item_ids], np.bool_)
    some &= ~none

    def filled(of: Mapping[Variant, VariantTable]) -> dict[Variant, VariantTable]:
        return {
            variant: _unanswered(variant, rows, failed[variant] & some[:, None])
            if variant in failed
            else rows
            for variant, rows in of.items()
        }

    left_out, few = ([table.item_ids[i] for i in np.flatnonzero(which)] for which in (none, some))
    variants, nodes = filled(table.variants), filled(table.nodes)
    table = replace(table, variants=variants, nodes=nodes, left_out=tuple(left_out))
    return table, set(left_out), set(few)


def _unanswered(variant: Variant, rows: VariantTable, here: NDArray[np.bool_]) -> VariantTable:
    if not here.any():
        return rows
    prompt_usd = np.zeros(len(here))
    if rows.takes_n and variant.parent is None:  # others of its call have paid for the prompt
        prompt_usd = np.nan_to_num(rows.prompt_usd).max(axis=1)
    return replace(
        rows,
        failed=here,
        answers=np.where(here, np.int16(ABSTAINED), rows.answers),
        score=np.where(here, 0.0, rows.score),
        prompt_usd=np.where(here, prompt_usd[:, None], rows.prompt_usd),
        completion_usd=np.where(here, 0.0, rows.completion_usd),
        latency_s=np.where(here, 0.0, rows.latency_s),
    )


EndCount = tuple[str, int, str, int]
"""A mode, its cap on tokens, why samples of it ended, and how many of them did so."""


def cuts(ended: Iterable[EndCount], said_from: float = SAID_FROM) -> tuple[Remark, ...]:
    """A sentence for each mode of which many samples were cut by its cap on tokens."""
    all_, cut = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for mode, cap, reason, n in ended:
        all_[mode, cap] += n
        cut[mode, cap] += n if reason == "length" else 0
    return tuple(
        Remark(
            f"cut {mode}",
            f"{cut[mode, cap] / n:.0%} of the samples of mode {mode} were cut at {cap:,} tokens, "
            "which is paid for and answers nothing: raise max_tokens",
        )
        for (mode, cap), n in all_.items()
        if n >= FEWEST_SAID and cut[mode, cap] >= said_from * n
    )


def bought_cuts(pool: PoolReader, run: str, tier: Tier) -> tuple[str, ...]:
    """What ``cuts`` says of all that ``run`` has bought on ``tier`` so far."""
    modes: dict[int, list[str]] = {}
    for name, sent in tier.modes.items():
        for cap in (sent[c] for c in CAPS if isinstance(sent.get(c), int)):
            modes.setdefault(cap, []).append(name)
    found = (
        (" or ".join(modes[cap]), cap, reason, n)
        for cap, reason, n in pool.ends_by_cap(run, tier.name)
        if cap in modes
    )
    return tuple(remark.text for remark in cuts(found))


def refused(none: Iterable[str], some: Iterable[str]) -> tuple[Remark, ...]:
    """What is said of the items (by id) that failed under every prompt, and under some."""
    every, few = sorted(none), sorted(some)
    said = []
    if every:
        said.append(
            f"{_items(every)} failed under every prompt and left the items for all: "
            f"{', '.join(every[:5])}{' …' if len(every) > 5 else ''}"
        )
    if few:
        said.append(
            f"{_items(few)} failed under some prompts, and count as unanswered (score 0) there: "
            f"{', '.join(few[:5])}{' …' if len(few) > 5 else ''}"
        )
    return tuple(Remark("refused", text) for text in said)


def nothing_right(table: SampleTable, task: Task, item: Item, text: str) -> tuple[Remark, ...]:
    """What is said where no answer scores anything; ``text`` is one that was given to ``item``."""
    scores = [rows.score for rows in table.variants.values()]
    if table.n_items < FEWEST_WRONG or any(np.nanmax(of, initial=0.0) > 0 for of in scores):
        return ()
    answer = task.answer.of(item.inputs).extract(text)
    read = "nothing" if answer is None else repr(answer[:80])
    said = (
        f"no answer to {table.n_items} items scored anything under any prompt: to item "
        f"{item.id!r} it was said {text[:80]!r}, read as {read}, where {item.target[:80]!r} is "
        "right; if that should count, mend answer or metric"
    )
    return (Remark("wrong", said),)


def _items(ids: Sequence[str]) -> str:
    return f"{len(ids)} item{'s' * (len(ids) != 1)}"


def estimated(spent: Usage) -> tuple[Remark, ...]:
    """What is said where the provider's token counts could not be right."""
    if not spent.estimated_tokens:
        return ()
    text = (
        f"{spent.estimated_share:.0%} of the tokens are estimated, upward: the provider's usage of "
        "their answers could not be right"
    )
    return (Remark("estimated", text),)
