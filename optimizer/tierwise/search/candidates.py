"""Policies that may be chosen: judged on held-out items, buckets beside the same interleaved by lot.

Whether a signal tells easy from hard is one question, whether its buckets are the better policy is
another. Where random numbers interleave items to two recipes of about the same worth, one of many interleaves
is a lucky one; against the recipes alone that shows as a gain, against a lottery it does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator
from tierwise.schema import Policy
from tierwise.strategies import build

KINDS = ("one sample", "one bucket", "buckets")
"""From the simplest: what is more complex must earn its place."""


class Candidate(NamedTuple):
    """A policy, judged on the select split; of one with buckets, ``by_lot`` too."""

    policy: Policy
    trial: int
    on_select: Evaluation
    by_lot: Evaluation | None = None


def candidate(judge: Evaluator, policy: Policy, trial: int = -1) -> Candidate:
    """``policy`` judged by ``judge``."""
    told = judge.evaluate(policy)
    return Candidate(policy, trial, told, _by_lot(judge, policy, told))


def complexity(policy: Policy) -> str:
    """One of ``KINDS``, by what a policy may ask for."""
    if len(policy.buckets) > 1:
        return "buckets"
    most = build(policy.buckets[0].strategy).max_samples
    return "one sample" if most == 1 else "one bucket"


def _by_lot(judge: Evaluator, policy: Policy, told: Evaluation) -> Evaluation | None:
    """Every item by each of the buckets' recipes, after the same probe, as often as it is used.

    That is what the policy would be worth if its signal told nothing. None for one bucket.
    """
    if len(policy.buckets) == 1:
        return None
    uncut = replace(policy.difficulty, thresholds=())
    each = [judge.evaluate(Policy((recipe,), uncut, policy.limits)) for recipe in policy.buckets]
    score, usd, samples, rounds = (
        np.average([getattr(e, name) for e in each], axis=0, weights=told.shares)
        for name in ("score", "usd", "samples", "rounds")
    )
    return Evaluation(score, usd, samples, rounds, told.shares)
