"""The stages of a tier's search, in their order: screen, halve, gate, fit, race, study, select.

Sequential halving over variants, on nested items of the validation split: each round has fewer
variants and more samples of them (``budget``). Race and study try policies on what is left; what is
chosen from all that the study judged is measured once on the test split (``held_out``). Nothing
depends on time or on the order in which calls come back: the same problem and samples give the same
result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tierwise.difficulty import SignalFit
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.pool import FEWEST_ITEMS, CutShortError
from tierwise.schema import Difficulty, Policy, Usage, UsageLimits, Variant, uniform
from tierwise.schema.result import Headroom, Proposal, SearchEnd
from tierwise.search.allocation import allocate_on, cascades
from tierwise.search.budget import LEAST_ITEMS, HalvingPlan, Iteration, checked, largest
from tierwise.search.ending import EXPECTED_GAIN, expected_gain, headroom, search_end
from tierwise.search.gates import UNDECIDED, VOTES, GateDecision, closed_space, decide
from tierwise.search.problem import Best, Listener, Started, TierProblem, keeps_to_itself
from tierwise.search.samples import (
    SCREENED_CHAINS,
    SampleCounts,
    SampleLedger,
    measured_cost,
    most_samples,
    samples_needed,
    whole_part,
    with_nodes,
)
from tierwise.search.selection import (
    BUCKETED,
    Candidate,
    Selection,
    complexity,
    folds_of,
    select_points,
)
from tierwise.search.signals import ASK_SAMPLES, asked_of, best_way_to_ask, fit_signals, watched
from tierwise.search.space import SINGLE
from tierwise.search.study import EvaluatedTrial, StudyRound, described
from tierwise.search.survivors import Prospect, foreseen, kept, prospect, verifiers_of
from tierwise.stats.pareto import Indices

WARM_STARTS = 24
"""Allocations that a study begins with."""

LEADING = 8
"""Policies of the race, the best first, whose variants and samples the study has in any case."""

LATE_TRIALS = 1 / 4
"""Part of the trials that are made where the time ended before them."""

GATE_PART = 0.15
"""Of what is left, that a second look of a compute gate that would close may cost."""

FIT_PART = 0.15
"""Of what is left after the screening, that the samples for fitted signals may cost."""


class VariantAtOneSample(NamedTuple):
    """A variant at one sample, on the screening items."""

    variant: Variant
    score: float
    usd: float


@dataclass(frozen=True)
class Explored:
    """What was found on the validation split so far; each stage returns it with what it adds.

    Attributes:
        problem: with the search size within the task's splits, and a closed gate's smaller space.
        samples: where the next stage gets its own, and what was spent.
        plan: what the size of the next iteration follows from.
        screened: every variant that was screened at one sample, on ``screened_table``.
        table: the last iteration's, of at least the variants that go on.
        n_samples: the most samples of a variant that a study may look at.
        variants: those that go on; ``table`` has a sample of the baseline in any case.
        headroom: how far prompts differ, by the screening.
        fitted: signals that were fitted on the train split.
        halvings: rounds between the screening and the race.
        study_rounds: the race's, then the study's, whose front is selected from.
        end: why no more was bought.
    """

    problem: TierProblem
    samples: SampleLedger
    plan: HalvingPlan
    screened: tuple[VariantAtOneSample, ...]
    screened_table: SampleTable
    table: SampleTable
    n_samples: int
    variants: tuple[Variant, ...]
    headroom: Headroom
    gate: GateDecision = UNDECIDED
    fitted: tuple[SignalFit, ...] = ()
    study_rounds: tuple[StudyRound, ...] = ()
    halvings: int = 0
    end: SearchEnd = SearchEnd("search_complete", None, "")

    @property
    def study(self) -> StudyRound:
        """The last study round."""
        return self.study_rounds[-1]

    @property
    def left(self) -> UsageLimits:
        """What the search may still spend, the money for the test not in it."""
        return self.plan.for_search - self.samples.spent

    @property
    def have(self) -> Iteration:
        """What the variants that go on have, on the items of ``table``."""
        n_samples = min(self.table.of(v).n_samples for v in self.variants)
        return Iteration(len(self.variants), self.table.n_items, n_samples)

    @property
    def depth(self) -> int:
        """Samples of an item up to which some variant may be the best, by its optimistic curve, or
        that the race's best policies ask for."""
        if self.have.samples < 2 or not foreseen(self.problem.space):
            return self.n_samples  # nothing is known of how samples agree
        found = prospects(self)
        best = max(one.expected for one in found.values())
        depth = max(one.depth for one in found.values() if one.upper >= best)
        asked = samples_needed(best_of_race(self)) if self.study_rounds else {}
        return min(max(depth, *(asked.get(v, 1) for v in found)), self.n_samples)

    @property
    def rounds(self) -> list[Iteration]:
        """What the search buys next, the study last."""
        return self.plan.schedule(
            len(self.variants),
            self.have,
            self.left,
            depth=self.depth,
            deepest=self.n_samples,
            raced=bool(self.study_rounds),
            beside=lambda items: extra_usage(self, items),
        )


