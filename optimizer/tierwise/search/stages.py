"""The stages of a tier's search, in their order: screen, gate, fit, race, study, select, test.

Screen, race and study look for policies on nested items of the validation split, each with fewer
variants and more samples; what is chosen from all that the study judged is measured once on the
test split. Nothing depends on time or on the order in which calls come back: the same problem and
samples give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import SignalFit, signal
from tierwise.errors import BudgetError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable, replay_table
from tierwise.pool import FEWEST_ITEMS
from tierwise.schema import Difficulty, Policy, Recipe, StrategySpec, Tier, Variant, uniform
from tierwise.schema.result import Proposal, SearchEnd
from tierwise.search import ablation
from tierwise.search.allocation import allocate
from tierwise.search.budget import affordable, stage_table, usage_of
from tierwise.search.cascades import cascades
from tierwise.search.compute_gate import UNDECIDED, GateDecision, closed_space, decide
from tierwise.search.events import Best, Listener, Started
from tierwise.search.gate import Comparison, compare
from tierwise.search.problem import SampleCost, TierProblem, keeps_to_itself
from tierwise.search.samples import (
    SCREENED_CHAINS,
    SampleCounts,
    Samples,
    SetsAside,
    most_samples,
    play,
    samples_needed,
    with_nodes,
)
from tierwise.search.selection import Candidate, Selection, price_aim, select_points
from tierwise.search.signals import ASK_SAMPLES, asked_of, best_way_to_ask, fit_signals, watched
from tierwise.search.space import SINGLE, recipe_grid, strategy_grid
from tierwise.search.study import EvaluatedTrial, StudyRound, described
from tierwise.stats.intervals import Floats

Mask = npt.NDArray[np.bool_]

WARM_STARTS = 24
"""Allocations that a study begins with."""

LEAST_SAMPLES = 4
"""Samples an item of a one-sample policy on held-out items: several, to see past its noise."""


class VariantAtOneSample(NamedTuple):
    """A variant at one sample, on the screening items."""

    variant: Variant
    score: float
    usd: float


@dataclass(frozen=True)
class Explored:
    """What was found on the validation split so far; each stage returns it with what it adds.

    Attributes:
        problem: with the search size that the budget affords, and a closed gate's smaller space.
        samples: where the next stage gets its own; of a closed gate, the first purchase.
        screened: every variant at one sample, on ``screened_table``.
        n_samples: the most samples of a variant that a study may look at.
        cost: what a sample turned out to use.
        variants: those that go on.
        fitted: signals that were fitted on the train split.
        study_rounds: the race's, then the study's, whose front is selected from.
        end: why no more was bought.
    """

    problem: TierProblem
    samples: Samples
    screened: tuple[VariantAtOneSample, ...]
    screened_table: SampleTable
    n_samples: int
    cost: SampleCost
    variants: tuple[Variant, ...]
    gate: GateDecision = UNDECIDED
    fitted: tuple[SignalFit, ...] = ()
    study_rounds: tuple[StudyRound, ...] = ()
    end: SearchEnd = SearchEnd("search_complete", None, "")

    @property
    def study(self) -> StudyRound:
        """The last study round."""
        return self.study_rounds[-1]


def explore(
    problem: TierProblem, samples: Samples, listener: Listener, known: Sequence[Proposal] = ()
) -> Explored:
    """Look for policies on the validation split; ``known`` are an earlier study's, judged again.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """
    listener(Started(problem.tier.name, "screen"))
    explored = fit(pass_gate(screen(problem, samples)))
    listener(Started(problem.tier.name, "race"))
    explored = race(explored, listener, known)
    listener(Started(problem.tier.name, "study"))
    return study(explored, listener)


# Screen: every variant on few items, at five samples or more, since ranks flip under voting


