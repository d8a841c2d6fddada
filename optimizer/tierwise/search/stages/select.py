"""Select: policies along the study's front are judged anew on items that no trial has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tierwise.schema import LEVEL, Policy, StrategySpec, uniform
from tierwise.search.above import keeps_to_itself
from tierwise.search.candidates import Candidate, candidate, complexity
from tierwise.search.n_samples_by_variant import samples_needed
from tierwise.search.problem import BOUNDED, TierProblem
from tierwise.search.selection import bounded_point, level_point, operating_points
from tierwise.search.shown import Searched
from tierwise.search.stages.spend import GateDecision
from tierwise.search.study import EvaluatedTrial, StudyRound

TINY = 1e-12
NEAR = 0.04
"""Of the best score, on the study's samples: what may turn out to be level with it."""

LEAST_SAMPLES = 4
"""Samples an item of a one-sample policy on held-out items: more than one, to see past its noise."""


@dataclass(frozen=True)
class Selected:
    """What was chosen on the select split.

    Attributes:
        points: operating point -> candidate (the job's own bound is ``chosen``).
        chosen: name of the job's operating point.
        candidates: the baseline, then the finalists.
        alone: with tiers above, what is chosen where nothing may be handed on; else None.
    """

    baseline: Policy
    points: Mapping[str, Candidate]
    chosen: str
    candidates: Sequence[Candidate]
    alone: Policy | None = None


def select(allowed: GateDecision, study_round: StudyRound) -> Selected:
    """Choose a policy for each operating point.

    Raises:
        UnsupportedError: no policy keeps to the job's own bound.
    """
    q = allowed.problem
    baseline = uniform(q.variants.baseline, StrategySpec.of("single"))
    finalists = finalists_of(study_round, q.search_size.finalists)
    references = [above.one_sample for above in q.above] + [above.tuned for above in q.above]
    policies = [baseline, *(j.policy for j in finalists), *references]
    items = q.items("select")[: q.search_size.select_items]
    table = allowed.samples.table(items, samples_needed(policies, LEAST_SAMPLES), "select")
    judge = q.evaluator(table, exact=False)
    candidates = [candidate(judge, baseline)]
    candidates += [candidate(judge, j.policy, j.trial) for j in finalists]
    searched = Searched.of(study_round)
    alone = None
    if q.above:
        own = [c for c in candidates if keeps_to_itself(c.policy)]
        alone = _points(q, own, searched)[q.plain_point].policy
        candidates += [
            candidate(judge, p)
            for p in dict.fromkeys(references)
            if p not in {c.policy for c in candidates}
        ]
    points = _points(q, candidates, searched)
    if q.above:
        strong = next(c for c in candidates if c.policy == q.above[-1].one_sample)
        points[LEVEL] = level_point(candidates, strong, searched, margin=q.margin)
    return Selected(baseline, points, q.point, candidates, alone)


def _points(
    q: TierProblem, candidates: Sequence[Candidate], searched: Searched
) -> dict[str, Candidate]:
    """The named points, and the job's own bound."""
    points = operating_points(candidates, candidates[0], searched, margin=q.margin)
    if not isinstance(q.operating_point, str):
        points[BOUNDED] = bounded_point(candidates, q.operating_point, searched)
    return points


def finalists_of(study_round: StudyRound, n: int) -> list[EvaluatedTrial]:
    """Policies along the front, and along those of simpler kinds, which they must beat.

    With tiers above, also along the front of what hands nothing on, and the cheapest that come
    near the best score of one bucket, which is the stronger tier's. Last, every recipe of their
    buckets alone: where a signal turns out to tell nothing, the recipe may still be the best.
    """

    def front_of(kind: str) -> list[EvaluatedTrial]:
        return study_round.front_of(lambda judged: complexity(judged.policy) == kind)

    found = [
        *along(study_round.front(), n // 2),
        *along(front_of("one bucket"), n // 4),
        *along(front_of("one sample"), n // 4),
    ]
    if study_round.dimensions.own != study_round.dimensions.variants:
        found += along(study_round.front_of(lambda judged: keeps_to_itself(judged.policy)), n // 2)
        plain = study_round.front_of(lambda judged: len(judged.policy.buckets) == 1)
        strong = max(j.score for j in plain)
        found += [j for j in study_round.front() if j.score > strong - NEAR][: n // 2]
    alone = (Policy((recipe,)) for j in list(found) for recipe in j.policy.buckets)
    found += [study_round.judged[policy] for policy in alone if policy in study_round.judged]
    return list({j.policy: j for j in found}.values())


def along(front: Sequence[EvaluatedTrial], n: int) -> list[EvaluatedTrial]:
    """About ``n`` policies of a front, cheapest first, at even steps along it, its ends among them.

    A step is one of score and of doublings of dollars alike, each over its range: at the dear end
    of a front a point of score costs most, and many policies stand within it.
    """
    if len(front) <= n:
        return list(front)
    place = _shares([j.score for j in front]) + _shares([math.log(j.usd or TINY) for j in front])
    wanted = np.linspace(place[0], place[-1], n)
    at = np.unique([int(np.argmin(np.abs(place - w))) for w in wanted])
    return [front[i] for i in at]


def _shares(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """(n,): rising values as shares of their range."""
    rising = np.array(values, dtype=np.float64) - values[0]
    return rising / max(float(rising[-1]), TINY)
