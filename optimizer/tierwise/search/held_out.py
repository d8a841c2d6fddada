"""What is chosen, and its held-out test: the policy and the baseline, once; then the gate.

The gate: a policy is exported only where it is surely better, or surely as good and cheaper.
Evidence is the test split, which nothing was chosen on, and the validation split as cross-fitted
(``selection.cross_fitted``): there each item is judged under a policy that was chosen without it,
so that 60 test items do not throw away what 200 validation items show. Folds share most of the
items that they choose on, hence their errors are correlated: the validation items' share of the
variance is taken VALIDATION_FOLDS / (VALIDATION_FOLDS - 1) times, as Nadeau and Bengio (Machine
Learning 2003) correct it. By simulation at most 5% of jobs without a better policy pass
(docs/design/selection.md).

The ablation says what each component adds, from the baseline to the full policy. The policy of each
step is chosen on the study's own samples among what that step allows, at no more dollars an item
than the full policy (or the cheapest there is), and judged on validation items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from tierwise.errors import UnsupportedError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable, replay_table
from tierwise.pool import CutShortError
from tierwise.schema import Policy, Recipe, StrategySpec, Usage, Variant, uniform
from tierwise.search.budget import largest
from tierwise.search.problem import TierProblem, keeps_to_itself
from tierwise.search.samples import play, samples_needed, whole_part
from tierwise.search.selection import (
    BUCKETED,
    Candidate,
    CrossFitted,
    PairedItems,
    Selection,
    complexity,
    select_points,
)
from tierwise.search.space import SINGLE, recipe_grid
from tierwise.search.stages import Explored
from tierwise.search.study import EvaluatedTrial, StudyRound
from tierwise.stats.comparisons import PairedBootstrap, holm
from tierwise.stats.intervals import Floats, Interval
from tierwise.strategies import asks_at_once, build

LEAST_SAMPLES = 4
"""Samples an item of a one-sample policy where they are free: several, to see past its noise."""

LEAST_COMPARED = 2
"""Test items without which nothing is compared."""

FIRST_TESTED = 16
"""Test items that are answered first, where the time may end."""

NO_ITEMS = np.array([], dtype=np.intp)

POWER_80, TWO_SIDED_95 = NormalDist().inv_cdf(0.8), NormalDist().inv_cdf(0.975)

TRUST = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How far an oracle may believe what half of an item's samples say of it."""

SLACK = 1.02
"""A step may cost this much more than the full policy on the study's samples, which estimate it."""


# The choice, from everything that the study judged, on all of its items


def select(explored: Explored) -> Selection:
    """Choose a policy for each operating point."""
    problem, targets = explored.problem, explored.problem.targets
    candidates, judge = candidates_of(explored)
    out_of_fold = _proposed_out_of_fold(explored.study, judge)
    wanted, margin = problem.operating_point, problem.margin
    alone = None
    if targets:
        own, *without = (
            [c for c in some if keeps_to_itself(c.policy)] for some in (candidates, *out_of_fold)
        )
        point = problem.plain_point
        alone = select_points(own, wanted, margin=margin, only=point, out_of_fold=without)[
            point
        ].policy
    strong = targets[-1].one_sample if targets else None
    points = select_points(
        candidates, wanted, margin=margin, strong=strong, out_of_fold=out_of_fold
    )
    return Selection(candidates[0], points, problem.point, candidates, judge, alone)


def candidates_of(explored: Explored) -> tuple[list[Candidate], Evaluator]:
    """The baseline, what the study may choose from, and what the escalation targets chose.

    Judged on the study's items without closed forms, so that policies that do nearly the same share
    the noise of their permutations. The evaluator of these items is returned too.
    """
    problem, last = explored.problem, explored.study
    judge = problem.evaluator(last.evaluator.table, exact=False)
    policies = {uniform(problem.variants.baseline, SINGLE): -1}
    for policy, trial in last.selectable().items():
        policies.setdefault(policy, trial)
    for target in problem.targets:
        for policy in (target.one_sample, target.tuned):
            policies.setdefault(policy, -1)
    candidates = [
        Candidate(policy, trial, judge.evaluate(policy)) for policy, trial in policies.items()
    ]
    return [c for c in candidates if c.evaluation.known], judge


def _proposed_out_of_fold(last: StudyRound, judge: Evaluator) -> list[list[Candidate]]:
    """For each fold the policies of several buckets that are proposed without its items."""
    found = []
    for proposals in last.out_of_fold:
        policies = dict.fromkeys(last.dimensions.policy_of(of, last.evaluator) for of in proposals)
        judged = [
            Candidate(p, -1, judge.evaluate(p)) for p in policies if p and complexity(p) >= BUCKETED
        ]
        found.append([c for c in judged if last.allows(c.evaluation) and c.evaluation.known])
    return found