def screen(problem: TierProblem, samples: Samples) -> Explored:
    """Buy the first samples of every variant; keep those that race.

    Raises:
        BudgetError: the budget does not last to the end of the smallest search.
    """
    name, cap, variants = problem.tier.name, problem.cap, problem.variants.candidates
    n_samples = min(most_samples(problem.space), max(samples.most(variant) for variant in variants))
    counts = SampleCounts.of(problem.space, len(variants), n_samples)
    size = problem.search_size.within(problem.task, problem.space.signals)
    size = affordable(size, counts, problem.assumed, cap, tier=name)
    screen_samples = min(size.screen_samples, max(n_samples, 1))
    wanted = with_nodes(variants, screen_samples, problem.space, SCREENED_CHAINS)
    asked = (variant for of in problem.variants.asking.values() for variant in of)
    wanted |= dict.fromkeys(asked, ASK_SAMPLES)
    table = samples.table(problem.items("validation")[: size.screen_items], wanted, "screen")
    assumed = problem.assumed
    cost = replace(_measured_cost(table, problem.tier), judging=assumed.judging, turn=assumed.turn)
    # Counted, not read from the books, in which a resumed run finds more than its screening.
    bought = stage_table(size, counts)[0]
    left = cap - cost.of(bought.samples + bought.nodes, bought.calls(cost.takes_n))
    left -= cost.turn * bought.nodes
    size = affordable(size, counts, cost, left, tier=name, done=("screen",))
    if isinstance(samples, SetsAside):
        others = [row.stage for row in stage_table(size, counts) if row.stage != "test"]
        samples.set_aside(usage_of(replace(size, rounds=0), counts, cost, others))
    told = best_way_to_ask(table, problem.variants.asking)
    problem = replace(problem, search_size=size, ready_signals=told)
    racers = kept(problem, table, variants, size.race_variants)
    return Explored(
        problem, samples, _at_one_sample(table, variants), table, n_samples, cost, racers
    )


def _at_one_sample(
    table: SampleTable, variants: Sequence[Variant]
) -> tuple[VariantAtOneSample, ...]:
    single = Evaluator(table, Permutations(1))
    judged = [single.evaluate(uniform(variant, SINGLE)) for variant in variants]
    return tuple(
        VariantAtOneSample(variant, e.mean_score, e.mean_usd)
        for variant, e in zip(variants, judged, strict=True)
    )


def _measured_cost(table: SampleTable, tier: Tier) -> SampleCost:
    """Means over the variants; prompts as if each sample was a call where ``n`` is not taken."""
    usd, tokens = [], []
    for rows in table.variants.values():
        prompt = float(rows.prompt_usd.mean()) / (rows.n_samples if rows.takes_n else 1)
        completion = float(rows.completion_usd.mean())
        usd.append(prompt + completion)
        each = tier.price.completion_usd(1.0, prompt_tokens=1.0), tier.price.prompt_usd(1.0)
        tokens.append(
            (completion / each[0] if each[0] else 0) + (prompt / each[1] if each[1] else 0)
        )
    return SampleCost(float(np.mean(usd)), float(np.mean(tokens)), tier.takes_n)


# Which variants go on: few items, five samples or more, and envelopes over strategies
#
# At one sample the ranks of prompts are not those under a vote, so a variant is judged by all that
# the strategies can make of its samples. It is dropped only where, on all items and on the shorter
# and the longer half of them, every one of its points is dominated by some other variant, at a
# level that is split over the pairs of variants; a variant that is only good for hard items stays.


