"""What changed between two runs: every policy that both tested, and every prompt that both have.

Where a model was changed by its provider behind the same name, the prompts show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tierwise.analysis.prompts import OneSample, one_samples
from tierwise.analysis.tier_files import (
    COMPARISON_RESAMPLES,
    JudgedPolicies,
    NotShown,
    TierFiles,
    common_items,
)
from tierwise.analysis.tiers import evaluated, unlimited
from tierwise.evaluation import SampleTable
from tierwise.schema import PolicyFile, Variant
from tierwise.schema.job import OPERATING_POINTS
from tierwise.schema.measured import NONE_FAILED, FailedItems
from tierwise.stats import Interval, bootstrap_ratio, paired_difference, unpaired_difference
from tierwise.stats.intervals import Floats

How = Literal["same items and samples", "same items", "unpaired: other items"]
SAME_SAMPLES: How = "same items and samples"
SAME_ITEMS: How = "same items"
UNPAIRED: How = "unpaired: other items"

FEWEST_COMMON = 10
"""Items in common, with fewer of which a comparison is not paired."""

JUDGED_NAMES = {
    "baseline": "baseline prompt",
    "best_prompt_one_sample": "best prompt, one sample",
    **{f"point:{name}": name for name in OPERATING_POINTS},
}
"""What both runs may have judged beside the exported policy, and its name in a table."""

MOST_NAMED = 6
"""Variants that are named in a note."""


class Side(NamedTuple):
    """Something in one run, by item: scores and dollars."""

    item_ids: tuple[str, ...]
    score: Floats
    usd: Floats
    failed: FailedItems = NONE_FAILED


@dataclass(frozen=True)
class Change:
    """After less before, paired by item where enough items are the same.

    Attributes:
        how: on what it was compared.
        shown: `better` or `worse` where the 95% interval excludes 0, else empty.
        identical: every item scored as before.
    """

    how: How
    items: int
    before_score: float
    after_score: float
    change: Interval
    cost_ratio: Interval
    shown: Literal["", "better", "worse"]
    identical: bool
    before_failed: FailedItems
    after_failed: FailedItems


@dataclass(frozen=True)
class PolicyChange(Change):
    """A policy, or what a run tested under the same name as another."""

    tier: str
    what: str
    before: str
    after: str
    same_policy: bool


@dataclass(frozen=True)
class PromptChange(Change):
    """A variant at one sample; the largest change has rank 1."""

    tier: str
    variant: str
    rank: int


def change_between(before: Side, after: Side, how: How = SAME_ITEMS) -> Change:
    """The difference with its 95% interval; unpaired with fewer than `FEWEST_COMMON` items."""
    at_before, at_after = common_items(before.item_ids, after.item_ids)
    if len(at_before) >= FEWEST_COMMON:
        old = Side(before.item_ids, before.score[at_before], before.usd[at_before])
        new = Side(after.item_ids, after.score[at_after], after.usd[at_after])
        found = paired_difference(new.score, old.score, resamples=COMPARISON_RESAMPLES)
        cost = bootstrap_ratio(new.usd, old.usd, resamples=COMPARISON_RESAMPLES)
        items = len(at_before)
    else:
        old, new, how = before, after, UNPAIRED
        found = unpaired_difference(new.score, old.score)
        paid = float(old.usd.mean())
        cost = Interval(float(new.usd.mean()) / paid if paid else np.nan, np.nan, np.nan)
        items = len(new.score)
    return Change(
        how=how,
        items=items,
        before_score=float(old.score.mean()),
        after_score=float(new.score.mean()),
        change=found,
        cost_ratio=cost,
        shown="better" if found.low > 0 else "worse" if found.high < 0 else "",
        identical=bool(how != UNPAIRED and (old.score == new.score).all()),
        before_failed=before.failed,
        after_failed=after.failed,
    )


def _identities(item_ids: Sequence[str], table: SampleTable | None) -> tuple[str, ...]:
    """What tells items apart between runs: id and inputs, where `table` has the same items.

    A task that was made anew may use an id for another question.
    """
    if table is None or table.item_ids != tuple(item_ids):
        return tuple(item_ids)
    pairs = zip(table.item_ids, table.inputs, strict=True)
    return tuple(f"{item}: {sorted(inputs.items())}" for item, inputs in pairs)


def policy_changes(old: TierFiles, new: TierFiles, seeds: tuple[int, int]) -> list[PolicyChange]:
    """A row for the exported policy on held-out items, and for what else both runs judged.

    The exported policies are evaluated on the same items and the same samples where one of the runs
    has the samples of both (of the same model, with the same messages); the rest, paired by item,
    as each run evaluated it: on held-out items where both tested it, else on validation items.
    `seeds` are those of the two runs.
    """
    rows = [_exported(old, new, seeds)]
    for name, said in JUDGED_NAMES.items():
        for before, after, tables in (
            (old.tested_policies, new.tested_policies, (old.test, new.test)),
            (old.validated_policies, new.validated_policies, (old.study, new.study)),
        ):
            if name in before.names and name in after.names:
                was, now = before.names[name], after.names[name]
                sides = _side(before, was, tables[0]), _side(after, now, tables[1])
                lines = before.policies[was], after.policies[now]
                same = lines[0] == lines[1]
                rows.append(_policy_change(change_between(*sides), new.name, said, *lines, same))
                break
    return rows


def _policy_change(
    change: Change, tier: str, what: str, before: str, after: str, same: bool
) -> PolicyChange:
    return PolicyChange(
        **vars(change), tier=tier, what=what, before=before, after=after, same_policy=same
    )


def _exported(old: TierFiles, new: TierFiles, seeds: tuple[int, int]) -> PolicyChange:
    was, now = old.policy_file, new.policy_file
    change = None
    for tier, seed in ((new, seeds[1]), (old, seeds[0])):
        both = _on_one_table(tier.test, was, now, seed=seed)
        if both is not None:
            change = change_between(*both, how=SAME_SAMPLES)
            break
    if change is None:
        before, after = old.tested_policies, new.tested_policies
        change = change_between(
            _side(before, before.names[old.exported_as], old.test),
            _side(after, after.names[new.exported_as], new.test),
        )
    same = unlimited(was.policy) == unlimited(now.policy)
    lines = old.summary.exported.policy, new.summary.exported.policy
    return _policy_change(change, new.name, "exported policy", *lines, same)


def _side(judged: JudgedPolicies, row: int, table: SampleTable | None) -> Side:
    ids = _identities(judged.item_ids, table)
    return Side(ids, judged.score[row], judged.usd[row], judged.failed(row))


def _on_one_table(
    table: SampleTable | None, old: PolicyFile, new: PolicyFile, *, seed: int
) -> tuple[Side, Side] | None:
    """Both policies on one run's held-out samples, where these are samples of both."""
    if table is None or not _same_requests(old, new):
        return None
    used = {variant for file in (old, new) for variant in file.policy.variants}
    if not used <= set(table.variants):
        return None
    before, after = (evaluated(unlimited(file.policy), table, seed) for file in (old, new))
    if before is None or after is None:
        return None
    failed = [table.failed_items(file.policy.variants) for file in (old, new)]
    ids = table.item_ids
    return (
        Side(ids, before.score, before.usd, failed[0]),
        Side(ids, after.score, after.usd, failed[1]),
    )