def best_of(explored: Explored) -> Policy:
    """The policy at the job's operating point, by the study's own samples."""
    q, (candidates, _) = explored.problem, candidates_of(explored)
    point = q.plain_point
    try:
        points = select_points(candidates, q.operating_point, margin=q.margin, only=point)
    except UnsupportedError:  # no policy keeps the bound yet: the best is what to improve on
        return select_points(candidates, "quality", margin=q.margin, only="quality")[
            "quality"
        ].policy
    return points[point].policy


# The gate


@dataclass(frozen=True)
class Comparison:
    """A policy against the baseline, paired by item.

    Attributes:
        difference: of scores, on the test split.
        cost_ratio: of dollars, on the test split.
        pooled: of scores, on test and cross-fitted validation items together.
        p: that the gate would pass by chance, before Holm's correction.
    """

    difference: Interval
    cost_ratio: Interval
    pooled: Interval
    p: float

    @property
    def provable_gain(self) -> float:
        """Gain of score that the gate would prove with power .8 on as many items of this noise."""
        half = (self.pooled.high - self.pooled.low) / 2
        return half * (1 + POWER_80 / TWO_SIDED_95)


def compare(
    policy: Evaluation,
    baseline: Evaluation,
    *,
    margin: float,
    seed: int = 0,
    validation: tuple[CrossFitted, Evaluation] | None = None,
) -> Comparison:
    """Difference of scores, ratio of costs, and the gate's p-value.

    The gate's hypothesis is that the policy is neither better (difference > 0) nor as good and
    cheaper (difference > -margin and cost ratio < 1). Either way in counts, so the smaller p is
    doubled: at .05 that is what two-sided 95% intervals say.

    Args:
        policy, baseline: on the test split.
        validation: how the choice cross-fits on the validation split, and the baseline there; None:
            the test split decides alone.
    """
    paired = PairedBootstrap(len(policy.score), seed)
    score, usd = policy.score - baseline.score, baseline.usd - policy.usd
    n_validation = 0
    if validation is not None:
        fitted, there = validation
        n_validation = len(fitted.score)
        score = np.append(fitted.score - there.score, score)
        usd = np.append(there.usd - fitted.usd, usd)
    scores = PairedItems(score, n_validation)
    dollars = PairedItems(usd / (baseline.mean_usd or 1.0), n_validation)
    better, level = scores.p_value(), scores.p_value(margin)
    p = min(1.0, 2 * min(better, max(level, dollars.p_value())))
    return Comparison(
        paired.difference(policy.score, baseline.score),
        paired.ratio(policy.usd, baseline.usd),
        scores.interval(),
        p if math.isfinite(p) else 1.0,
    )


def passed(comparisons: Sequence[Comparison]) -> list[bool]:
    """The gate's verdicts, by Holm over all tiers and operating points of a job."""
    if not comparisons:
        return []
    return [bool(r) for r in holm([c.p for c in comparisons]).rejected]


# The test


@dataclass(frozen=True)
class HeldOutTest:
    """What the test split said, and what is read from the validation items beside it.

    Attributes:
        evaluations: policy -> its evaluation on ``table``, the test items: the baseline and the
            chosen policy, and all those of ``validated`` where samples are free; none where no test
            items could be bought.
        comparisons: operating point whose policy was tested -> its comparison with the baseline.
        ablation_steps: the ablation's policies by name.
        beside: with escalation targets, what an escalating policy is compared with, by name.
        validated: the ablation's policies, the points' and those beside -> their evaluation on
            ``validation_items``.
        oracle: (n_validation_items,) score of the oracle bound.
    """

    table: SampleTable
    evaluations: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    ablation_steps: Mapping[str, Policy]
    beside: Mapping[str, Policy]
    validated: Mapping[Policy, Evaluation]
    validation_items: tuple[str, ...]
    oracle: np.ndarray


