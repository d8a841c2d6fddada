"""The stages of a tier's search that buy samples: screen, halve, race and study.

Sequential halving over variants, on nested items of the validation split: each round has fewer
variants and more samples of them (``budget``). Race and study try policies on what is left; what is
chosen from all that the study judged is measured once on the test split (``held_out``). Nothing
depends on time or on the order in which calls come back: the same problem and samples give the same
result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tierwise.difficulty import SignalFit
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.pool import FEWEST_ITEMS, PROVIDER_ENDED, CutShortError
from tierwise.schema import Policy, Usage, UsageLimits, Variant, uniform
from tierwise.schema.result import Headroom, Proposal, SearchEnd
from tierwise.search.budget import LEAST_ITEMS, HalvingPlan, Iteration, checked
from tierwise.search.problem import (
    ASK_SAMPLES,
    Best,
    Listener,
    Started,
    TierProblem,
    asked_of,
    best_way_to_ask,
    watched,
)
from tierwise.search.samples import (
    SCREENED_CHAINS,
    SampleCounts,
    SampleLedger,
    measured_cost,
    samples_needed,
    whole_part,
    with_nodes,
)
from tierwise.search.selection import Utility, folds_of
from tierwise.search.space import SINGLE, Dimensions, most_samples, verifiers_of
from tierwise.search.study import EvaluatedTrial, StudyRound
from tierwise.search.survivors import Prospect, foreseen, headroom, kept, prospect
from tierwise.stats.intervals import UNSUPPORTED, Floats, Interval

LEADING = 8
"""Policies of the race, the best first, whose variants and samples the study has in any case."""

FREE_DEPTH = 4
"""Times the depth of votes that free samples are looked at: the deepest vote then has several
outcomes of an item, in place of one."""

SAMPLER_SEED = 0
"""Of what the sampler proposes: the job's seed decides which samples there are, and the same
samples give the same choice."""

EXPECTED_GAIN = 0.001
"""Score below which what more samples may add is not worth them."""

MOST_POLICIES = 60
"""Policies, the best first, between which a choice may change."""

RESAMPLES_OF_GAIN = 2000


# What is known of a tier so far


class VariantAtOneSample(NamedTuple):
    """A variant at one sample, on the screening items."""

    variant: Variant
    score: float
    usd: float


@dataclass(frozen=True)
class ComputeGateDecision:
    """What the first purchase says.

    Attributes:
        open: spending may pay, or there was too little to tell, or samples are free.
        decided: there was enough to tell.
        items, samples: what it was measured on (items, most samples of a variant).
        net_gain: utility of the best strategy less that of the best single sample, cross-fitted.
        best, best_single: those policies, in one line.
    """

    open: bool
    decided: bool
    items: int
    samples: int
    net_gain: Interval = UNSUPPORTED
    best: str = ""
    best_single: str = ""

    @property
    def name(self) -> str:
        """``open`` or ``closed``."""
        return "open" if self.open else "closed"


UNDECIDED = ComputeGateDecision(True, False, 0, 0)
"""Nothing was measured yet."""


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
    compute_gate: ComputeGateDecision = UNDECIDED
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
    def have(self) -> Iteration:
        """What the variants that go on have, on the items of ``table``."""
        n_samples = min(self.table.of(v).n_samples for v in self.variants)
        return Iteration(len(self.variants), self.table.n_items, n_samples)

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
            beside=self._beside,
        )

    def _beside(self, n_items: int) -> Usage:
        """What the baseline and the escalation targets cost on so many items beyond what is paid
        for."""
        names = [item.id for item in self.problem.items["validation"][:n_items]]
        baseline = self.problem.variants.baseline
        wanted = [({baseline: 1}, self.plan.cost)] if baseline not in self.variants else []
        wanted += [(dict(target.variants), target.cost) for target in self.problem.targets]
        usage = Usage()
        for variants, cost in wanted:
            for variant, n in variants.items():
                missing = sum(max(0, n - self.samples.there(variant, name)) for name in names)
                usage += cost.of(missing, missing)
        return usage

    @cached_property
    def depth(self) -> int:
        """Samples of an item up to which some variant may be the best, by its optimistic curve, or
        that the race's best policies ask for."""
        if self.have.samples < 2 or not foreseen(self.problem.space):
            return self.n_samples  # nothing is known of how samples agree
        found = self.prospects
        best = max(one.expected for one in found.values())
        depth = max(one.depth for one in found.values() if one.upper >= best)
        asked = samples_needed(self.leading) if self.study_rounds else {}
        return min(max(depth, *(asked.get(v, 1) for v in found)), self.n_samples)

    @cached_property
    def prospects(self) -> dict[Variant, Prospect]:
        """What the samples of each variant may come to."""
        space, aim, most = self.problem.space, self.problem.aim, self.n_samples
        names = verifiers_of(space)
        return {v: prospect(self.table.of(v), space, aim, most, names) for v in self.variants}

    @property
    def leading(self) -> list[Policy]:
        """The last study round's best policies by the job's price."""
        value = self.problem.aim.value
        among = sorted(self.study.feasible(), key=lambda j: -float(value(j.score, j.usd)))
        return [judged.policy for judged in among[:LEADING]]


