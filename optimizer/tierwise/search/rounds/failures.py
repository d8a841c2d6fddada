"""What a policy still gets wrong on train items, bucket by bucket: what a reflection is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tierwise.pool import Buyer
from tierwise.proposals import FailedItem, ReflectionBrief
from tierwise.schema import Policy, Variant
from tierwise.search.problem import TierProblem
from tierwise.search.rounds.caps import STAGE
from tierwise.search.samples import samples_needed
from tierwise.tasks import Item

MOST_SHOWN = 24
"""Failures of a brief; a reflection samples from them."""
FAILS = 0.95
"""An item is right where the policy gets at least this on it, over the orders of its samples."""


class Aimed(NamedTuple):
    """A brief about a prompt of one bucket."""

    bucket: int
    brief: ReflectionBrief


def briefs(
    q: TierProblem, buyer: Buyer, policy: Policy, number: int, instruction: Callable[[str], str]
) -> list[Aimed]:
    """A brief a bucket and prompt of ``policy``, those first that cost the most score.

    The train items are answered as the policy would: their buckets, votes and disagreements are its
    own. ``instruction`` says what a prompt of the policy tells the model.
    """
    n_samples = samples_needed([policy])
    items = q.items("train")[: q.search_size.reflect_items]
    table = buyer.table(items, n_samples, STAGE)
    place = {item.id: item for item in items}
    items = [place[item_id] for item_id in table.item_ids]  # those that have all their samples
    evaluator = q.evaluator(table, exact=False)
    score = evaluator.rows(policy).score.reshape(table.n_items, -1)
    bucket = evaluator.bucket_rows(policy.difficulty).reshape(table.n_items, -1)
    found: list[tuple[float, Aimed]] = []
    for b, recipe in enumerate(policy.buckets):
        here = bucket == b
        weight = here.sum(axis=1)
        got = np.where(here, score, 0.0).sum(axis=1) / np.maximum(weight, 1)
        failing = [int(i) for i in np.argsort(got, kind="stable") if weight[i] and got[i] < FAILS]
        lost = float(((1 - got) * weight)[failing].sum()) / here.shape[1]
        for prompt in dict.fromkeys(variant.prompt for variant in recipe.variants):
            variants = [variant for variant in recipe.variants if variant.prompt == prompt]
            shown = _failings(
                buyer,
                [items[i] for i in failing[:MOST_SHOWN]],
                variants,
                n_samples,
                [float(got[i]) for i in failing[:MOST_SHOWN]],
            )
            run_as = run_as_of(policy, b, float(weight.sum()) / here.size)
            origin = f"reflection/{number}.{b + 1}"
            brief = ReflectionBrief(prompt, instruction(prompt), run_as, shown, origin)
            found.append((-lost, Aimed(b, brief)))
    return [aimed for _, aimed in sorted(found, key=lambda pair: pair[0]) if aimed.brief.failures]


def run_as_of(policy: Policy, bucket: int, share: float) -> str:
    """In words: the strategy, its modes, and which requests come here."""
    recipe = policy.buckets[bucket]
    variants, strategy = recipe.variants, recipe.strategy
    modes = " and ".join(dict.fromkeys(variant.mode for variant in variants))
    prompts = list(dict.fromkeys(variant.prompt for variant in variants))
    said = f"{strategy}, in mode {modes}"
    if len(prompts) > 1:
        said += f", its samples voting together with those of {len(prompts) - 1} other prompt(s)"
    if len(policy.buckets) > 1:
        said += (
            f", for bucket {bucket + 1} of {len(policy.buckets)} (1 is the easiest) by "
            f"{policy.difficulty.signal}, {share:.0%} of the requests"
        )
    return said


def _failings(
    buyer: Buyer,
    items: Sequence[Item],
    variants: Sequence[Variant],
    n_samples: dict[Variant, int],
    scores: Sequence[float],
) -> list[FailedItem]:
    extract = buyer.task.answer.extract
    said: list[list[str | None]] = [[] for _ in items]
    for variant in variants:
        for answers, texts in zip(
            said, buyer.texts(variant, items, n_samples.get(variant, 1)), strict=True
        ):
            answers += [extract(text) for text in texts]
    return [
        FailedItem(item.inputs, answers, item.target, score)
        for item, answers, score in zip(items, said, scores, strict=True)
    ]
