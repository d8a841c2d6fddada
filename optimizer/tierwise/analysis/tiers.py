"""Tiers beside each other: gains, frontier, equal dollars, transfer, correlation of difficulty.

All policies were chosen before the held-out items were looked at, so a held-out score has no bias
from the choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.analysis.prompts import OneSample, one_sample, one_samples
from tierwise.analysis.tier_files import (
    COMPARISON_RESAMPLES,
    JudgedPolicies,
    NotShown,
    TierFiles,
    common_items,
)
from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.schema import Limits, Policy
from tierwise.schema.measured import NONE_FAILED, FailedItems
from tierwise.stats import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    paired_difference,
    paired_differences,
    spearman,
)
from tierwise.stats.intervals import Floats

# --- what thinking, the prompt, votes and buckets add on a tier --------------------------------

GAIN_STEPS = (
    ("prompt", "baseline_prompt_one_sample", "best_prompt_one_sample"),
    ("votes, baseline prompt", "baseline_prompt_one_sample", "baseline_prompt_best_strategy"),
    ("votes, best prompt", "best_prompt_one_sample", "disjoint"),
    ("prompt and strategy together", "disjoint", "joint_fixed_n"),
    ("adaptive stopping", "joint_fixed_n", "joint_adaptive_stop"),
    ("buckets", "joint_adaptive_stop", "full_policy"),
    ("all", "baseline_prompt_one_sample", "full_policy"),
)
"""Name of a gain, and the steps of the ablation before and after."""

DIRECT = "direct"


@dataclass(frozen=True)
class GainRow:
    """What a component adds: the paired gain of the score, and the ratio of dollars.

    Attributes:
        from_, to: policies, or variants, before and after.
        split: that it was evaluated on: `test`, or `prompts` (items of the screening).
        same: nothing was added, so the gain is known to be 0.
        cost_ratio: None where the cost before was 0.
    """

    tier: str
    adds: str
    from_: str
    to: str
    split: Literal["validation", "prompts"]
    same: bool
    items: int
    gain: Interval
    cost_ratio: float | None


class _Gain(NamedTuple):
    items: int
    gain: Interval
    cost_ratio: float | None


def gain_rows(tier: TierFiles) -> list[GainRow | NotShown]:
    """A row a component: thinking, prompt, votes, the joint choice, adaptive stopping, buckets.

    Thinking is evaluated at one sample on the items of the screening, whose best variants were
    chosen on the same items; the other steps on the study's validation items.
    """
    rows = _thinking_rows(tier)
    if tier.validated is None:
        note = f"not shown: validated.{tier.name}.npz is missing"
        return [*rows, NotShown({"tier": tier.name, "adds": "prompt, votes, buckets"}, note)]
    judged = tier.validated
    for name, before, after in GAIN_STEPS:
        a, b = judged.names[after], judged.names[before]
        got = _gain(judged.score[a], judged.score[b], judged.usd[a], judged.usd[b])
        policies = judged.policies[b], judged.policies[a]
        if got is None:
            rows.append(_too_few(tier, name))
            continue
        items, gain, cost_ratio = got
        if a == b:
            gain = Interval(gain.mean, 0.0, 0.0)
        rows.append(
            GainRow(tier.name, name, *policies, "validation", a == b, items, gain, cost_ratio)
        )
    return rows


def _thinking_rows(tier: TierFiles) -> list[GainRow | NotShown]:
    ranked = one_samples(tier.prompt_table)
    direct = [one for one in ranked if one.variant.mode == DIRECT]
    think = [one for one in ranked if one.variant.mode != DIRECT]
    rows = []
    if direct and think:
        rows.append(_thinking_row(tier, "thinking, best prompt of each", direct[:1], think[:1]))
    pairs = [
        (d, t)
        for t in think
        for d in direct
        if (d.variant.prompt, d.variant.temperature) == (t.variant.prompt, t.variant.temperature)
    ]
    if pairs:
        before, after = [d for d, _ in pairs], [t for _, t in pairs]
        rows.append(_thinking_row(tier, "thinking, same prompt", before, after))
    if not rows:
        note = "not supported: there are no samples of both direct and thinking modes"
        rows.append(NotShown({"tier": tier.name, "adds": "thinking"}, note))
    return rows


def _thinking_row(
    tier: TierFiles, name: str, before: Sequence[OneSample], after: Sequence[OneSample]
) -> GainRow | NotShown:
    scores = [np.mean([one.score for one in some], axis=0) for some in (after, before)]
    usd = [np.mean([one.usd for one in some], axis=0) for some in (after, before)]
    got = _gain(*scores, *usd)
    if got is None:
        return _too_few(tier, name)
    return GainRow(tier.name, name, _labels(before), _labels(after), "prompts", False, *got)


def _gain(after: Floats, before: Floats, usd_after: Floats, usd_before: Floats) -> _Gain | None:
    """Over the items that have both; None with fewer than two."""
    known = ~(np.isnan(after) | np.isnan(before))
    if known.sum() < 2:
        return None
    gain = paired_difference(after[known], before[known], resamples=COMPARISON_RESAMPLES)
    paid = float(usd_before[known].sum())
    return _Gain(int(known.sum()), gain, float(usd_after[known].sum()) / paid if paid else None)


def _too_few(tier: TierFiles, name: str) -> NotShown:
    note = "not supported: too few items have both"
    return NotShown({"tier": tier.name, "adds": name}, note)


def _labels(ones: Sequence[OneSample]) -> str:
    return ones[0].variant.label if len(ones) == 1 else f"{len(ones)} variants"


# --- the cheapest tier for each score ----------------------------------------------------------

TARGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


class Offer(NamedTuple):
    """A policy that was tested on a tier: its held-out score, and dollars an item."""

    tier: str
    policy: str
    score: Interval
    usd: float
    failed: FailedItems


@dataclass(frozen=True)
class FrontierRow:
    """The cheapest policy of any tier that reaches a score.

    Attributes:
        reached: by its mean score; None: no policy does.
        surely: by the lower end of its 95% interval; None: no policy does.
        not_reached_by: tiers none of whose policies reaches it.
    """

    target: float
    reached: Offer | None
    surely: Offer | None
    not_reached_by: tuple[str, ...]


def offers(tiers: Sequence[TierFiles]) -> list[Offer]:
    """Everything that was tested on any tier, the cheapest first."""
    found = []
    for tier in tiers:
        tested = tier.tested
        if tested is None:
            continue
        scores = bootstrap_means(tested.score, resamples=COMPARISON_RESAMPLES)
        usd_of = tested.usd.mean(axis=1)
        found += [
            Offer(tier.name, policy, score, float(usd_of[i]), tested.failed(i))
            for i, (policy, score) in enumerate(zip(tested.policies, scores, strict=True))
            if not np.isnan(score.mean)
        ]
    return sorted(found, key=lambda offer: offer.usd)


def frontier_rows(tiers: Sequence[TierFiles]) -> list[FrontierRow | NotShown]:
    """A row a target, round scores from what the cheapest policy reaches to what none does."""
    missing = [tier.name for tier in tiers if tier.tested is None]
    rows: list[FrontierRow | NotShown] = [
        NotShown({"tier": name}, f"not shown: tested.{name}.npz is missing") for name in missing
    ]
    found = offers(tiers)
    for target in _targets(found) if found else ():
        within = {o.tier for o in found if o.score.mean >= target}
        rows.append(
            FrontierRow(
                target,
                next((o for o in found if o.score.mean >= target), None),
                next((o for o in found if o.score.low >= target), None),
                tuple(tier.name for tier in tiers if tier.name not in {*within, *missing}),
            )
        )
    return rows


def _targets(found: Sequence[Offer]) -> list[float]:
    least, most = found[0].score.mean, max(offer.score.mean for offer in found)
    below = [t for t in TARGETS if t <= least][-1:]
    above = [t for t in TARGETS if t > most][:1]
    return [*below, *(t for t in TARGETS if least < t <= most), *above]


# --- a cheaper tier's policy against a more expensive tier's single call -----------------------

MARGIN = 0.02
"""As good: the lower end of the difference's interval is above this much less."""