def explore(
    problem: TierProblem, samples: SampleLedger, listener: Listener, known: Sequence[Proposal] = ()
) -> Explored:
    """Look for policies on the validation split; ``known`` are an earlier study's, judged again.

    Where the budget, the time or the provider ends while a stage buys, it goes by what is there.

    Raises:
        BudgetError: the budget does not pay for the smallest search, or ended before it was there.
        ProviderError: the provider failed for good before that.
    """
    listener(Started(problem.tier.name, "screen"))
    explored = screen(problem, samples)
    while len(rounds := explored.rounds) > 2:
        explored = halve(explored, rounds[0], listener)
    if samples.short == "seconds":  # what is left of the time is the test's
        problem = explored.problem
        explored = replace(
            explored, problem=replace(problem, trials=int(problem.trials * LATE_TRIALS))
        )
    explored = fit(pass_gate(explored))
    listener(Started(problem.tier.name, "race"))
    explored = race(explored, listener, known)
    if not explored.gate.decided:
        explored = pass_gate(explored)
    listener(Started(problem.tier.name, "study"))
    return study(explored, listener)


# Screen and halve: fewer and fewer variants on more and more samples


def screen(problem: TierProblem, samples: SampleLedger) -> Explored:
    """Buy the first samples of every variant, or of as many as the budget has enough items for.

    Raises:
        BudgetError: the budget does not pay for the smallest search; before the first sample.
        TierwiseError: what cut the purchase short, where it left less than that.
    """
    space, variants = problem.space, problem.variants.candidates
    n_samples = min(most_samples(space), max(samples.most(variant) for variant in variants))
    size = problem.search_size.within(problem.task, space.signals)
    counts = SampleCounts.of(space, len(variants), n_samples)
    plan = HalvingPlan(size, counts, problem.assumed, problem.cap, samples.free)
    left = checked(plan, problem.tier.name).for_search - samples.spent
    iteration = plan.schedule(len(variants), left=left)[0]
    in_turn = by_turns(variants, problem.variants.baseline)[: iteration.variants]
    variants = tuple(variant for variant in variants if variant in in_turn)
    wanted = with_nodes(in_turn, iteration.samples, space, SCREENED_CHAINS)
    asked = (variant for of in problem.variants.asking.values() for variant in of)
    wanted |= dict.fromkeys(asked, ASK_SAMPLES)
    try:
        table = samples.table(problem.items["validation"][: iteration.items], wanted, "screen")
    except CutShortError as cut:
        table = _screened_in_part(cut, in_turn)
        variants = tuple(variant for variant in variants if variant in table.variants)
    plan = replace(plan, cost=measured_cost(table, problem.tier, problem.assumed))
    samples.set_aside(plan.test_row(plan.test_items).usage(plan.cost))
    asking = problem.variants.asking.items()
    told = best_way_to_ask(table, {k: [v for v in of if v in table.nodes] for k, of in asking})
    size = replace(size, screen_items=iteration.items)
    problem = replace(problem, search_size=size, ready_signals=told)
    found = headroom(table)
    one = _at_one_sample(table, variants)
    return Explored(problem, samples, plan, one, table, table, n_samples, variants, found)


