"""Across tiers: policies that travel, items that are hard for both, and equal dollars."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation, Evaluator, Orders, SampleTable
from tierwise.recipe import Limits, Policy
from tierwise.reporting.prompts import RESAMPLES, one_draw
from tierwise.reporting.run import FinishedRun, TierRun
from tierwise.search.tested import Tested
from tierwise.stats import bootstrap_mean, paired_difference, spearman

ORDERS = 16
MARGIN = 0.02
"""As good means: the lower bound of the difference is above this much less."""

SINGLE_CALL = "best_prompt_one_draw"


def transfer_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """Each tier's policy on every other tier's stored draws, against that tier's own policy.

    Held-out draws are taken where they support it, else those of the study, on which the tier's own
    policy was chosen and the other was not, else those of the comparison of prompts. Where none
    does, ``note`` says what is missing.
    """
    return [
        _transferred(run, of, on)
        for of in run.tiers.values()
        for on in run.tiers.values()
        if of is not on
    ]


def _transferred(run: FinishedRun, of: TierRun, on: TierRun) -> dict[str, Any]:
    row: dict[str, Any] = {"policy_of": of.name, "on": on.name}
    policy, own = _unlimited(of.policy.policy), _unlimited(on.policy.policy)
    missing = [arm.label for arm in policy.arms if arm not in on.prompts.arms]
    if missing:
        return {**row, "note": f"not supported: no draws of {', '.join(missing)} on {on.name}"}
    for split, stored in (("test", on.test), ("tune", on.study), ("prompts", on.prompts)):
        table = _of_both(stored, policy, own)
        judged, theirs = (_judge(p, table, run.seed) for p in (policy, own))
        if judged is None or theirs is None:
            continue
        score = bootstrap_mean(judged.score, bounds=(0.0, 1.0), resamples=RESAMPLES)
        behind = paired_difference(judged.score, theirs.score, resamples=RESAMPLES)
        return {
            **row, "split": split, "items": table.n_items, "score": score.mean,
            "score_low": score.low, "score_high": score.high, "usd_per_item": judged.mean_usd,
            "against_own": behind.mean, "against_own_low": behind.low,
            "against_own_high": behind.high,
            "cost_ratio": judged.mean_usd / theirs.mean_usd if theirs.mean_usd else None,
        }  # fmt: skip
    return {**row, "note": f"not supported: {on.name} has fewer draws an item than the policy asks"}


def _of_both(table: SampleTable, *policies: Policy) -> SampleTable:
    """The items that have all draws of the policies' arms."""
    arms = {arm for policy in policies for arm in policy.arms if arm in table.arms}
    complete = np.logical_and.reduce([table.arms[arm].complete for arm in arms], axis=0)
    return table.rows(np.flatnonzero(np.broadcast_to(complete, table.n_items)))


def _unlimited(policy: Policy) -> Policy:
    return replace(policy, limits=Limits(timeout_s=None))


def _judge(policy: Policy, table: SampleTable, seed: int) -> Evaluation | None:
    """None where the draws do not support the policy on every item, or there are too few items."""
    if table.n_items < 2:
        return None
    try:
        judged = Evaluator(table, Orders(ORDERS, seed), exact=False).evaluate(policy)
    except UnsupportedError:
        return None
    return None if np.isnan(judged.score).any() else judged


def difficulty_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """Spearman's correlation of how easy items are for two tiers, with a 95% bootstrap interval.

    An item's easiness is its mean score over the stored draws of the arms that both tiers have, on
    held-out items; noise in it draws the correlation towards 0.
    """
    tiers = list(run.tiers.values())
    return [
        _correlation(a, b, run.seed)
        for i, a in enumerate(tiers)
        for b in tiers[i + 1 :]
    ]  # fmt: skip


def _correlation(a: TierRun, b: TierRun, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"tier": a.name, "other": b.name}
    arms = [arm for arm in a.test.arms if arm in b.test.arms]
    at_a, at_b = common(a.test.item_ids, b.test.item_ids)
    if not arms or len(at_a) < 3:
        return {**row, "note": "not supported: no arm, or too few items, in common"}
    easy = [
        np.nanmean([one_draw(arm, tier.test.arms[arm]).score[at] for arm in arms], axis=0)
        for tier, at in ((a, at_a), (b, at_b))
    ]
    found = spearman(easy[0], easy[1])
    if np.isnan(found):
        return {**row, "note": "not supported: all items are equally easy for a tier"}
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(at_a), size=(500, len(at_a)))
    again = np.array([spearman(easy[0][pick], easy[1][pick]) for pick in picks])
    low, high = np.nanquantile(again, [0.025, 0.975])
    return {
        **row, "items": len(at_a), "arms": len(arms), "spearman": found,
        "spearman_low": float(low), "spearman_high": float(high),
    }  # fmt: skip


def equal_dollars_rows(run: FinishedRun) -> list[dict[str, Any]]:
    """A cheaper tier's policy against a single call to a dearer one, at no more dollars.

    Of what was tested on the cheaper tier, the policy is the best on its study's draws among those
    that cost no more than the dearer tier's best prompt at one draw; both are then compared on the
    held-out items that they share.
    """
    rows = []
    for small in run.tiers.values():
        for large in run.tiers.values():
            if small is not large and _call_usd(small) < _call_usd(large):
                rows.append(_at_equal_dollars(small, large))
    return rows


def _call_usd(tier: TierRun) -> float:
    return float(tier.tested.usd[tier.tested.names[SINGLE_CALL]].mean())


def _at_equal_dollars(small: TierRun, large: TierRun) -> dict[str, Any]:
    single = large.tested.names[SINGLE_CALL]
    row: dict[str, Any] = {
        "tier": small.name, "against": large.name, "single_call": large.tested.policies[single],
        "single_call_usd": _call_usd(large),
    }  # fmt: skip
    at_small, at_large = common(small.tested.item_ids, large.tested.item_ids)
    if len(at_small) < 2:
        return {**row, "note": "not supported: no held-out items in common"}
    theirs = large.tested.score[single][at_large]
    best = _best_within(small.tested, _call_usd(large))
    if best is None:
        return {**row, "note": f"not supported: nothing tested on {small.name} is as cheap"}
    ours = small.tested.score[best][at_small]
    lead = paired_difference(ours, theirs, resamples=RESAMPLES)
    leads = [
        paired_difference(scores[at_small], theirs, resamples=RESAMPLES).high
        for scores in small.tested.score
    ]
    return {
        **row, "policy": small.tested.policies[best], "items": len(at_small),
        "usd_per_item": float(small.tested.usd[best].mean()), "score": float(ours.mean()),
        "single_call_score": float(theirs.mean()), "lead": lead.mean, "lead_low": lead.low,
        "lead_high": lead.high, "verdict": _verdict(lead.low, lead.high),
        "reaches_at_any_budget_tried": max(leads) > 0,
    }  # fmt: skip


def _best_within(tested: Tested, usd: float) -> int | None:
    within = [
        i for i, paid in enumerate(tested.usd.mean(axis=1))
        if paid <= usd and not np.isnan(tested.on_study[i])
    ]  # fmt: skip
    return max(within, key=lambda i: tested.on_study[i], default=None)


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "as good" if low > -MARGIN else "not told apart"


def common(
    a: tuple[str, ...], b: tuple[str, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the ids that both have, in the order of ``a``."""
    place = {item: i for i, item in enumerate(b)}
    both = [(i, place[item]) for i, item in enumerate(a) if item in place]
    pairs = np.array(both, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
