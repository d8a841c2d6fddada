"""Policies said as what they are: no cut that changes nothing, no vote that is one sample.

So no policy stands twice in a study, and a file does not promise a vote that is never held.
"""

from __future__ import annotations

from dataclasses import replace

from tierwise.evaluation import ABSTAINED, Evaluator
from tierwise.schema import Policy, Probe, Recipe, StrategySpec
from tierwise.strategies import Single, build, one_answer_ends

SINGLE = StrategySpec.of(Single.kind)


def merged(policy: Policy) -> Policy:
    """``policy`` without the cuts between buckets of the same recipe.

    Where that leaves one bucket there is no signal to pay for. The answers are the same.
    """
    kept, cuts = [policy.buckets[0]], []
    for recipe, cut in zip(policy.buckets[1:], policy.difficulty.thresholds, strict=True):
        if recipe != kept[-1]:
            kept.append(recipe)
            cuts.append(cut)
    if len(kept) == 1:
        return Policy(tuple(kept), limits=policy.limits)
    difficulty = replace(policy.difficulty, thresholds=tuple(cuts))
    return Policy(tuple(kept), difficulty, policy.limits)


def as_single(policy: Policy, evaluator: Evaluator) -> Policy:
    """``policy`` with ``single`` for a strategy that is one sample on the evaluator's samples.

    That is a vote that its first answer ends, of a variant whose samples all have an answer. Every order
    of the samples gives the same answer, calls and dollars; where a probe's samples are the first of
    the bucket's variants the two may differ, and nothing is changed.
    """
    probe = policy.difficulty.probe
    buckets = tuple(_as_single(recipe, probe, evaluator) for recipe in policy.buckets)
    return policy if buckets == policy.buckets else replace(policy, buckets=buckets)


def _as_single(recipe: Recipe, probe: Probe | None, evaluator: Evaluator) -> Recipe:
    if recipe.strategy == SINGLE or not one_answer_ends(build(recipe.strategy)):
        return recipe
    if probe is not None and probe.among(recipe.variants):
        return recipe
    first = recipe.variants[:1]  # the others are not sampled from
    silent = (evaluator.table.of(first[0]).answers == ABSTAINED).any()
    return recipe if silent else Recipe(first, SINGLE)