def _screened_in_part(cut: CutShortError, in_turn: Sequence[Variant]) -> SampleTable:
    """As many variants as have enough items in common, those first whose turn is first.

    Raises:
        TierwiseError: not even the baseline and one other have; what cut the purchase short.
    """
    table = cut.table
    has = {variant: rows.complete for variant, rows in table.everything.items()}
    for k in range(len(in_turn), 1, -1):
        own = [variant for variant in has if variant.root in in_turn[:k]]
        common = np.logical_and.reduce([has[variant] for variant in own])
        enough = LEAST_ITEMS if k > 2 else FEWEST_ITEMS
        if common.sum() >= max(min(enough, table.n_items), 1):
            kept_nodes = [v for v in table.nodes if v in own or (has[v] | ~common).all()]
            table = table.rows(np.flatnonzero(common))
            return replace(
                table,
                variants={v: rows for v, rows in table.variants.items() if v in own},
                nodes={v: table.nodes[v] for v in kept_nodes if v in own or not v.path},
            )
    raise cut.error


def by_turns(variants: Sequence[Variant], baseline: Variant) -> tuple[Variant, ...]:
    """The variants, the baseline's first: one of each prompt, then a second one of each, and on."""
    place: dict[Variant, tuple[int, int]] = {}
    seen: dict[str, int] = {}
    for i, variant in enumerate(sorted(variants, key=lambda v: v != baseline)):
        place[variant] = seen.get(variant.prompt, 0), i
        seen[variant.prompt] = seen.get(variant.prompt, 0) + 1
    return tuple(sorted(variants, key=lambda v: place[v]))


def halve(explored: Explored, wanted: Iteration, listener: Listener) -> Explored:
    """A round before the race: more samples of the better half of the variants."""
    stage = f"halving {explored.halvings + 1}"
    listener(Started(explored.problem.tier.name, stage))
    explored = replace(explored, variants=ahead(explored, wanted.variants))
    table = bought(explored, wanted, stage, SCREENED_CHAINS)
    return replace(explored, table=table, halvings=explored.halvings + 1)