def test(explored: Explored, selected: Selection) -> HeldOutTest:
    """Judge the chosen policy and the baseline on held-out items; the rest on validation items.

    Nothing is compared where the budget, the time or the provider left fewer than two test items.

    Raises:
        ProviderError: too few test items have their samples.
    """
    problem, last, baseline = explored.problem, explored.study, selected.baseline.policy
    steps = ablation_steps(
        problem.variants.baseline,
        selected.points[selected.chosen].policy,
        last.evaluator,
        [r for r in recipe_grid(last.dimensions, steps=3) if keeps_to_itself(Policy((r,)))],
        [j for j in last.judged.values() if keeps_to_itself(j.policy)],
    )
    last.evaluator.forget()
    beside, judge = _beside(problem, selected), selected.judge
    points = (choice.policy for choice in selected.points.values())
    named = dict.fromkeys([baseline, *steps.values(), *points, *beside.values()])
    table, judged = _on_test_items(explored, selected, list(named))
    comparisons = {
        point: compare(
            judged[choice.policy],
            judged[baseline],
            margin=problem.margin,
            seed=problem.seed,
            validation=(choice.evidence, selected.baseline.evaluation),
        )
        for point, choice in selected.points.items()
        if choice.policy in judged
    }
    validated = {policy: judge.evaluate(policy) for policy in named}
    full = validated[steps["full_policy"]].score
    recipes = _tellable(last, judge.table)
    oracle = oracle_bound(judge.table, recipes, problem.permutations, full)
    judge.forget()
    return HeldOutTest(
        table, judged, comparisons, steps, beside, validated, judge.table.item_ids, oracle
    )