SINGLE_CALL = "best_prompt_one_sample"


@dataclass(frozen=True)
class EqualDollarsRow:
    """A cheaper tier's policy against the best single call to a more expensive tier.

    Attributes:
        policy: the best among those that cost no more than the call, on every other item.
        items: validation items that both tiers have, of which it was not chosen on.
        lead: score of the policy less that of the call, paired by item.
        reaches_at_any_budget_tried: something judged on the cheaper tier is not shown to be worse.
    """

    tier: str
    against: str
    single_call: str
    single_call_usd: float
    policy: str
    items: int
    usd_per_item: float
    score: float
    single_call_score: float
    lead: Interval
    verdict: Literal["better", "worse", "as good", "not told apart"]
    reaches_at_any_budget_tried: bool
    failed: FailedItems
    single_call_failed: FailedItems


def equal_dollars_rows(tiers: Sequence[TierFiles]) -> list[EqualDollarsRow | NotShown]:
    """A row a pair of a cheaper and a more expensive tier."""
    rows = []
    for small in tiers:
        for large in tiers:
            if small is not large:
                rows += list(_at_equal_dollars(small, large))
    return rows


def _call_usd(tested: JudgedPolicies) -> float:
    return float(tested.usd[tested.names[SINGLE_CALL]].mean())


