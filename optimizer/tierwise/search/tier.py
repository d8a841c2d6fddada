"""The search of one tier end to end: its problem and its samples in, its result out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierwise.difficulty import SignalFit
from tierwise.evaluation import SampleTable
from tierwise.schema import Policy, StrategySpec, Variant, uniform
from tierwise.schema.result import Headroom, Proposal, ProposalRound, SearchEnd
from tierwise.search.compute_gate import pass_compute_gate
from tierwise.search.held_out import HeldOutTest, select, test
from tierwise.search.problem import (
    EscalationTarget,
    Listener,
    Started,
    TierProblem,
    keeps_to_itself,
    of_tier,
)
from tierwise.search.samples import SampleLedger, measured_cost
from tierwise.search.selection import Candidate, PointChoice, balanced_utility, out_of_reach
from tierwise.search.signals import fit
from tierwise.search.stages import (
    ComputeGateDecision,
    Explored,
    VariantAtOneSample,
    halve,
    race,
    screen,
    study,
)
from tierwise.search.study import StudyRound

SMALL_TASK = 150
"""Items of validation and test with fewer of which a run says what it can show."""

MOST_VARIANTS = 4
"""Variants of an escalation target that a study may use: those of its best policies, in order."""

LATE_TRIALS = 1 / 4
"""Part of the trials that are made where the time ended before them."""


@dataclass(frozen=True)
class TierResult:
    """What a search found on one tier.

    Attributes:
        points: operating point -> candidate (the job's own bound is ``chosen``).
        chosen: name of the job's operating point.
        held_out: what the test split said, and what is read from validation items beside it.
        prompt_table: every variant on the same items, for the comparison of prompts: those of the
            screening, all items of a recording.
        compute_gate: whether the tier was allowed to spend on more than one sample.
        headroom: how far prompts differ, by the screening.
        end: why no more was bought.
        rounds: of proposals, where the job has some.
        routers: what was fitted on the train split, where the space names a fitted signal.
    """

    problem: TierProblem
    baseline: Policy
    points: Mapping[str, PointChoice]
    chosen: str
    held_out: HeldOutTest
    study_rounds: Sequence[StudyRound]
    candidates: Sequence[Candidate]
    screened: Sequence[VariantAtOneSample]
    prompt_table: SampleTable
    study_table: SampleTable
    compute_gate: ComputeGateDecision
    headroom: Headroom
    end: SearchEnd
    rounds: tuple[ProposalRound, ...] = ()
    routers: tuple[SignalFit, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """That the job's own bound is out of reach, and what so few items can show, or none."""
        choice = self.points[self.chosen]
        said = [out_of_reach(choice, self.problem.operating_point)]
        if not self.held_out.comparisons:
            said.append(
                "no held-out items could be bought, so nothing is proven: what is said of policies "
                "is by validation items, cross-fitted; the same command with more money or time "
                "goes on, and buys nothing twice"
            )
        items = self.study_table.n_items + self.held_out.table.n_items
        compared = self.held_out.comparisons.get(self.chosen)
        if items < SMALL_TASK and compared is not None and choice.policy != self.baseline:
            said.append(
                f"{items} items show little: the gate proves a gain of "
                f"{100 * compared.provable_gain:.0f} points of score in four runs of five, and "
                "smaller ones less often; more items, or gate: advise and a trial beside the "
                "baseline, settle it"
            )
        return tuple(text for text in said if text)


def search(problem: TierProblem, samples: SampleLedger, listener: Listener) -> TierResult:
    """Find the policies of one tier.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """
    explored = explore(problem, samples, listener, problem.before.proposals)
    return concluded([explored], listener)


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
    explored = halve(explored, listener)
    if samples.short == "seconds":  # what is left of the time is the test's
        fewer = int(explored.problem.trials * LATE_TRIALS)
        explored = replace(explored, problem=replace(explored.problem, trials=fewer))
    explored = fit(pass_compute_gate(explored))
    listener(Started(problem.tier.name, "race"))
    explored = race(explored, listener, known)
    if not explored.compute_gate.decided:
        explored = pass_compute_gate(explored)
    listener(Started(problem.tier.name, "study"))
    return study(explored, listener)


def concluded(explored: Sequence[Explored], listener: Listener) -> TierResult:
    """What searches among more and more prompts found: the choice of the last, tested."""
    last = explored[-1]
    selected = select(last)
    listener(Started(last.problem.tier.name, "test"))
    held_out = test(last, selected)
    return TierResult(
        problem=last.problem,
        baseline=selected.baseline.policy,
        points=selected.points,
        chosen=selected.chosen,
        held_out=held_out,
        study_rounds=[study_round for one in explored for study_round in one.study_rounds],
        candidates=selected.candidates,
        screened=last.screened,
        prompt_table=last.screened_table,
        study_table=last.study.evaluator.table,
        compute_gate=last.compute_gate,
        headroom=last.headroom,
        end=last.end,
        routers=last.fitted,
    )


def escalation_target(found: TierResult) -> EscalationTarget:
    """A tier as those below it see it. What it escalates itself is not passed through."""
    tier = found.problem.tier
    one_sample = _best_prompt(found.study_rounds[-1])
    points = [found.points[found.chosen], *(found.points[name] for name in sorted(found.points))]
    own = [p.policy for p in points if keeps_to_itself(p.policy)]
    tuned = own[0] if own else one_sample
    policies = (one_sample, tuned, *own)
    variants = dict.fromkeys(variant for policy in policies for variant in policy.variants)
    kept = [variant for variant in variants if variant in found.study_table.variants]
    return EscalationTarget(
        tier,
        {variant.prompt: found.problem.variants.prompts[variant.prompt] for variant in variants},
        {
            variant._replace(tier=tier.name): found.study_table.of(variant).n_samples
            for variant in kept[:MOST_VARIANTS]
        },
        of_tier(one_sample, tier),
        of_tier(tuned, tier),
        measured_cost(found.study_table, tier, found.problem.assumed),
        {v._replace(tier=tier.name): _there(found, v) for v in found.study_table.variants},
    )


def _there(found: TierResult, variant: Variant) -> dict[str, int]:
    """Item -> samples of ``variant`` in the tables of the study and the test."""
    counts: dict[str, int] = {}
    for table in (found.study_table, found.held_out.table):
        if variant in table.variants:
            n = np.count_nonzero(~np.isnan(table.variants[variant].score), axis=1).tolist()
            counts |= dict(zip(table.item_ids, n, strict=True))
    return counts


def _best_prompt(study_round: StudyRound) -> Policy:
    """The tier's own variant of the highest balanced utility at one sample, on the study."""
    single = [uniform(variant, StrategySpec.of("single")) for variant in study_round.dimensions.own]
    judged = [study_round.evaluator.evaluate(policy) for policy in single]
    utility = [balanced_utility(e.mean_score, e.mean_usd) for e in judged]
    return single[int(np.argmax(utility))]
