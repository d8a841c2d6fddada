"""The stages of a tier's search, in their order: screen, halve, gate, fit, race, study, select.

Sequential halving over variants, on nested items of the validation split: each iteration has fewer
variants and more samples of them (``budget``). Race and study try policies on what is left; what is
chosen from all that the study judged is measured once on the test split (``held_out``). Nothing
depends on time or on the order in which calls come back: the same problem and samples give the same
result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tierwise.difficulty import SignalFit
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.pool import FEWEST_ITEMS, CutShortError
from tierwise.schema import Difficulty, Tier, Usage, UsageLimits, Variant, uniform
from tierwise.schema.result import Headroom, Proposal, SearchEnd
from tierwise.search.allocation import allocate_on, cascades
from tierwise.search.budget import (
    LEAST_ITEMS,
    LEAST_TO_SEE,
    MOST_TO_SEE,
    Deepening,
    HalvingPlan,
    Iteration,
    checked,
    enough_items,
)
from tierwise.search.ending import EXPECTED_GAIN, expected_gain, headroom, search_end
from tierwise.search.events import Best, Listener, Started
from tierwise.search.gates import UNDECIDED, VOTES, GateDecision, closed_space, decide
from tierwise.search.problem import SampleCost, TierProblem, keeps_to_itself
from tierwise.search.samples import (
    SCREENED_CHAINS,
    SampleCounts,
    SampleLedger,
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
    price_aim,
    select_points,
)
from tierwise.search.signals import ASK_SAMPLES, asked_of, best_way_to_ask, fit_signals, watched
from tierwise.search.space import SINGLE
from tierwise.search.study import EvaluatedTrial, StudyRound, described
from tierwise.search.survivors import Prospect, kept, prospect, verifiers_of
from tierwise.stats.pareto import Indices

WARM_STARTS = 24
"""Allocations that a study begins with."""

LEADING = 8
"""Policies of the race, the best first, whose variants and samples the study has in any case."""

HASTE = 4
"""Part of the trials that are made where the time ended before them."""

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
        variants: those that go on.
        headroom: how far prompts differ, by the screening.
        fitted: signals that were fitted on the train split.
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
    def have(self) -> dict[Variant, int]:
        """Samples of each variant that goes on, on the items of ``table``."""
        return {v: self.table.of(v).n_samples for v in self.variants}


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
    for at in range(1, len(explored.plan.variants_by_iteration) - 1):
        listener(Started(problem.tier.name, explored.plan.stage_name(at)))
        explored = halve(explored, at)
    if samples.short == "seconds":  # what is left of the time is the test's
        problem = explored.problem
        explored = replace(explored, problem=replace(problem, trials=problem.trials // HASTE))
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
    iteration = plan.iteration(0, len(variants), Iteration(0, 0, 0), left)
    in_turn = by_turns(variants, problem.variants.baseline)[: iteration.variants]
    variants = tuple(variant for variant in variants if variant in in_turn)
    wanted = with_nodes(in_turn, iteration.samples, space, SCREENED_CHAINS)
    asked = (variant for of in problem.variants.asking.values() for variant in of)
    wanted |= dict.fromkeys(asked, ASK_SAMPLES)
    try:
        table = samples.table(problem.items("validation")[: iteration.items], wanted, "screen")
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


def _bought(
    explored: Explored, n_items: int, n_samples: Mapping[Variant, int], stage: str
) -> SampleTable:
    """So many samples of so many validation items; where that was cut short, at least the samples
    that the stage before had."""
    try:
        items = explored.problem.items("validation")[:n_items]
        return explored.samples.table(items, n_samples, stage)
    except CutShortError as cut:
        return whole_part(cut.table, explored.table.item_ids)


def by_turns(variants: Sequence[Variant], baseline: Variant) -> tuple[Variant, ...]:
    """The variants, the baseline's first: one of each prompt, then a second one of each, and on."""
    place: dict[Variant, tuple[int, int]] = {}
    seen: dict[str, int] = {}
    for i, variant in enumerate(sorted(variants, key=lambda v: v != baseline)):
        place[variant] = seen.get(variant.prompt, 0), i
        seen[variant.prompt] = seen.get(variant.prompt, 0) + 1
    return tuple(sorted(variants, key=lambda v: place[v]))