def kept(
    problem: TierProblem, table: SampleTable, variants: Sequence[Variant], n: int
) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants whose envelopes over strategies are not dominated."""
    dims = problem.dimensions(table, variants)
    ways = [SINGLE, *strategy_grid(dims, max(dims.depths.values()), steps=3)]
    points = envelope(problem.evaluator(table), variants, list(dict.fromkeys(ways)))
    always = (problem.variants.baseline, *watched(problem.ready_signals))
    return most_useful(points, survivors(points), n, always=always)


@dataclass(frozen=True)
class Envelope:
    """What the strategies make of each variant's samples, on the same items.

    Attributes:
        variant: (n_points,) index of the point's variant.
        score, usd: (n_points, n_items).
        strata: masks of items: all, and the shorter and the longer half.
    """

    variants: tuple[Variant, ...]
    variant: npt.NDArray[np.intp]
    score: Floats
    usd: Floats
    strata: tuple[Mask, ...]


def envelope(
    evaluator: Evaluator, variants: Sequence[Variant], strategies: Sequence[StrategySpec]
) -> Envelope:
    """Every variant under every strategy, but for points that the samples do not support."""
    owner, score, usd = [], [], []
    for i, variant in enumerate(variants):
        for strategy in strategies:
            judged = evaluator.evaluate(uniform(variant, strategy))
            if not np.isnan(judged.score).any():
                owner.append(i)
                score.append(judged.score)
                usd.append(judged.usd)
    length = signal("length")
    lengths = np.array([length.value(inputs, ()) for inputs in evaluator.table.inputs])
    everything = np.ones(len(lengths), dtype=np.bool_)
    short = lengths >= np.median(lengths)
    halves = [half for half in (short, ~short) if half.sum() >= 8]
    return Envelope(
        tuple(variants), np.array(owner), np.array(score), np.array(usd), (everything, *halves)
    )


def survivors(points: Envelope, *, alpha: float = 0.05) -> tuple[Variant, ...]:
    """Variants that are not dominated in every stratum; ``alpha`` is split over pairs of variants.

    Not over the strata: a variant must lose in all of them to go.
    """
    pairs = len(points.variants) * max(len(points.variants) - 1, 1)
    z = NormalDist().inv_cdf(1 - alpha / pairs)
    dropped = np.logical_and.reduce([_dominated(points, mask, z) for mask in points.strata])
    return tuple(variant for variant, out in zip(points.variants, dropped, strict=True) if not out)


def _dominated(points: Envelope, mask: Mask, z: float) -> Mask:
    """(n_variants,): each of the variant's points is surely beaten by one of another variant."""
    score, usd = points.score[:, mask], points.usd[:, mask]
    beaten = _surely_above(score, z) & _surely_above(-usd, 0.0)  # [a, b]: a beats b
    own = points.variant[:, None] == points.variant[None, :]
    hit = (beaten & ~own).any(axis=0)
    return np.array([hit[points.variant == i].all() for i in range(len(points.variants))])


def _surely_above(values: Floats, z: float) -> Mask:
    """[a, b]: the paired mean of a - b less ``z`` standard errors is at least 0 (above, if z)."""
    n = values.shape[1]
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    cov = centred @ centred.T / max(n - 1, 1)
    variance = np.diag(cov)[:, None] + np.diag(cov)[None, :] - 2 * cov
    # One pseudo-item of difference: variants that agreed on few items are not known to be equal.
    error = np.sqrt(np.maximum(variance, 1.0 / n) / n) if z else 0.0
    difference = mean[:, None] - mean[None, :] - z * error
    above: Mask = difference > 0 if z else difference >= 0
    return above


def most_useful(
    points: Envelope, among: Sequence[Variant], keep: int, *, always: Sequence[Variant] = ()
) -> tuple[Variant, ...]:
    """At most ``keep`` variants that together give the best utility over prices and strata.

    Greedy: each step adds the variant that raises the envelope most, averaged over prices of a
    point from "dollars do not matter" to "dollars decide". ``always`` come first.
    """
    index = {variant: i for i, variant in enumerate(points.variants)}
    utility = _utilities(points)
    chosen = [index[variant] for variant in always]
    best = utility[chosen].max(axis=0) if chosen else np.full(utility.shape[1], -np.inf)
    rest = [index[variant] for variant in among if variant not in always]
    while rest and len(chosen) < keep:
        gains = [float(np.maximum(utility[i], best).mean()) for i in rest]
        winner = rest.pop(int(np.argmax(gains)))
        chosen.append(winner)
        best = np.maximum(best, utility[winner])
    return tuple(points.variants[i] for i in sorted(chosen))


def _utilities(points: Envelope) -> Floats:
    """(n_variants, n_strata * n_prices): the best that each variant reaches."""
    rows = []
    for mask in points.strata:
        score, usd = points.score[:, mask].mean(axis=1), points.usd[:, mask].mean(axis=1)
        for price in np.geomspace(0.002, 1.0, 8) / (float(np.median(usd)) or 1.0):
            value = score - price * usd
            rows.append([value[points.variant == i].max() for i in range(len(points.variants))])
    return np.array(rows).T