def _same_requests(old: PolicyFile, new: PolicyFile) -> bool:
    """Whether a variant of either sends the same to the same model, as far as the files say."""
    shared = set(old.prompts) & set(new.prompts)
    used = {variant.prompt for file in (old, new) for variant in file.policy.variants}
    return (
        old.tier.model == new.tier.model
        and old.provenance.weights_sha256 == new.provenance.weights_sha256
        and old.tier.modes == new.tier.modes
        and used <= shared
        and all(old.prompts[p].messages == new.prompts[p].messages for p in used)
    )


def prompt_changes(old: TierFiles, new: TierFiles) -> list[PromptChange | NotShown]:
    """A row a variant of both, the largest change first; a note on those of one run only."""
    before, after = (_by_variant(tier) for tier in (old, new))
    changes = {v: change_between(before[v], after[v]) for v in before if v in after}
    ranked = sorted(changes, key=lambda v: -abs(changes[v].change.mean))
    rows: list[PromptChange | NotShown] = [
        PromptChange(**vars(changes[v]), tier=new.name, variant=v.label, rank=i)
        for i, v in enumerate(ranked, start=1)
    ]
    for said, variants in (("new", set(after) - set(before)), ("gone", set(before) - set(after))):
        if variants:
            names = ", ".join(sorted(variant.label for variant in variants)[:MOST_NAMED])
            note = f"{said}: {len(variants)} variants ({names} …)"
            rows.append(NotShown({"tier": new.name, "variant": said}, note))
    return rows


def _by_variant(tier: TierFiles) -> dict[Variant, Side]:
    table = tier.prompt_table
    ids = _identities(table.item_ids, table)
    return {one.variant: _one_side(ids, one) for one in one_samples(table)}


def _one_side(item_ids: tuple[str, ...], one: OneSample) -> Side:
    at = np.flatnonzero(~np.isnan(one.score))
    return Side(tuple(item_ids[i] for i in at), one.score[at], one.usd[at])