def halve(explored: Explored, at: int) -> Explored:
    """Iteration number ``at``: more samples of the better half of the variants."""
    problem, plan = explored.problem, explored.plan
    ahead = kept(problem, explored.table, explored.variants, plan.variants_by_iteration[at])
    variants = tuple(v for v in explored.variants if v in ahead)
    have = Iteration(len(variants), explored.table.n_items, min(explored.have.values()))
    iteration = plan.iteration(at, len(variants), have, explored.left)
    n_samples = with_nodes(variants, iteration.samples, problem.space, SCREENED_CHAINS)
    n_samples |= asked_of(problem.ready_signals)
    table = _bought(explored, iteration.items, n_samples, plan.stage_name(at))
    return replace(explored, table=table, variants=variants)


def _at_one_sample(
    table: SampleTable, variants: Sequence[Variant]
) -> tuple[VariantAtOneSample, ...]:
    single = Evaluator(table, Permutations(1))
    judged = [single.evaluate(uniform(variant, SINGLE)) for variant in variants]
    return tuple(
        VariantAtOneSample(variant, e.mean_score, e.mean_usd)
        for variant, e in zip(variants, judged, strict=True)
    )


def measured_cost(table: SampleTable, tier: Tier, assumed: SampleCost) -> SampleCost:
    """Means over the variants; tokens from dollars, as assumed where a tier is free."""
    rows = list(table.variants.values())
    prompt = float(np.mean([r.prompt_usd.mean() for r in rows]))
    completion = float(np.mean([r.completion_usd.mean() for r in rows]))
    each = tier.price.prompt_usd(1.0), tier.price.completion_usd(1.0, prompt_tokens=1.0)
    return SampleCost(
        completion,
        completion / each[1] if each[1] else assumed.tokens,
        tier.takes_n,
        assumed.judging,
        assumed.turn,
        prompt,
        prompt / each[0] if each[0] else assumed.prompt_tokens,
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

    have = explored.have
    if max(have.values()) < min(VOTES[0], explored.n_samples):
        return UNDECIDED  # no vote can be seen yet
    found = decision(table)
    most = max(problem.search_size.race_items, table.n_items)
    part = plan.part(len(plan.variants_by_iteration) - 1, explored.left)
    more = Deepening(have, have, table.n_items, table.n_items, most, most, part, plan.cost)
    items, _ = more.affordable(fewest=len(have), variants_first=True)
    if found.open or items <= table.n_items:
        return found
    n_samples = max(have.values())
    wanted = with_nodes(explored.variants, n_samples, problem.space, SCREENED_CHAINS)
    return decision(_bought(explored, items, wanted, "compute gate"))


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
    """Spend a third of the trials on the last iteration's variants; keep those that are worth a
    study.

    Samples of an item are bought as far as a variant's curve may use them.
    """
    problem, plan = explored.problem, explored.plan
    at = len(plan.variants_by_iteration) - 1
    ahead = kept(problem, explored.table, explored.variants, plan.variants_by_iteration[at])
    variants = tuple(v for v in explored.variants if v in ahead)
    explored = replace(explored, variants=variants)
    size, there = problem.search_size, explored.table.n_items
    most = min(size.race_samples, explored.n_samples)
    if max(explored.have.values()) == 1:  # nothing is known of how samples agree
        most = min(most, VOTES[0])
    wanted = worth_buying(explored, most, least=min(VOTES[0], most))
    as_many = max(there, min(size.race_items * (1 if plan.cost.takes_n else 2), size.study_items))
    order = {v: wanted[v] for v in dict.fromkeys((problem.variants.baseline, *ahead))}
    part = plan.part(at, explored.left)
    least = min(there, LEAST_TO_SEE)
    table = _deepened(
        explored, order, (least, as_many), part, "race", variants_first=True, enough=there
    )
    variants = tuple(v for v in variants if v in table.variants)
    if any(variant not in table.variants for variant in problem.escalated_to):  # cut short
        problem = replace(problem, targets=())
    explored = replace(explored, problem=problem, variants=variants)
    study_round = _opened(problem, table, variants, problem.study_rounds + 1)
    _judge(problem, study_round, problem.trials // 3, listener, known)
    study_round.evaluator.forget()
    return replace(explored, table=table, study_rounds=(study_round,))


def study(explored: Explored, listener: Listener) -> Explored:
    """Spend the rest of the trials on what the rest of the budget buys of the variants that lead.

    What the race judged is judged again on the larger table; a front is read from here alone.
    """
    problem, size = explored.problem, explored.problem.search_size
    wanted: Mapping[Variant, int] = leading(explored)
    # The test of a policy that asks for so many samples costs more than was foreseen.
    plan = replace(explored.plan, test_samples=max(wanted.values()))
    explored.samples.set_aside(plan.test_row(plan.test_items).usage(plan.cost))
    variants = tuple(v for v in explored.variants if v in wanted)
    explored = replace(explored, variants=variants, plan=plan)
    gain = _gain_of_more(explored, wanted)
    table, there = explored.table, explored.table.n_items
    if gain >= EXPECTED_GAIN:
        items = min(there, LEAST_TO_SEE), max(there, size.study_items)
        wanted = _with_money(explored, wanted, items[1])
        table = _deepened(explored, wanted, items, explored.left, "study", variants_first=False)
    variants = tuple(v for v in explored.variants if v in table.variants)
    explored = replace(explored, variants=variants)
    study_round = _opened(problem, table, explored.variants, problem.study_rounds + 2)
    raced = [judged.proposal for judged in explored.study.judged.values()]
    _judge(problem, study_round, problem.trials - problem.trials // 3, listener, raced)
    study_round.try_alone()
    rounds = (*explored.study_rounds, study_round)
    explored = replace(explored, table=table, study_rounds=rounds)
    return replace(explored, end=_end(explored, wanted))


def _with_money(
    explored: Explored, wanted: Mapping[Variant, int], n_items: int
) -> Mapping[Variant, int]:
    """``wanted``, or several times as many samples where a budget pays for them on all items.

    Where no item is left, more samples of each are what still tells variants apart.
    """
    plan, left = explored.plan, explored.left
    for times in (4, 3, 2) if not left.unlimited else ():
        more = {
            v: min(n * times, explored.n_samples, explored.samples.most(v))
            for v, n in wanted.items()
        }
        bought = Deepening(
            more, explored.have, explored.table.n_items, n_items, n_items, n_items, left, plan.cost
        )
        if bought.affordable(fewest=len(more), variants_first=True) == (n_items, more):
            return more
    return wanted


def worth_buying(explored: Explored, most: int, least: int = 1) -> dict[Variant, int]:
    """Samples of each variant that may be used: deep where its optimistic curve beats the best."""
    found = _prospects(explored, most)
    best = max(one.expected for one in found.values())
    have, samples = explored.have, explored.samples
    return {
        variant: min(
            max(one.depth if one.upper >= best else 1, least, have[variant]),
            max(most, have[variant]),
            max(samples.most(variant), 1),
        )
        for variant, one in found.items()
    }


def _prospects(explored: Explored, most: int) -> dict[Variant, Prospect]:
    problem, table = explored.problem, explored.table
    aim, names = price_aim(problem.operating_point), verifiers_of(problem.space)
    return {v: prospect(table.of(v), problem.space, aim, most, names) for v in explored.variants}


def leading(explored: Explored) -> dict[Variant, int]:
    """The variants that the study may have, with samples of each, the most useful first.

    Those of the race's best policies, and those whose curves may do better.
    """
    problem, size, race = explored.problem, explored.problem.search_size, explored.study
    aim = price_aim(problem.operating_point)
    among = sorted(race.feasible(), key=lambda j: -float(aim.value(j.score, j.usd)))
    best = [judged.policy for judged in among[:LEADING]]
    deep = worth_buying(explored, explored.n_samples)
    for variant, n in samples_needed(best).items():
        if variant in deep:
            deep[variant] = max(deep[variant], n)
    useful = kept(problem, explored.table, explored.variants, size.study_variants)
    used = [v for policy in best for v in policy.variants if v in deep]
    first = dict.fromkeys((problem.variants.baseline, *watched(problem.ready_signals)))
    order = list(dict.fromkeys((*first, *useful[:2], *used, *useful)))
    return {v: deep[v] for v in order[: max(size.study_variants, len(first))]}


def _deepened(
    explored: Explored,
    wanted: Mapping[Variant, int],
    items: tuple[int, int],
    left: UsageLimits,
    stage: str,
    *,
    variants_first: bool,
    enough: int = MOST_TO_SEE,
) -> SampleTable:
    """``wanted`` samples of each variant, and of the targets', as far as ``left`` affords them."""
    problem, space = explored.problem, explored.problem.space
    always = dict.fromkeys((problem.variants.baseline, *watched(problem.ready_signals)))
    more = Deepening(
        wanted,
        explored.have,
        explored.table.n_items,
        *items,
        min(enough_items(_deeper_gain(explored, wanted)), enough),
        left,
        explored.plan.cost,
        explored.plan.counts.nodes if explored.gate.open else 0,
        lambda n: _of_targets(explored, n),
    )
    n_items, depth = more.affordable(fewest=len(always) + 1, variants_first=variants_first)
    n_samples = {v: n for one, k in depth.items() for v, n in with_nodes((one,), k, space).items()}
    for variant, n in problem.escalated_to.items():
        n_samples |= with_nodes((variant,), min(n, most_samples(space)), space)
    n_samples |= asked_of(problem.ready_signals)
    return _bought(explored, n_items, n_samples, stage)


def _of_targets(explored: Explored, n_items: int) -> Usage:
    """What samples of escalation targets on ``n_items`` cost beyond what their searches paid
    for."""
    names = [item.id for item in explored.problem.items("validation")[:n_items]]
    usage = Usage()
    for target in explored.problem.targets:
        for variant, n in target.variants.items():
            missing = sum(max(0, n - explored.samples.there(variant, name)) for name in names)
            usage += target.cost.of(missing, missing)
    return usage


def _gain_of_more(explored: Explored, wanted: Mapping[Variant, int]) -> float:
    """What the study's samples may add: knowing the race's policies exactly, and deeper votes.

    A point that asks for the cheapest level policy needs samples to show that one is level.
    """
    if explored.problem.point not in ("balanced", "quality"):
        return 1.0
    aim = price_aim(explored.problem.operating_point)
    judge = explored.study.evaluator
    judged = [judge.evaluate(j.policy) for j in explored.study.feasible()]
    exact = expected_gain([e for e in judged if e.known], aim)
    return max(exact, _deeper_gain(explored, wanted))


def _deeper_gain(explored: Explored, wanted: Mapping[Variant, int]) -> float:
    """What the optimistic curves of those that are to be deepened promise beyond the best by
    now."""
    found = _prospects(explored, explored.n_samples)
    best, have = max(one.now for one in found.values()), explored.have
    deeper = [found[v].upper - best for v, n in wanted.items() if n > have[v]]
    return max(0.0, *deeper) if deeper else 0.0


def _end(explored: Explored, wanted: Mapping[Variant, int]) -> SearchEnd:
    """Why no more was bought."""
    problem, aim = explored.problem, price_aim(explored.problem.operating_point)
    judge, table = explored.study.evaluator, explored.table
    judged = [judge.evaluate(j.policy) for j in explored.study.feasible()]
    gain = expected_gain([e for e in judged if e.known], aim)
    complete = table.n_items >= problem.search_size.study_items
    reached = all(v in table.variants and table.of(v).n_samples >= n for v, n in wanted.items())
    recorded = explored.samples.free or any(
        table.of(v).n_samples >= explored.samples.most(v) for v in explored.variants
    )
    return search_end(
        gain,
        complete=complete and reached,
        recorded=recorded,
        short=explored.samples.short,
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
    table = study_round.evaluator.table
    everything = np.arange(table.n_items)
    parts = [_by_id(table)[fold.train] for fold in folds_of(table.n_items)]
    allocated, *without = allocate_on(study_round.evaluator, dims, [everything, *parts])
    study_round.listed = allocated.simple
    study_round.rehearsed = tuple(tuple(one.rehearsed(WARM_STARTS)) for one in without)
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


def _rehearsed(last: StudyRound, judge: Evaluator) -> list[list[Candidate]]:
    """For each fold the policies of several buckets that are proposed without its items."""
    found = []
    for proposals in last.rehearsed:
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
    rehearsed = _rehearsed(explored.study, judge)
    wanted, margin = problem.operating_point, problem.margin
    alone = None
    if targets:
        own, *without = (
            [c for c in some if keeps_to_itself(c.policy)] for some in (candidates, *rehearsed)
        )
        point = problem.plain_point
        alone = select_points(own, wanted, margin=margin, only=point, rehearsed=without)[
            point
        ].policy
    strong = targets[-1].one_sample if targets else None
    points = select_points(candidates, wanted, margin=margin, strong=strong, rehearsed=rehearsed)
    return Selection(candidates[0], points, problem.point, candidates, judge, alone)