# Gate: may the tier spend on more than one sample?


def pass_gate(explored: Explored) -> Explored:
    """With the gate's decision; closed, the space is one sample, but for escalation.

    A tier that may escalate keeps its signals and buckets: what does not pay on this tier may pay
    on a stronger one, and a probe can still tell where.
    """
    problem = explored.problem
    gate = _gate_decision(explored)
    if gate.open:
        return replace(explored, gate=gate)
    cheap, n_samples, trials = closed_space(problem.space), 1, problem.trials
    if problem.targets:
        space = problem.space
        cheap = cheap.with_difficulty(signals=space.signals, buckets=space.buckets)
        n_samples = min(explored.n_samples, int(cheap.probe_samples.high))
    else:
        trials = min(trials, 3 * len(explored.variants))
    problem = replace(problem, space=cheap, trials=trials)
    return replace(explored, problem=problem, n_samples=n_samples, gate=gate)


def _gate_decision(explored: Explored) -> GateDecision:
    """The decision; a gate that would close is looked at again on the race's items first.

    One that closes wrongly costs the tier all that it could gain, and an open one needs these
    samples anyway.
    """
    problem, table, size = explored.problem, explored.screened_table, explored.problem.search_size
    free = explored.samples.free or problem.tier.price.free

    def decision(table: SampleTable) -> GateDecision:
        return decide(
            table,
            problem.space,
            price_aim(problem.operating_point),
            logprobs=problem.tier.logprobs,
            permutations=problem.permutations,
            free=free,
        )

    found = decision(table)
    if found.open or table.n_items >= size.race_items:
        return found
    n_samples = max(rows.n_samples for rows in table.variants.values())
    wanted = with_nodes(explored.variants, n_samples, problem.space, SCREENED_CHAINS)
    items = problem.items("validation")[: size.race_items]
    return decision(explored.samples.table(items, wanted, "compute gate"))


# Fit: signals with ``fit`` learn on the train split when thinking pays


def fit(explored: Explored) -> Explored:
    """With the fitted signals of the space, and the variants that they compare.

    Thinking is the best other mode's best variant, against the cheapest mode's best. None are
    fitted where the gate is closed or nothing thinks.
    """
    problem = explored.problem
    compared = _compared(explored.screened)
    fits = fit_signals(problem, explored.samples, *compared) if compared else {}
    if not fits or compared is None:
        return explored
    ways = {kind: tuple(one.difficulty for one in found) for kind, found in fits.items()}
    return replace(
        explored,
        problem=replace(problem, ready_signals={**problem.ready_signals, **ways}),
        variants=tuple(dict.fromkeys((*explored.variants, *compared))),
        fitted=tuple(one for found in fits.values() for one in found),
    )


def cheapest_mode(screened: Sequence[VariantAtOneSample]) -> str:
    """The mode whose samples cost least."""
    usd: dict[str, list[float]] = {}
    for row in screened:
        usd.setdefault(row.variant.mode, []).append(row.usd)
    return min(usd, key=lambda mode: float(np.mean(usd[mode])))


def _compared(screened: Sequence[VariantAtOneSample]) -> tuple[Variant, Variant] | None:
    quick = cheapest_mode(screened)
    direct = [row for row in screened if row.variant.mode == quick]
    think = [row for row in screened if row.variant.mode != quick]
    if not direct or not think:
        return None
    best, best_thinking = (max(rows, key=lambda row: row.score) for rows in (direct, think))
    return best.variant, best_thinking.variant


# Race and study: trials on more items, then on all of them