def _at_equal_dollars(small: TierFiles, large: TierFiles) -> Iterator[EqualDollarsRow | NotShown]:
    """Nothing where `small` is not the cheaper of the two."""
    who = {"tier": small.name, "against": large.name}
    try:
        of_small, of_large = small.validated_policies, large.validated_policies
    except UnsupportedError as error:
        yield NotShown(who, f"not shown: {error}")
        return
    usd = _call_usd(of_large)
    if _call_usd(of_small) >= usd:
        return
    single = of_large.names[SINGLE_CALL]
    at_small, at_large = common_items(of_small.item_ids, of_large.item_ids)
    if len(at_small) < 4:
        yield NotShown(who, "not supported: too few validation items in common")
        return
    best = _best_within(of_small, at_small[::2], usd)
    at_small, at_large = at_small[1::2], at_large[1::2]
    if best is None:
        yield NotShown(who, f"not supported: nothing judged on {small.name} is as cheap")
        return
    theirs, ours = of_large.score[single][at_large], of_small.score[best][at_small]
    behind = paired_differences(theirs, of_small.score[:, at_small], resamples=COMPARISON_RESAMPLES)
    lead = paired_difference(ours, theirs, resamples=COMPARISON_RESAMPLES)
    yield EqualDollarsRow(
        tier=small.name,
        against=large.name,
        single_call=of_large.policies[single],
        single_call_usd=usd,
        policy=of_small.policies[best],
        items=len(at_small),
        usd_per_item=float(of_small.usd[best].mean()),
        score=float(ours.mean()),
        single_call_score=float(theirs.mean()),
        lead=lead,
        verdict=_verdict(lead),
        reaches_at_any_budget_tried=any(found.low < 0 for found in behind),
        failed=of_small.failed(best),
        single_call_failed=of_large.failed(single),
    )


def _best_within(judged: JudgedPolicies, items: npt.NDArray[np.intp], usd: float) -> int | None:
    score = judged.score[:, items].mean(axis=1)
    within = [i for i, paid in enumerate(judged.usd.mean(axis=1)) if paid <= usd]
    return max(within, key=lambda i: score[i], default=None)


def _verdict(lead: Interval) -> Literal["better", "worse", "as good", "not told apart"]:
    if lead.low > 0:
        return "better"
    if lead.high < 0:
        return "worse"
    return "as good" if lead.low > -MARGIN else "not told apart"


# --- each tier's policy on the samples of the others -------------------------------------------

TRANSFER_PERMUTATIONS = 16


@dataclass(frozen=True)
class TransferRow:
    """A tier's policy on another tier's stored samples, against that tier's own policy.

    `split`: the samples it was evaluated on: held out (`test`), else those of the study
    (`validation`), on which the tier's own policy was chosen and the other was not, else those of
    the screening.
    """

    policy_of: str
    on: str
    split: Literal["test", "validation", "prompts"]
    items: int
    score: Interval
    usd_per_item: float
    against_own: Interval
    cost_ratio: float | None
    failed: FailedItems = NONE_FAILED


def transfer_rows(tiers: Sequence[TierFiles], seed: int) -> list[TransferRow | NotShown]:
    """A row a pair of tiers."""
    return [_transferred(of, on, seed) for of in tiers for on in tiers if of is not on]


