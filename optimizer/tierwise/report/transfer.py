"""The transfer matrix: each tier's policy on the others' stored samples."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.report._base import NOTE, Row, Section, attempted, interval, needed, ratio
from tierwise.report.prompts import RESAMPLES
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.schema import Limits, Policy
from tierwise.stats import bootstrap_mean, paired_difference

PERMUTATIONS = 16


def transfer_rows(run: RunFiles) -> list[Row]:
    """Each tier's policy on every other tier's stored samples, against that tier's own policy.

    Held-out samples are taken where they support it, else those of the study, on which the tier's own
    policy was chosen and the other was not, else those of the comparison of prompts. Where none
    does, ``note`` says what is missing.
    """
    tiers = run.tiers.values()
    pairs = [(of, on) for of in tiers for on in tiers if of is not on]
    return [
        attempted({"policy_of": of.name, "on": on.name}, partial(_transferred, of, on, run.seed))
        for of, on in pairs
    ]


def _transferred(of: TierFiles, on: TierFiles, seed: int) -> Row:
    policy, own = (
        unlimited(needed(tier.policy, f"policies/{tier.name}.yaml").policy) for tier in (of, on)
    )
    tables = [("test", on.test), ("tune", on.study), ("prompts", on.prompts)]
    known = {variant for _, table in tables if table for variant in table.everything}
    missing = [variant.label for variant in policy.variants if variant not in known]
    if missing:
        return {NOTE: f"not supported: no samples of {', '.join(missing)} on {on.name}"}
    for split, stored in tables:
        if stored is None:
            continue
        table = _of_both(stored, policy, own)
        ours, theirs = (judged(p, table, seed) for p in (policy, own))
        if ours is None or theirs is None:
            continue
        score = bootstrap_mean(ours.score, bounds=(0.0, 1.0), resamples=RESAMPLES)
        behind = paired_difference(ours.score, theirs.score, resamples=RESAMPLES)
        return {
            "split": split,
            "items": table.n_items,
            "score": score.mean,
            "score_low": score.low,
            "score_high": score.high,
            "usd_per_item": ours.mean_usd,
            "against_own": behind.mean,
            "against_own_low": behind.low,
            "against_own_high": behind.high,
            "cost_ratio": ours.mean_usd / theirs.mean_usd if theirs.mean_usd else None,
        }
    return {NOTE: f"not supported: {on.name} has fewer samples an item than the policy asks"}


def _of_both(table: SampleTable, *policies: Policy) -> SampleTable:
    """The items that have all samples of the policies' variants."""
    variants = {
        variant for policy in policies for variant in policy.variants if variant in table.everything
    }
    complete = np.logical_and.reduce([table.of(variant).complete for variant in variants], axis=0)
    return table.rows(np.flatnonzero(np.broadcast_to(complete, table.n_items)))


def unlimited(policy: Policy) -> Policy:
    """The policy without its limits, which bound a runaway and do not steer."""
    return replace(policy, limits=Limits(timeout_s=None))


def judged(policy: Policy, table: SampleTable, seed: int) -> Evaluation | None:
    """None where the samples do not support the policy on every item, or there are too few items."""
    if table.n_items < 2:
        return None
    try:
        found = Evaluator(table, Permutations(PERMUTATIONS, seed), exact=False).evaluate(policy)
    except UnsupportedError:
        return None
    return None if np.isnan(found.score).any() else found


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["policy_of"],
        row["on"],
        interval(row, "score"),
        interval(row, "against_own", "+"),
        ratio(row),
        row["split"],
    )


SECTION = Section(
    "each tier's policy on the others, against their own",
    transfer_rows,
    ("policy of", "on", "score>", "against own>", "at cost>", "judged on"),
    _cells,
)