def ahead(explored: Explored, n: int) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants, and those that a signal watches, in their order."""
    found = kept(explored.problem, explored.table, explored.variants, n)
    found += watched(explored.problem.ready_signals)
    return tuple(v for v in explored.variants if v in found)


def bought(
    explored: Explored, wanted: Iteration, stage: str, chains: int | None = None
) -> SampleTable:
    """``wanted`` samples of each variant, and what is compared and escalated with.

    Of the baseline there is a sample in any case. With ``chains`` only so many turns below answers,
    and nothing of other tiers. Where that was cut short, at least what the stage before had.
    """
    problem, space = explored.problem, explored.problem.space
    n_samples = {problem.variants.baseline: 1, **asked_of(problem.ready_signals)}
    n_samples |= with_nodes(explored.variants, wanted.samples, space, chains)
    for variant, n in problem.escalated_to.items() if chains is None else ():
        n_samples |= with_nodes((variant,), min(n, most_samples(space)), space)
    try:
        items = problem.items["validation"][: wanted.items]
        return explored.samples.table(items, n_samples, stage)
    except CutShortError as cut:
        return whole_part(cut.table, explored.table.item_ids)


def extra_usage(explored: Explored, n_items: int) -> Usage:
    """What the baseline and the escalation targets cost on ``n_items`` beyond what is paid for."""
    names = [item.id for item in explored.problem.items["validation"][:n_items]]
    baseline = explored.problem.variants.baseline
    wanted = [({baseline: 1}, explored.plan.cost)] if baseline not in explored.variants else []
    wanted += [(dict(target.variants), target.cost) for target in explored.problem.targets]
    usage = Usage()
    for variants, cost in wanted:
        for variant, n in variants.items():
            missing = sum(max(0, n - explored.samples.there(variant, name)) for name in names)
            usage += cost.of(missing, missing)
    return usage


def _at_one_sample(
    table: SampleTable, variants: Sequence[Variant]
) -> tuple[VariantAtOneSample, ...]:
    single = Evaluator(table, Permutations(1))
    judged = [single.evaluate(uniform(variant, SINGLE)) for variant in variants]
    return tuple(
        VariantAtOneSample(variant, e.mean_score, e.mean_usd)
        for variant, e in zip(variants, judged, strict=True)
    )


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
    problem, plan, table = explored.problem, explored.plan, explored.table
    free, part = explored.samples.free or problem.tier.price.free, explored.left * GATE_PART

    def decision(table: SampleTable) -> GateDecision:
        return decide(
            table,
            problem.space,
            problem.aim,
            logprobs=problem.tier.logprobs,
            permutations=problem.permutations,
            free=free,
        )

    have = explored.have
    if have.samples < min(VOTES[0], explored.n_samples):
        return UNDECIDED  # no vote can be seen yet
    found = decision(table)
    most = max(problem.search_size.race_items, have.items)
    more = largest(have.items, most, lambda n: plan.fits(replace(have, items=n), have, part))
    if found.open or more <= have.items:
        return found
    looked = replace(have, items=more)
    return decision(bought(explored, looked, "compute gate", SCREENED_CHAINS))


# Fit: signals with ``fit`` learn on the train split when thinking pays


def fit(explored: Explored) -> Explored:
    """With the fitted signals of the space.

    Thinking is the best other mode's best variant, against the cheapest mode's best. None are
    fitted where the gate is closed, nothing thinks, or the budget has no money for it.
    """
    problem, size, left = explored.problem, explored.problem.search_size, explored.left
    samples = 2 * size.fit_items * size.fit_samples
    calls = 2 * size.fit_items if explored.plan.cost.takes_n else samples
    if not (left * FIT_PART).fits(explored.plan.cost.of(samples, calls)):
        return explored
    alive = [row for row in explored.screened if row.variant in explored.variants]
    compared = _compared(alive)
    try:
        fits = fit_signals(problem, explored.samples, *compared) if compared else {}
    except CutShortError:
        fits = {}
    if not fits:
        return explored
    ways = {kind: tuple(one.difficulty for one in found) for kind, found in fits.items()}
    return replace(
        explored,
        problem=replace(problem, ready_signals={**problem.ready_signals, **ways}),
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


# Race and study: trials on more items, then on as many as the budget has


def race(explored: Explored, listener: Listener, known: Sequence[Proposal] = ()) -> Explored:
    """Spend a third of the trials on the last variants before the study."""
    problem, wanted = explored.problem, explored.rounds[0]
    explored = replace(explored, variants=ahead(explored, wanted.variants))
    table = bought(explored, wanted, "race")
    if any(variant not in table.variants for variant in problem.escalated_to):  # cut short
        problem = replace(problem, targets=())
        explored = replace(explored, problem=problem)
    study_round = _opened(problem, table, explored.variants, problem.study_rounds + 1)
    _judge(problem, study_round, problem.trials // 3, listener, known)
    study_round.evaluator.forget()
    return replace(explored, table=table, study_rounds=(study_round,))


def study(explored: Explored, listener: Listener) -> Explored:
    """Spend the rest of the trials on what the rest of the budget buys of the variants that lead.

    What the race judged is judged again on the larger table; a front is read from here alone.
    """
    problem, depth = explored.problem, explored.depth
    # The test of a policy that asks for so many samples costs more than was foreseen.
    plan = replace(explored.plan, test_samples=depth)
    explored.samples.set_aside(plan.test_row(plan.test_items).usage(plan.cost))
    explored = replace(explored, plan=plan)
    (wanted,) = explored.rounds
    explored = replace(explored, variants=finalists(explored, wanted.variants))
    table = explored.table
    if _gain_of_more(explored) >= EXPECTED_GAIN:
        table = bought(explored, wanted, "study")
    study_round = _opened(problem, table, explored.variants, problem.study_rounds + 2)
    raced = [judged.proposal for judged in explored.study.judged.values()]
    trials = problem.trials - problem.trials // 3
    _judge(problem, study_round, trials, listener, raced, out_of_fold=True)
    study_round.try_alone()
    rounds = (*explored.study_rounds, study_round)
    explored = replace(explored, table=table, study_rounds=rounds)
    return replace(explored, end=_end(explored, depth))


def prospects(explored: Explored) -> dict[Variant, Prospect]:
    """What the samples of each variant may come to."""
    problem, table = explored.problem, explored.table
    aim, names, most = (problem.aim, verifiers_of(problem.space), explored.n_samples)
    return {v: prospect(table.of(v), problem.space, aim, most, names) for v in explored.variants}


def finalists(explored: Explored, n: int) -> tuple[Variant, ...]:
    """The ``n`` variants of the study: the two most useful, then those of the best policies."""
    problem = explored.problem
    used = [v for policy in best_of_race(explored) for v in policy.variants]
    useful = kept(problem, explored.table, explored.variants, n)
    order = list(dict.fromkeys((*useful[:2], *used, *useful)))
    chosen = {*[v for v in order if v in explored.variants][:n], *watched(problem.ready_signals)}
    return tuple(v for v in explored.variants if v in chosen)


def best_of_race(explored: Explored) -> list[Policy]:
    """The race's best policies by the job's price."""
    aim = explored.problem.aim
    among = sorted(explored.study.feasible(), key=lambda j: -float(aim.value(j.score, j.usd)))
    return [judged.policy for judged in among[:LEADING]]


def _gain_of_more(explored: Explored) -> float:
    """What the study's samples may add: knowing the race's policies exactly, and deeper votes.

    A point that asks for the cheapest level policy needs samples to show that one is level.
    """
    if explored.problem.point not in ("balanced", "quality"):
        return 1.0
    found = prospects(explored).values()
    deeper = max(one.upper for one in found) - max(one.now for one in found)
    return max(_gain_of_knowing(explored), deeper)


def _gain_of_knowing(explored: Explored) -> float:
    """What knowing the last study's policies exactly would add."""
    aim, judge = explored.problem.aim, explored.study.evaluator
    judged = [judge.evaluate(j.policy) for j in explored.study.feasible()]
    return expected_gain([e for e in judged if e.known], aim)