# Screen: the first samples of every variant


def screen(problem: TierProblem, samples: SampleLedger) -> Explored:
    """Buy the first samples of every variant, or of as many as the budget has enough items for.

    Raises:
        BudgetError: the budget does not pay for the smallest search; before the first sample.
        TierwiseError: what cut the purchase short, where it left less than that.
    """
    space, variants = problem.space, problem.variants.candidates
    in_turn = by_turns(variants, problem.variants.baseline)
    n_samples = min(most_samples(space), max(samples.most(variant) for variant in variants))
    size = problem.search_size.within(problem.task, space.signals)
    counts = SampleCounts.of(space, len(variants), n_samples)
    plan = HalvingPlan(size, counts, problem.assumed, problem.cap, samples.free)
    left = checked(plan, problem.tier.name).for_search - samples.spent
    iteration = plan.schedule(len(variants), left=left)[0]
    in_turn = in_turn[: iteration.variants]
    variants = tuple(variant for variant in variants if variant in in_turn)
    wanted = with_nodes(in_turn, iteration.samples, space, SCREENED_CHAINS)
    asking = problem.variants.asking.items()
    wanted |= dict.fromkeys((variant for _, of in asking for variant in of), ASK_SAMPLES)
    try:
        table = samples.table(problem.items["validation"][: iteration.items], wanted, "screen")
    except CutShortError as cut:
        table = _screened_in_part(cut, in_turn)
        variants = tuple(variant for variant in variants if variant in table.variants)
    plan = replace(plan, cost=measured_cost(table, problem.tier, problem.assumed))
    samples.set_aside(plan.test_row(plan.test_items).usage(plan.cost))
    told = best_way_to_ask(table, {k: [v for v in of if v in table.nodes] for k, of in asking})
    size = replace(size, screen_items=iteration.items)
    problem = replace(problem, search_size=size, ready_signals=told)
    single = Evaluator(table, Permutations(1))
    judged = [single.evaluate(uniform(variant, SINGLE)) for variant in variants]
    screened = tuple(
        VariantAtOneSample(variant, e.mean_score, e.mean_usd)
        for variant, e in zip(variants, judged, strict=True)
    )
    found = headroom(table)
    return Explored(problem, samples, plan, screened, table, table, n_samples, variants, found)


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


# Halve: fewer and fewer variants on more and more samples


def halve(explored: Explored, listener: Listener) -> Explored:
    """The rounds before the race: each time more samples of the better half of the variants."""
    number = 0
    while len(rounds := explored.rounds) > 2:
        number += 1
        stage = f"halving {number}"
        listener(Started(explored.problem.tier.name, stage))
        explored = ahead(explored, rounds[0].variants)
        explored = replace(explored, table=bought(explored, rounds[0], stage, few_chains=True))
    return explored


def ahead(explored: Explored, n: int, used: Sequence[Variant] = ()) -> Explored:
    """With the ``n`` most useful of the variants and those that a signal watches, in their order.

    The two most useful go on in any case, then those that are ``used`` by good policies.
    """
    problem, table, variants = explored.problem, explored.table, explored.variants
    dims = dimensions(problem, table, variants)
    useful = kept(problem.evaluator(table), dims, n, problem.aim)
    order = [v for v in dict.fromkeys((*useful[:2], *used, *useful)) if v in variants]
    chosen = {*order[:n], *watched(problem.ready_signals)}
    return replace(explored, variants=tuple(v for v in variants if v in chosen))


def dimensions(problem: TierProblem, table: SampleTable, variants: Sequence[Variant]) -> Dimensions:
    """What a study of ``variants`` on ``table`` may choose from: no more than its samples."""
    tiers = problem.tiers
    of = [tiers[variant.tier or problem.tier.name] for variant in variants]
    return Dimensions(
        problem.space,
        {variant: table.of(variant).n_samples for variant in variants},
        all(tier.logprobs for tier in of),
        problem.scores,
        problem.ready_signals,
        {node: rows.n_samples for node, rows in table.nodes.items()},
    )