def race(explored: Explored, listener: Listener, known: Sequence[Proposal] = ()) -> Explored:
    """Spend a third of the trials on the racing items; keep the variants that are worth a study."""
    problem, size = explored.problem, explored.problem.search_size
    items = problem.items("validation")[: size.race_items]
    table = explored.samples.table(items, _deep(explored, size.race_samples), "race")
    study_round = _opened(problem, table, explored.variants, problem.study_rounds + 1)
    _judge(problem, study_round, problem.trials // 3, listener, known)
    study_round.evaluator.forget()
    variants = kept(problem, table, explored.variants, size.study_variants)
    return replace(explored, variants=variants, study_rounds=(study_round,))


def study(explored: Explored, listener: Listener) -> Explored:
    """Spend the rest of the trials on all items of the study and all samples of what is left.

    What the race judged is judged again on the larger table; a front is read from here alone.
    """
    problem = explored.problem
    items = problem.items("validation")[: problem.search_size.study_items]
    table = explored.samples.table(items, _deep(explored), "study")
    study_round = _opened(problem, table, explored.variants, problem.study_rounds + 2)
    raced = [judged.proposal for judged in explored.study.judged.values()]
    _judge(problem, study_round, problem.trials - problem.trials // 3, listener, raced)
    study_round.try_alone()
    end = SearchEnd("search_complete", None, "All samples of the search's size were looked at.")
    if explored.samples.free:
        end = SearchEnd("recording_exhausted", None, "All recorded samples were looked at.")
    return replace(explored, study_rounds=(*explored.study_rounds, study_round), end=end)


def _deep(explored: Explored, most: int | None = None) -> dict[Variant, int]:
    """All samples of the variants and the targets', at most ``most``, and what signals ask."""
    problem, space = explored.problem, explored.problem.space
    bound = most_samples(space) if most is None else min(most, most_samples(space))
    wanted = with_nodes(explored.variants, min(explored.n_samples, bound), space)
    for variant, n in problem.escalated_to.items():
        wanted |= with_nodes((variant,), min(n, bound), space)
    return {**wanted, **asked_of(problem.ready_signals)}


def _opened(
    problem: TierProblem, table: SampleTable, variants: tuple[Variant, ...], number: int
) -> StudyRound:
    """Study round ``number`` on ``table``.

    Variants of escalation targets take part in buckets, not in a probe.
    """
    dims = problem.dimensions(table, (*variants, *problem.escalated_to))
    name = f"{problem.task.name}/{problem.tier.name}/g{number}"
    return StudyRound(name, problem.evaluator(table), dims, problem.seed, number)


def _judge(
    problem: TierProblem,
    study_round: StudyRound,
    trials: int,
    listener: Listener,
    known: Sequence[Proposal],
) -> None:
    """Judge what was ``known`` before, then warm starts, then what the sampler asks for."""

    def best(judged: EvaluatedTrial) -> None:
        policy = described(judged.policy)
        listener(Best(problem.tier.name, judged.trial, judged.score, judged.usd, policy))

    study_round.judge_again(known)
    dims = study_round.dimensions
    warm = [
        Proposal(Difficulty(), (), uniform(variant, SINGLE).buckets) for variant in dims.variants
    ]
    allocated = allocate(study_round.evaluator, dims)
    study_round.listed = allocated.simple
    study_round.enqueue([*warm, *allocated.spread(WARM_STARTS)])
    study_round.run(trials, best)


# Select: everything that the study judged, on all of its items


def candidates_of(explored: Explored) -> tuple[list[Candidate], Evaluator]:
    """The baseline, and what the constraints allow: all that the study judged, simple policies of a
    grid, and cascades. The last two are the same for every seed.

    Judged on the study's items in an order that depends on their ids alone, as the folds of
    cross-fitting must; and without closed forms, so that policies that do nearly the same share the
    noise of their permutations. The evaluator of these items is returned too.
    """
    problem, last = explored.problem, explored.study
    table = last.evaluator.table
    judge = problem.evaluator(table.rows(np.argsort(table.item_ids, kind="stable")), exact=False)
    policies = {uniform(problem.variants.baseline, SINGLE): -1}
    for judged in last.feasible():
        policies.setdefault(judged.policy, judged.trial)
    listed = (*last.listed, *cascades(last.evaluator, last.dimensions))
    for policy in (p for p in listed if last.allows(last.evaluator.evaluate(p))):
        policies.setdefault(policy, -1)
    for target in problem.targets:
        for policy in (target.one_sample, target.tuned):
            policies.setdefault(policy, -1)
    candidates = [
        Candidate(policy, trial, judge.evaluate(policy)) for policy, trial in policies.items()
    ]
    return [c for c in candidates if not np.isnan(c.evaluation.score).any()], judge


def select(explored: Explored) -> Selection:
    """Choose a policy for each operating point."""
    problem, targets = explored.problem, explored.problem.targets
    candidates, judge = candidates_of(explored)
    wanted, margin = problem.operating_point, problem.margin
    alone = None
    if targets:
        own = [c for c in candidates if keeps_to_itself(c.policy)]
        point = problem.plain_point
        alone = select_points(own, wanted, margin=margin, only=point)[point].policy
    strong = targets[-1].one_sample if targets else None
    points = select_points(candidates, wanted, margin=margin, strong=strong)
    return Selection(candidates[0], points, problem.point, candidates, judge, alone)


# Test: the chosen policy and the baseline, once, on the test split


@dataclass(frozen=True)
class HeldOutTest:
    """What the test split said, and what is read from the validation items beside it.

    Attributes:
        evaluations: policy -> its evaluation on ``table``, the test items: the baseline and the
            chosen policy, and all those of ``validated`` where samples are free.
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

    Raises:
        BudgetError: the budget left too few test items.
        ProviderError: too few test items have their samples.
    """
    problem, last, baseline = explored.problem, explored.study, selected.baseline.policy
    steps = ablation.ablation_steps(
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
    oracle = ablation.oracle_bound(judge.table, recipes, problem.permutations, full)
    judge.forget()
    return HeldOutTest(
        table, judged, comparisons, steps, beside, validated, judge.table.item_ids, oracle
    )


def _on_test_items(
    explored: Explored, selected: Selection, named: Sequence[Policy]
) -> tuple[SampleTable, dict[Policy, Evaluation]]:
    """Test items with the samples that the chosen policy and the baseline ask for, as serving would.

    Where samples are free, all that is ``named`` is judged, over permutations of all samples that
    there are; where samples follow others, all that a policy may ask for are bought.
    """
    problem, samples = explored.problem, explored.samples
    items = problem.items("test")[: problem.search_size.test_items]
    chosen = selected.points[selected.chosen].policy
    policies = list(dict.fromkeys([selected.baseline.policy, chosen]))
    if samples.free:
        policies = list(named)
    wanted = samples_needed(policies, LEAST_SAMPLES if samples.free else 1)
    if samples.free or any(variant.path for variant in wanted):
        table = samples.table(items, wanted, "test")
        judge = problem.evaluator(table, exact=False)
        return table, {policy: judge.evaluate(policy) for policy in policies}
    table = play(samples, policies, items, "test")
    if table.n_items < min(FEWEST_ITEMS, len(items)):
        raise BudgetError(
            f"tier {problem.tier.name!r}: only {table.n_items} of {len(items)} test items have the "
            "samples that the chosen policy and the baseline ask for; raise the budget and run the "
            "same command: nothing is bought twice"
        )
    return table, {policy: replay_table(policy, table) for policy in policies}


def _beside(problem: TierProblem, selected: Selection) -> dict[str, Policy]:
    """Never escalating, always escalating (at one sample, and as the stronger tier was tuned)."""
    alone = selected.alone
    beside = {} if alone is None else {f"always {problem.tier.name}": alone}
    for target in problem.targets:
        beside[f"always {target.tier.name}"] = target.one_sample
        beside[f"always {target.tier.name}, tuned"] = target.tuned
    return beside


def _tellable(study_round: StudyRound, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single samples, as far as the table has their variants."""
    found = [Recipe((variant,), SINGLE) for variant in table.variants]
    found += [recipe for judged in study_round.front() for recipe in judged.policy.buckets]
    return [
        r for r in dict.fromkeys(found) if all(variant in table.variants for variant in r.variants)
    ]
