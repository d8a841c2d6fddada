"""Select: policies along the study's front are judged anew on items that no trial has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tierwise.recipe import Policy, StrategySpec, uniform
from tierwise.search.effort import depth_needed
from tierwise.search.selection import Candidate, bounded_point, operating_points
from tierwise.search.stages.spend import Allowed
from tierwise.search.study import Generation, Judged

LEAST_DEPTH = 4
"""Draws an item of a one-draw policy on held-out items: more than one, to see past its noise."""


@dataclass(frozen=True)
class Selected:
    """What was chosen on the select split.

    Attributes:
        points: operating point -> candidate (the job's own bound is ``chosen``).
        chosen: name of the job's operating point.
        candidates: the baseline, then the finalists.
    """

    baseline: Policy
    points: Mapping[str, Candidate]
    chosen: str
    candidates: Sequence[Candidate]


def select(allowed: Allowed, generation: Generation) -> Selected:
    """Choose a policy for each operating point.

    Raises:
        UnsupportedError: no policy keeps to the job's own bound.
    """
    q = allowed.question
    baseline = uniform(q.arms.baseline, StrategySpec.of("single"))
    finalists = finalists_of(generation, q.effort.finalists)
    needed = depth_needed([baseline, *(j.policy for j in finalists)], LEAST_DEPTH)
    items = q.items("select")[: q.effort.select_items]
    judge = q.evaluator(allowed.draws.table(items, needed, "select"), exact=False)
    candidates = [Candidate(baseline, -1, judge.evaluate(baseline))]
    candidates += [Candidate(j.policy, j.trial, judge.evaluate(j.policy)) for j in finalists]
    points = operating_points(candidates, candidates[0].on_select, margin=q.margin)
    if isinstance(q.operating_point, str):
        return Selected(baseline, points, q.operating_point, candidates)
    bounded = bounded_point(candidates, q.operating_point)
    return Selected(baseline, {**points, "bounded": bounded}, "bounded", candidates)


def finalists_of(generation: Generation, n: int) -> list[Judged]:
    """Policies along the front, and along that of one bucket, which buckets must beat."""
    plain = generation.front_of(lambda judged: len(judged.policy.buckets) == 1)
    both = [*_along(generation.front(), n - n // 2), *_along(plain, n // 2)]
    return list({j.policy: j for j in both}.values())


def _along(front: Sequence[Judged], n: int) -> list[Judged]:
    """About ``n`` policies of a front at even steps of score, its best among them."""
    if len(front) <= n:
        return list(front)
    scores = np.array([j.score for j in front])
    wanted = np.linspace(scores[0], scores[-1], n)
    at = np.unique([int(np.argmin(np.abs(scores - w))) for w in wanted])
    return [front[i] for i in at]