def _end(explored: Explored, depth: int) -> SearchEnd:
    """Why no more was bought; ``depth`` was wanted of each variant."""
    table, samples = explored.table, explored.samples
    has = {v: table.of(v).n_samples for v in explored.variants}
    return search_end(
        _gain_of_knowing(explored),
        complete=table.n_items >= explored.problem.search_size.study_items
        and all(n >= min(depth, samples.most(v)) for v, n in has.items()),
        recorded=samples.free or any(n >= samples.most(v) for v, n in has.items()),
        short=samples.short,
        left=explored.left,
    )


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
    *,
    out_of_fold: bool = False,
) -> None:
    """Judge what was ``known`` before, then warm starts, then what the sampler asks for.

    With ``out_of_fold`` allocations are proposed without each fold as well, for cross-fitting.
    """

    def best(judged: EvaluatedTrial) -> None:
        policy = described(judged.policy)
        listener(Best(problem.tier.name, judged.trial, judged.score, judged.usd, policy))

    study_round.judge_again(known)
    dims = study_round.dimensions
    warm = [
        Proposal(Difficulty(), (), uniform(variant, SINGLE).buckets) for variant in dims.variants
    ]
    table = study_round.evaluator.table
    parts = [np.arange(table.n_items)]
    if out_of_fold:
        parts += [_by_id(table)[fold.train] for fold in folds_of(table.n_items)]
    allocated, *without = allocate_on(study_round.evaluator, dims, parts)
    study_round.listed = allocated.simple
    study_round.out_of_fold = tuple(tuple(one.by_bucket_counts(WARM_STARTS)) for one in without)
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
    judge = problem.evaluator(table.rows(_by_id(table)), exact=False)
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
    return [c for c in candidates if c.evaluation.known], judge


def _by_id(table: SampleTable) -> Indices:
    """Rows of ``table`` in the order that folds are made in."""
    return np.argsort(table.item_ids, kind="stable")


def _proposed_out_of_fold(last: StudyRound, judge: Evaluator) -> list[list[Candidate]]:
    """For each fold the policies of several buckets that are proposed without its items."""
    found = []
    for proposals in last.out_of_fold:
        policies = dict.fromkeys(p for of in proposals if (p := last.policy_of(of)) is not None)
        judged = [
            Candidate(p, -1, judge.evaluate(p)) for p in policies if complexity(p) >= BUCKETED
        ]
        found.append([c for c in judged if last.allows(c.evaluation) and c.evaluation.known])
    return found


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