def _transferred(of: TierFiles, on: TierFiles, seed: int) -> TransferRow | NotShown:
    who = {"policy_of": of.name, "on": on.name}
    try:
        policy, own = (unlimited(tier.policy_file.policy) for tier in (of, on))
    except UnsupportedError as error:
        return NotShown(who, f"not shown: {error}")
    tables: Mapping[Literal["test", "validation", "prompts"], SampleTable | None] = {
        # Of items that a policy asked more of there is more: those that have all are the harder
        # ones.
        "test": on.test if on.test is not None and on.test.complete.all() else None,
        "validation": on.study,
        "prompts": on.prompts,
    }
    known = {variant for table in tables.values() if table for variant in table.everything}
    missing = [variant.label for variant in policy.variants if variant not in known]
    if missing:
        return NotShown(who, f"not supported: no samples of {', '.join(missing)} on {on.name}")
    for split, stored in tables.items():
        if stored is None:
            continue
        table = _of_both(stored, policy, own)
        ours, theirs = (evaluated(p, table, seed) for p in (policy, own))
        if ours is None or theirs is None:
            continue
        return TransferRow(
            policy_of=of.name,
            on=on.name,
            split=split,
            items=table.n_items,
            score=bootstrap_mean(ours.score, bounds=(0.0, 1.0), resamples=COMPARISON_RESAMPLES),
            usd_per_item=ours.mean_usd,
            against_own=paired_difference(ours.score, theirs.score, resamples=COMPARISON_RESAMPLES),
            cost_ratio=ours.mean_usd / theirs.mean_usd if theirs.mean_usd else None,
            failed=table.failed_items(policy.variants),
        )
    return NotShown(who, f"not supported: {on.name} has fewer samples an item than the policy asks")


def _of_both(table: SampleTable, *policies: Policy) -> SampleTable:
    """The items that have all samples of the policies' variants."""
    variants = {
        variant for policy in policies for variant in policy.variants if variant in table.everything
    }
    complete = np.logical_and.reduce([table.of(variant).complete for variant in variants], axis=0)
    return table.rows(np.flatnonzero(np.broadcast_to(complete, table.n_items)))


def unlimited(policy: Policy) -> Policy:
    """The policy without its limits, which end a request that went wrong and steer no other."""
    return replace(policy, limits=Limits(timeout_s=None))


def evaluated(policy: Policy, table: SampleTable, seed: int) -> Evaluation | None:
    """None where the samples do not support the policy on every item, or items are too few."""
    if table.n_items < 2:
        return None
    permutations = Permutations(TRANSFER_PERMUTATIONS, seed)
    try:
        found = Evaluator(table, permutations, exact=False).evaluate(policy)
    except UnsupportedError:
        return None
    return None if np.isnan(found.score).any() else found


# --- items that are hard for two tiers ---------------------------------------------------------

CORRELATION_RESAMPLES = 500


@dataclass(frozen=True)
class DifficultyRow:
    """Spearman's correlation of how easy held-out items are for two tiers."""

    tier: str
    other: str
    items: int
    variants: int
    spearman: Interval


def difficulty_rows(tiers: Sequence[TierFiles], seed: int) -> list[DifficultyRow | NotShown]:
    """A row a pair of tiers.

    An item's easiness is its mean score over the stored samples of the variants that both tiers
    have; noise in it pulls the correlation towards 0.
    """
    return [_correlation(a, b, seed) for i, a in enumerate(tiers) for b in tiers[i + 1 :]]


def _correlation(a: TierFiles, b: TierFiles, seed: int) -> DifficultyRow | NotShown:
    who = {"tier": a.name, "other": b.name}
    try:
        of_a, of_b = a.test_table, b.test_table
    except UnsupportedError as error:
        return NotShown(who, f"not shown: {error}")
    variants = [variant for variant in of_a.variants if variant in of_b.variants]
    at_a, at_b = common_items(of_a.item_ids, of_b.item_ids)
    if not variants or len(at_a) < 3:
        return NotShown(who, "not supported: no variant, or too few items, in common")
    easy = [
        np.nanmean([one_sample(v, table.variants[v]).score[at] for v in variants], axis=0)
        for table, at in ((of_a, at_a), (of_b, at_b))
    ]
    found = spearman(easy[0], easy[1])
    if np.isnan(found):
        return NotShown(who, "not supported: all items are equally easy for a tier")
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(at_a), size=(CORRELATION_RESAMPLES, len(at_a)))
    again = np.array([spearman(easy[0][pick], easy[1][pick]) for pick in picks])
    low, high = np.nanquantile(again, [0.025, 0.975])
    interval = Interval(found, float(low), float(high))
    return DifficultyRow(a.name, b.name, len(at_a), len(variants), interval)