def bought(
    explored: Explored, wanted: Iteration, stage: str, *, few_chains: bool = False
) -> SampleTable:
    """``wanted`` samples of each variant, and what is compared and escalated with.

    Of the baseline there is a sample in any case. With ``few_chains`` turns below answers are those
    of the screening, and there is nothing of other tiers. Where that was cut short, at least what
    the stage before had.
    """
    problem, space = explored.problem, explored.problem.space
    n_samples = {problem.variants.baseline: 1, **asked_of(problem.ready_signals)}
    chains = SCREENED_CHAINS if few_chains else None
    n_samples |= with_nodes(explored.variants, wanted.samples, space, chains)
    for variant, n in () if few_chains else problem.escalated_to.items():
        n_samples |= with_nodes((variant,), min(n, most_samples(space)), space)
    try:
        items = problem.items["validation"][: wanted.items]
        return explored.samples.table(items, n_samples, stage)
    except CutShortError as cut:
        return whole_part(cut.table, explored.table.item_ids)


# Race and study: trials on more items, then on as many as the budget has


def race(explored: Explored, listener: Listener, known: Sequence[Proposal] = ()) -> Explored:
    """Spend a third of the trials on the last variants before the study."""
    wanted = explored.rounds[0]
    explored = ahead(explored, wanted.variants)
    problem, table = explored.problem, bought(explored, wanted, "race")
    if any(variant not in table.variants for variant in problem.escalated_to):  # cut short
        problem = replace(problem, targets=())
    explored = replace(explored, problem=problem, table=table)
    explored = judge(explored, problem.trials // 3, known, listener)
    explored.study.evaluator.forget()
    return explored


def study(explored: Explored, listener: Listener) -> Explored:
    """Spend the rest of the trials on what the rest of the budget buys of the variants that lead.

    What the race judged is judged again on the larger table; a front is read from here alone.
    """
    problem, plan, depth = explored.problem, explored.plan, explored.depth
    # The test of a policy that asks for so many samples costs more than was foreseen.
    plan = replace(plan, test_samples=depth)
    explored.samples.set_aside(plan.test_row(plan.test_items).usage(plan.cost))
    explored = replace(explored, plan=plan)
    (wanted,) = explored.rounds
    used = [v for policy in explored.leading for v in policy.variants]
    explored = ahead(explored, wanted.variants, used)
    if explored.samples.free and not explored.table.nodes:
        most = min(map(explored.samples.most, explored.variants))
        wanted = replace(wanted, samples=max(wanted.samples, min(most, FREE_DEPTH * depth)))
    if _gain_of_more(explored) >= EXPECTED_GAIN:
        explored = replace(explored, table=bought(explored, wanted, "study"))
    raced = [judged.proposal for judged in explored.study.judged.values()]
    trials = problem.trials - problem.trials // 3
    explored = judge(explored, trials, raced, listener, out_of_fold=True)
    return replace(explored, end=_end(explored, depth))


def judge(
    explored: Explored,
    trials: int,
    known: Sequence[Proposal],
    listener: Listener,
    *,
    out_of_fold: bool = False,
) -> Explored:
    """With a study round on the table: what was ``known`` is judged again, then ``trials`` more.

    Variants of escalation targets take part in buckets, not in a probe. With ``out_of_fold``
    allocations are proposed without each fold as well, for cross-fitting.
    """
    problem, table = explored.problem, explored.table
    tier = problem.tier.name

    def best(judged: EvaluatedTrial) -> None:
        policy = str(judged.policy)
        listener(Best(tier, judged.trial, judged.score, judged.usd, policy))

    number = problem.study_rounds + len(explored.study_rounds) + 1
    dims = dimensions(problem, table, (*explored.variants, *problem.escalated_to))
    name = f"{problem.task.name}/{tier}/g{number}"
    study_round = StudyRound(name, problem.evaluator(table), dims, SAMPLER_SEED, number)
    folds = folds_of(table.n_items) if out_of_fold else ()
    study_round.search(trials, known, [fold.train for fold in folds], best)
    return replace(explored, study_rounds=(*explored.study_rounds, study_round))


# What more samples would be worth: why more is bought, or not


def _gain_of_more(explored: Explored) -> float:
    """What the study's samples may add: knowing the race's policies exactly, and deeper votes.

    A point that asks for the cheapest level policy needs samples to show that one is level.
    """
    if explored.problem.point not in ("balanced", "quality"):
        return 1.0
    found = explored.prospects.values()
    deeper = max(one.upper for one in found) - max(one.now for one in found)
    return max(_gain_of_knowing(explored), deeper)


def _gain_of_knowing(explored: Explored) -> float:
    """What knowing the last study's policies exactly would add."""
    aim, judge = explored.problem.aim, explored.study.evaluator
    judged = [judge.evaluate(j.policy) for j in explored.study.feasible()]
    return expected_gain([e for e in judged if e.known], aim)


def expected_gain(judged: Sequence[Evaluation], aim: Utility) -> float:
    """Score that knowing the utilities of policies exactly would add to choosing the best by now.

    The expected value of perfect information: E[max u] - max E[u] over the posterior of the
    policies' utilities, given each item's measures. The posterior is normal around the means shrunk
    to their common mean by the variance between policies (empirical Bayes), with the items' own
    covariance, so that policies that do nearly the same are not told apart for nothing.
    """
    if len(judged) < 2:
        return 0.0
    score = np.array([e.score for e in judged])
    usd = np.array([e.usd for e in judged])
    value = _by_item(score, usd, aim)
    means = value.mean(axis=1)
    best = np.argsort(-means, kind="stable")[:MOST_POLICIES]
    value, means = value[best], means[best]
    n_items = value.shape[1]
    centred = value - means[:, None]
    covariance = centred @ centred.T / max(n_items - 1, 1) / n_items
    # Only differences between policies matter: what is common to all cancels in the maximum.
    k = len(means)
    project = np.eye(k) - 1.0 / k
    covariance = project @ covariance @ project
    noise = float(np.trace(covariance)) / max(k - 1, 1)
    between = max(float(means.var(ddof=1)) - noise, 0.0)
    # The best of many are close together by having been picked: no more than half of it is noise.
    shrink = max(between / (between + noise), 0.5) if between + noise > 0 else 0.0
    centre = means.mean() + shrink * (means - means.mean())
    rng = np.random.default_rng([n_items, k])
    noise_of = rng.multivariate_normal(
        np.zeros(k),
        shrink * covariance,
        size=RESAMPLES_OF_GAIN,
        method="eigh",
        check_valid="ignore",
    )
    return float((centre + noise_of).max(axis=1).mean() - centre.max())


def _by_item(score: Floats, usd: Floats, aim: Utility) -> Floats:
    """(n_policies, n_items): each item's part of the utility, dollars to first order."""
    mean = np.maximum(usd.mean(axis=1, keepdims=True), 1e-30)
    doublings = np.log2(mean) + (usd / mean - 1) / np.log(2)
    return np.asarray(score - aim.a_doubling * doublings - aim.usd_weight * usd)


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


def search_end(
    gain: float, *, complete: bool, recorded: bool, short: str, left: UsageLimits
) -> SearchEnd:
    """Why a search bought no more; ``gain`` is the expected one.

    Args:
        complete: all items and samples that its size allows are there.
        recorded: of some variant there is no further sample.
        short: what cut a purchase short, if one was.
        left: of the budget, what the test does not need.
    """
    points = f"{100 * gain:.1f}".removeprefix("0")
    if short == "seconds":
        return SearchEnd(
            "deadline",
            gain,
            "The job's time ended while it searched, and it was chosen by the samples that were "
            f"there: more may add {points} points; the same command with more --seconds buys them, "
            "and nothing twice.",
        )
    if short == PROVIDER_ENDED:
        return SearchEnd(
            "provider_ended",
            gain,
            "The provider failed for good while the tier was searched, and it was chosen by the "
            f"samples that were there: more may add {points} points; the same command buys them "
            "once it answers, and nothing twice.",
        )
    if gain < EXPECTED_GAIN:
        said = "No more was bought: further samples may add less than .1 points."
        return SearchEnd("no_expected_gain", gain, said)
    if complete and recorded:
        said = f"All that is recorded was looked at; more samples might add {points} points."
        return SearchEnd("recording_exhausted", gain, said)
    if complete:
        said = (
            "All validation items and all samples that would be used are there; more items might "
            f"add {points} points."
        )
        return SearchEnd("search_complete", gain, said)
    named = [name for name in ("usd", "calls", "tokens") if getattr(left, name) is not None]
    said = (
        f"The budget ended ({', '.join(named) or 'its limit'}): what is left buys nothing that "
        f"would be used beside the held-out test; more samples may add {points} points."
    )
    return SearchEnd("no_affordable_call", gain, said)