def _on_test_items(
    explored: Explored, selected: Selection, named: Sequence[Policy]
) -> tuple[SampleTable, dict[Policy, Evaluation]]:
    """Test items with the samples that the chosen policy and the baseline ask for, as serving
    would.

    Where samples are free, all that is ``named`` is judged, over permutations of all samples that
    there are; where samples follow others, all that a policy may ask for are bought.
    """
    problem, samples = explored.problem, explored.samples
    chosen = selected.points[selected.chosen].policy
    items = problem.items["test"][: _affordable_test(explored, selected)]
    policies = list(dict.fromkeys([selected.baseline.policy, chosen]))
    if samples.free:
        policies = list(named)
    wanted = samples_needed(policies, LEAST_SAMPLES if samples.free else 1)
    if samples.free or any(variant.path for variant in wanted):
        try:
            table = samples.table(items, wanted, "test")
        except CutShortError as cut:
            table = whole_part(cut.table, ())
        if table.n_items < LEAST_COMPARED:
            return table.rows(NO_ITEMS), {}
        judge = problem.evaluator(table, exact=False)
        return table, {policy: judge.evaluate(policy) for policy in policies}
    # Where the time may end, few items with all that they ask for, then more: the rounds of an item
    # follow one another, and those that ask for more of them are the harder ones.
    n, short = len(items) if problem.cap.seconds is None else FIRST_TESTED, ""
    while True:
        table, short = play(samples, policies, items[:n], "test")
        if short or n >= len(items):
            break
        n *= 2
    # Models that answer in chunks are refused a chunk that does not fit: fewer items may.
    while short and table.n_items < LEAST_COMPARED < len(items):
        items = items[: len(items) // 2]
        table, short = play(samples, policies, items, "test")
    if table.n_items < LEAST_COMPARED:
        return table.rows(NO_ITEMS), {}
    return table, {policy: replay_table(policy, table) for policy in policies}


def _affordable_test(explored: Explored, selected: Selection) -> int:
    """Test items that the rest of the budget pays for, by what both policies asked for so far."""
    problem, plan = explored.problem, explored.plan
    each = [selected.points[selected.chosen].candidate.evaluation, selected.baseline.evaluation]
    samples = sum(float(e.samples.mean()) for e in each)
    calls = sum(float((e.rounds if plan.cost.takes_n else e.samples).mean()) for e in each)
    usd = sum(e.mean_usd for e in each)
    left = plan.planned - explored.samples.spent
    per_usd = usd / max(plan.cost.of(1, 1).usd, 1e-30)
    tokens = per_usd * (plan.cost.tokens + plan.cost.prompt_tokens)

    def fits(n: int) -> bool:
        slack = n + 2 * math.sqrt(n)  # test items may ask for more than validation items did
        return left.fits(
            Usage(
                math.ceil(calls * slack),
                math.ceil(samples * slack),
                tokens * slack,
                usd=usd * slack,
            )
        )

    most = problem.search_size.test_items
    return largest(1, most, fits)


def _beside(problem: TierProblem, selected: Selection) -> dict[str, Policy]:
    """Never escalating, always escalating (at one sample, and as the stronger tier was tuned)."""
    alone = selected.alone
    beside = {} if alone is None else {f"always {problem.tier.name}": alone}
    for target in problem.targets:
        beside[f"always {target.tier.name}"] = target.one_sample
        beside[f"always {target.tier.name}, tuned"] = target.tuned
    return beside


# The ablation and the oracle bound, on validation items


def ablation_steps(
    baseline: Variant,
    full: Policy,
    evaluator: Evaluator,
    recipes: Sequence[Recipe],
    judged: Sequence[EvaluatedTrial],
) -> dict[str, Policy]:
    """The policy of each step; ``recipes`` and ``judged`` are what they choose from."""
    cap = evaluator.evaluate(full).mean_usd * SLACK
    plain = {Policy((recipe,)) for recipe in recipes}
    plain |= {j.policy for j in judged if len(j.policy.buckets) == 1}
    known = {policy: _means(evaluator, policy) for policy in sorted(plain, key=repr)}

    def best(allowed: Callable[[Recipe], bool]) -> Policy:
        chosen = {p: m for p, m in known.items() if allowed(p.buckets[0]) and m[0] == m[0]}
        within = {p: m for p, m in chosen.items() if m[1] <= cap}
        if within:
            return max(within, key=lambda p: (within[p][0], -within[p][1]))
        return min(chosen, key=lambda p: chosen[p][1])

    single = StrategySpec.of("single")
    own = dict.fromkeys(variant for recipe in recipes for variant in recipe.variants)
    variants = [a for a in own if a.prompt != baseline.prompt or a == baseline]
    one_sample = [uniform(variant, single) for variant in variants]
    best_one = max(one_sample, key=lambda p: _means(evaluator, p)[0])
    best_variant = best_one.buckets[0].variants[0]

    def of_baseline_prompt(recipe: Recipe) -> bool:
        return {a.prompt for a in recipe.variants} == {baseline.prompt}

    def after(recipe: Recipe) -> bool:
        return recipe.variants == (best_variant,)

    def fixed(recipe: Recipe) -> bool:
        return asks_at_once(build(recipe.strategy), len(recipe.variants))

    default = uniform(baseline, single)
    known.setdefault(default, _means(evaluator, default))
    known.setdefault(best_one, _means(evaluator, best_one))
    return {
        "baseline_prompt_one_sample": default,
        "best_prompt_one_sample": best_one,
        "baseline_prompt_best_strategy": best(of_baseline_prompt),
        "disjoint": best(after),
        "joint_fixed_n": best(fixed),
        "joint_adaptive_stop": best(lambda recipe: True),
        "full_policy": full,
    }


def _means(evaluator: Evaluator, policy: Policy) -> tuple[float, float]:
    judged = evaluator.evaluate(policy)
    return judged.mean_score, judged.mean_usd


def oracle_bound(
    table: SampleTable,
    recipes: Sequence[Recipe],
    permutations: Permutations,
    full: Floats | None = None,
) -> Floats:
    """(n_items,): the score if somebody told us which of ``recipes`` is best for each item.

    It is chosen on one half of the samples and scored on the other, both ways round; recipes that
    need more than half of the samples take no part. What one half says of an item is noisy, so its
    scores are shrunk towards each recipe's mean, as far as serves the bound best: from not at all
    to wholly, which is the best recipe for all. Who knows everything can also do what the full
    policy does: where the halves do not beat its scores, ``full``, these are the bound. All NaN
    where there is but one sample.
    """
    if min(rows.n_samples for rows in table.variants.values()) < 2:
        return np.full(table.n_items, np.nan)
    halves = []
    for parity in (0, 1):
        variants = {
            variant: rows.columns(np.arange(parity, rows.n_samples, 2))
            for variant, rows in table.variants.items()
        }
        half = replace(table, variants=variants, nodes={})
        evaluator = Evaluator(half, permutations)
        halves.append(np.array([evaluator.evaluate(Policy((recipe,))).score for recipe in recipes]))
    supported = ~(np.isnan(halves[0]).any(axis=1) | np.isnan(halves[1]).any(axis=1))
    first, second = halves[0][supported], halves[1][supported]
    bounds = [_told(first, second, trust) for trust in TRUST]
    best = max(bounds, key=lambda bound: float(bound.mean()))
    return full if full is not None and full.mean() > best.mean() else best


def _tellable(study_round: StudyRound, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single samples, as far as the table has their variants."""
    found = [Recipe((variant,), SINGLE) for variant in table.variants]
    found += [recipe for judged in study_round.front() for recipe in judged.policy.buckets]
    return [
        r for r in dict.fromkeys(found) if all(variant in table.variants for variant in r.variants)
    ]


def _told(first: Floats, second: Floats, trust: float) -> Floats:
    """(n_items,): each half's best recipe for an item, scored on the other half."""
    items = np.arange(first.shape[1])
    scored = []
    for chosen_on, scored_on in ((first, second), (second, first)):
        means = chosen_on.mean(axis=1, keepdims=True)
        # Where recipes tie on an item, the better one on all items is taken.
        worth = trust * chosen_on + (1 - trust) * means + 1e-9 * means
        scored.append(scored_on[worth.argmax(axis=0), items])
    return np.asarray((scored[0] + scored[1]) / 2, dtype=np.float64)
