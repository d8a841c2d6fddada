"""What a job would buy and cost, tier by tier and stage by stage, before a single call.

The stages are those of ``search.budget.stage_table``, by which the search scales itself to its
budget; here each is priced (``call_lengths``). Of the samples that finalists might ask for, a part
is expected (``FINALISTS_SAMPLES``), and all of them at worst. A budget's cap bounds both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.errors import BudgetError
from tierwise.llm import Call
from tierwise.llm.models import RECORDED, kind_of
from tierwise.llm.recorded import Recording
from tierwise.pool import SamplePool
from tierwise.pool.first_answers import bought_cuts
from tierwise.pool.judging import JUDGE
from tierwise.pool.run_dir import RunDir
from tierwise.proposals.proposers import SHOWN_FAILURES
from tierwise.runs.call_lengths import (
    CallLengths,
    JudgingUsage,
    LengthBounds,
    TurnLengths,
    calls_for_one,
    judging_usage,
    longest_answer,
    verifying_usage,
)
from tierwise.runs.prepare import Prepared, share_of
from tierwise.runs.recorded_depth import (
    recorded_baseline,
    recorded_cost,
    recorded_depth,
    recorded_space,
    recorded_variants,
    scores_of,
)
from tierwise.runs.run_proposals import PROPOSER, book_of, first_cap, proposer_of, tier_cap
from tierwise.schema import Budget, Job, Tier, Usage, UsageLimits
from tierwise.schema.result import PLAN_SCHEMA, PlannedStage, PlannedTier, RunPlan, UsageTotals
from tierwise.search.budget import (
    BYTES_A_TOKEN,
    PART_OF_CAP,
    HalvingPlan,
    StageRow,
    assumed_cost,
    checked,
    enough_usd,
    stage_table,
)
from tierwise.search.problem import SearchSize, Variants, token_cap, with_mode_to_ask
from tierwise.search.samples import SampleCounts
from tierwise.search.space import most_samples, offered
from tierwise.search.tier import MOST_VARIANTS

FINALISTS_SAMPLES = {"rounds": 0.55, "test": 0.25}
"""Part of the most samples that policies on held-out items are expected to ask for: runs on
embedded tiers bought .19 to .49 of them."""

OWN_BYTES, FEEDBACK_BYTES = 2500, 400
"""Of a proposer's request: what DSPy's and GEPA's own text take, and what is said of a failure."""


@dataclass(frozen=True)
class StagePlan:
    """One stage of a tier, priced.

    Attributes:
        items: ``uncut_items`` are without the budget.
        samples: new ones, at most; ``lookups`` what their queries ask for.
    """

    stage: str
    variants: int
    items: int
    uncut_items: int
    samples: int
    expected: Usage
    worst: Usage
    lookups: int = 0


@dataclass(frozen=True)
class TierPlan:
    """One tier; ``fault`` says why its budget is too small for the smallest search.

    ``worst`` is bounded by the tier's share of the budget, ``cap``, which is never passed. Where a
    run has begun (``remaining``), all are what is left beside what it ``bought``.

    Attributes:
        seconds_a_call: with many calls at once; None where no call was made to see it.
        enough_usd: dollars of a cap that lets the search be as large as this.
        lengths_seen: dollars that samples turned out to cost, over what was expected before.
        cut: what is said of modes whose samples were cut, as far as the run has bought some.
        metered: its samples are recorded and count as if they were bought.
    """

    tier: Tier
    cap: UsageLimits
    stages: tuple[StagePlan, ...]
    fault: str = ""
    bought: Usage | None = None
    seconds_a_call: float | None = None
    enough_usd: float = 0.0
    lengths_seen: float | None = None
    cut: tuple[str, ...] = ()
    metered: bool = False

    @property
    def recorded(self) -> bool:
        """Nothing is bought."""
        return kind_of(self.tier.model) == RECORDED

    @property
    def paid(self) -> bool:
        """Calls to it are on somebody's bill."""
        price = self.tier.price
        return not (price.simulated or price.free or kind_of(self.tier.model) != "litellm")

    @property
    def expected(self) -> Usage:
        """Over all stages, within the cap."""
        return self._within([s.expected for s in self.stages])

    @property
    def worst(self) -> Usage:
        """Over all stages, within the cap."""
        return self._within([s.worst for s in self.stages])

    @property
    def minutes(self) -> tuple[float, float] | None:
        """Of its calls, expected and at worst: by its pace, and no faster than its limits allow.

        At worst a call takes longer as its answers do. None where nothing is known of either.
        """
        expected = self._minutes(self.expected, 1.0)
        longer = self.worst.tokens / self.expected.tokens if self.expected.tokens else 1.0
        calls = self.worst.calls / self.expected.calls if self.expected.calls else 1.0
        worst = self._minutes(self.worst, max(1.0, longer / calls))
        return None if expected is None or worst is None else (expected, worst)

    def _minutes(self, amount: Usage, slower: float) -> float | None:
        limits = self.tier.limits
        floors = [
            amount.calls / limits["rpm"] if "rpm" in limits else None,
            amount.tokens / limits["tpm"] if "tpm" in limits else None,
            amount.calls * self.seconds_a_call * slower / 60 if self.seconds_a_call else None,
        ]
        return max((floor for floor in floors if floor is not None), default=None)

    def _within(self, amounts: Sequence[Usage]) -> Usage:
        return self.cap.cut(sum(amounts, Usage()))


@dataclass(frozen=True)
class Plan:
    """A job's plan."""

    tiers: Mapping[str, TierPlan]

    @property
    def paid(self) -> tuple[str, ...]:
        """Names of the tiers that cost money."""
        return tuple(name for name, tier in self.tiers.items() if tier.paid)

    @property
    def paid_usd(self) -> tuple[float, float]:
        """Dollars of the paid tiers: expected, and at worst."""
        paid = [self.tiers[name] for name in self.paid]
        return sum(t.expected.usd for t in paid), sum(t.worst.usd for t in paid)


def plan_file(found: Plan) -> RunPlan:
    """``plan.json``: what was planned before the first purchase, by tier and stage."""
    return RunPlan(
        PLAN_SCHEMA,
        {
            name: PlannedTier(
                fault=tier.fault,
                stages={
                    s.stage: PlannedStage(
                        variants=s.variants,
                        items=s.items,
                        samples=s.samples,
                        lookups=s.lookups,
                        expected=UsageTotals.of(s.expected),
                        worst=UsageTotals.of(s.worst),
                    )
                    for s in tier.stages
                },
                expected=UsageTotals.of(tier.expected),
                worst=UsageTotals.of(tier.worst),
            )
            for name, tier in found.tiers.items()
        },
    )


# The plan of a job that begins with an empty pool


def plan(prepared: Prepared, search_size: SearchSize | None = None) -> Plan:
    """What ``runs.tune`` would buy for a job that begins with an empty pool.

    Raises:
        InputError: no prompt fits a mode that a tier and the space share; a cap on dollars or
            tokens, and a mode that sends no token cap.
    """
    tiers = {
        name: _tier_plan(prepared, tier, search_size or SearchSize())
        for name, tier in prepared.tiers.items()
    }
    return Plan(tiers | _proposers_plan(prepared))


def _tier_plan(prepared: Prepared, tier: Tier, search_size: SearchSize) -> TierPlan:
    cap = share_of(prepared.job, tier, prepared.tiers)
    if prepared.baseline is None or kind_of(tier.model) == RECORDED:
        if prepared.job.tiers[tier.name].metered:
            return _metered_plan(prepared, tier, cap, search_size)
        return TierPlan(tier, cap, _judged_recording(prepared, tier))
    task = prepared.loaded.task
    tier = with_mode_to_ask(tier, prepared.space)
    spec, prompts = prepared.job.proposals, prepared.loaded.prompts
    if spec is not None:  # as many as may be proposed, of the length of the baseline
        search_size = replace(search_size, rounds=spec.rounds - 1, proposed=spec.instructions)
        prompts += tuple(
            replace(prepared.baseline, id=f"{prepared.baseline.id}+proposed-{i}", paraphrases=())
            for i in range(spec.instructions + spec.demonstrations)
        )
    variants = prepared.variants(tier, prepared.baseline, prompts)
    space = offered(prepared.space, scores_of(task, tier))
    calls = calls_for_one(prepared, tier, variants, variants.candidates)
    first = [of_variant[0].request for of_variant in calls]
    prompt_bytes = sum(request.prompt_bytes for request in first) / len(first)
    counts = SampleCounts.of(space, len(first), most_samples(space))
    whole = search_size.within(task, prepared.space.signals)
    assumed = assumed_cost(tier, variants.candidates, prompt_bytes)
    judging = judging_usage(prepared, assumed, longest_answer(tier))
    verifying = verifying_usage(prepared, assumed, longest_answer(tier))
    usd = Usage(usd=verifying.expected.usd)
    assumed = replace(assumed, judging=judging.expected, turn=usd)
    iterations = HalvingPlan(whole, counts, assumed, cap - judging.check)
    lengths = LengthBounds.of(tier, calls, bounded=cap.bounds_price)
    stages = _priced(iterations, tier, lengths, TurnLengths.of(prepared, space, counts))
    if prepared.verifier is not None:
        rows = zip(stages, stage_table(iterations), strict=True)
        stages = [_verified(stage, row.nodes, verifying) for stage, row in rows]
    for other in prepared.job.escalation_targets(tier.name):
        target = prepared.tiers[other]
        stages = [_escalating(stage, prepared, target, counts.n_samples) for stage in stages]
    if variants.asking:
        asked = calls_for_one(
            prepared, tier, variants, [a for of in variants.asking.values() for a in of]
        )
        stages.append(_asking(whole, search_size, prepared, variants, tier, asked))
    if prepared.judge_tier is not None:
        stages.append(_judged(stages, judging))
    enough = enough_usd(iterations) + judging.check.usd
    return TierPlan(tier, cap, tuple(stages), _fault(iterations, tier), enough_usd=enough)


def _metered_plan(
    prepared: Prepared, tier: Tier, cap: UsageLimits, search_size: SearchSize
) -> TierPlan:
    """Of recorded samples that count as if they were bought, at what they cost on average.

    What an escalation target's variants take away from its depth is not known before its search.
    """
    recording = Recording.load(prepared.job.tiers[tier.name].recordings or "", tier.model)
    baseline = recorded_baseline(recording, tier, prepared.job.baseline)
    depth = recorded_depth(recording, prepared.loaded.task, baseline, {})
    n_variants = len(recorded_variants(recording, depth, baseline).candidates)
    scores = scores_of(prepared.loaded.task, tier, recording)
    space = offered(recorded_space(prepared.space, depth), scores)
    counts = SampleCounts.of(
        space, n_variants, min(most_samples(space), max(depth.depths.values()))
    )
    whole = search_size.within(prepared.loaded.task, space.signals)
    cost = recorded_cost(recording, tier)
    iterations = HalvingPlan(whole, counts, cost, cap)
    length = CallLengths(cost.prompt_tokens, cost.tokens)
    stages = _priced(iterations, tier, LengthBounds(length, length), TurnLengths())
    return TierPlan(
        tier,
        cap,
        tuple(stages),
        _fault(iterations, tier),
        enough_usd=enough_usd(iterations),
        metered=True,
    )


def _fault(iterations: HalvingPlan, tier: Tier) -> str:
    """Why the budget is too small; empty where it is not."""
    try:
        checked(iterations, tier.name)
    except BudgetError as error:
        return str(error)
    return ""


def _priced(
    iterations: HalvingPlan, tier: Tier, lengths: LengthBounds, turns: TurnLengths
) -> list[StagePlan]:
    uncut = {row.stage: row.items for row in stage_table(replace(iterations, cap=UsageLimits()))}
    return [
        _stage(row, max(uncut.get(row.stage, 0), row.items), tier, lengths, turns)
        for row in stage_table(iterations)
    ]


def _stage(
    row: StageRow, uncut_items: int, tier: Tier, lengths: LengthBounds, turns: TurnLengths
) -> StagePlan:
    usual = row.samples
    if row.stage in FINALISTS_SAMPLES:
        each = row.samples / row.requests
        usual = row.requests * max(1, round(each * FINALISTS_SAMPLES[row.stage]))
    lookups, below, most_below = turns.usage(row.nodes, tier, lengths)
    return StagePlan(
        row.stage,
        row.variants,
        row.items,
        uncut_items,
        row.samples + row.nodes,
        lengths.usual.usage(tier, row.requests if tier.takes_n else usual, usual) + below,
        lengths.worst.usage(tier, row.requests if tier.takes_n else row.samples, row.samples)
        + most_below,
        lookups,
    )


def _verified(stage: StagePlan, turns: int, verifying: JudgingUsage) -> StagePlan:
    """With the judgements below samples, of which every turn may be one, at the judge's price."""
    expected = replace(verifying.expected * turns, calls=0)
    worst = replace(verifying.worst * turns, calls=0)  # counted among the turns already
    return replace(stage, expected=stage.expected + expected, worst=stage.worst + worst)


def _judged(stages: Sequence[StagePlan], judging: JudgingUsage) -> StagePlan:
    """A judgement of every sample: at most, since the same text is judged once."""
    usual = judging.checks + sum(stage.expected.samples for stage in stages)
    most = judging.checks + sum(stage.worst.samples for stage in stages)
    items = max(stage.items for stage in stages)
    expected, worst = judging.expected * usual, judging.worst * most
    return StagePlan(JUDGE, 0, items, items, most, expected, worst)


def _judged_recording(prepared: Prepared, tier: Tier) -> tuple[StagePlan, ...]:
    """A judgement of every recorded sample, which is all that is bought."""
    if prepared.judge_tier is None:
        return ()
    recording = Recording.load(prepared.job.tiers[tier.name].recordings or "", tier.model)
    of_variants = recording.samples.values()
    n = sum(len(samples) for by_item in of_variants for samples in by_item.values())
    items = len({item for by_item in of_variants for item in by_item})
    judging = judging_usage(prepared, recorded_cost(recording, tier))
    n += judging.checks
    return (StagePlan(JUDGE, 0, items, items, n, judging.expected * n, judging.worst * n),)


def _escalating(stage: StagePlan, prepared: Prepared, target: Tier, n_samples: int) -> StagePlan:
    """With the samples of an escalation target that finalists may ask for on held-out items.

    Those of the study are bought by the target, which is searched first; so are those of its own
    finalists, which as many are expected of. At worst it is none of them.
    """
    if stage.stage != "test" or prepared.baseline is None:
        return stage
    variants = prepared.variants(target, prepared.baseline, prepared.loaded.prompts)
    calls = calls_for_one(prepared, target, variants, variants.candidates)
    n = min(MOST_VARIANTS, len(variants.candidates))
    pairs, samples = n * stage.items, n * stage.items * n_samples
    worst = LengthBounds.of(target, calls, bounded=False).worst
    return replace(
        stage,
        variants=stage.variants + n,
        samples=stage.samples + samples,
        worst=stage.worst + worst.usage(target, pairs if target.takes_n else samples, samples),
    )


def _asking(
    size: SearchSize,
    whole: SearchSize,
    prepared: Prepared,
    variants: Variants,
    tier: Tier,
    calls: Sequence[Sequence[Call]],
) -> StagePlan:
    """What signals ask beside the answers: each paraphrase in the screening, then one a signal."""
    splits = {name: len(items) for name, items in prepared.loaded.task.splits.items()}
    screened, studied = (
        min(n, splits["validation"]) for n in (size.screen_items, size.study_items)
    )
    held_out = min(size.test_items, splits["test"])
    paraphrases = sum(len(of) for of in variants.asking.values())
    later = max(studied - screened + held_out, 0)
    samples = paraphrases * screened + len(variants.asking) * later
    lengths = LengthBounds.of(tier, calls, bounded=False)
    return StagePlan(
        "ask",
        paraphrases,
        size.study_items,
        whole.study_items,
        samples,
        lengths.usual.usage(tier, samples, samples),
        lengths.worst.usage(tier, samples, samples),
    )


def _proposers_plan(prepared: Prepared) -> dict[str, TierPlan]:
    """A call an instruction, for each of the proposer's books; nothing where there is no proposer.

    The pool's book of the first round is ``proposer``, that of a tier's later ones
    ``proposer/TIER``, each with a cap of its own.

    Raises:
        InputError: see ``proposer_of``.
    """
    job, spec = prepared.job, prepared.job.proposals
    if spec is None or spec.model is None:
        return {}
    tier = proposer_of(spec.model)
    items = prepared.loaded.task.splits["train"]
    sizes = [sum(len(v.encode()) for v in item.inputs.values()) for item in items]
    shown = OWN_BYTES + SHOWN_FAILURES * (FEEDBACK_BYTES + max(sizes, default=0))
    most, n = token_cap(next(iter(tier.modes.values()), {})), spec.instructions
    expected = CallLengths(shown / BYTES_A_TOKEN, most * PART_OF_CAP).usage(tier, n, n)
    worst = CallLengths(shown, most, most=True).usage(tier, n, n)
    first, *later = (
        StagePlan(f"round {number}", n, n, n, n, expected, worst)
        for number in range(1, spec.rounds + 1)
    )
    books = {PROPOSER: TierPlan(tier, first_cap(job), (first,))}
    if later:
        own = TierPlan(tier, tier_cap(job), tuple(later))
        books |= {book_of(name): own for name in job.tiers}
    return books


# What is left of a plan where its run has begun: the pool's own book against the plan
#
# Stages before the last one that bought something are done. What samples turned out to cost, over
# what was expected of as many, scales what is expected of those that are left; at worst every one
# of them still fills its cap.

LAST = "test"


def remaining(found: Plan, run: RunDir, job: Job) -> Plan:
    """What of ``found``, the plan of ``job`` from nothing, ``run`` has not bought yet.

    A run that has finished buys nothing more, unless its budget was changed.
    """
    if not run.pool.exists() or not run.pool.stat().st_size:
        return found
    finished, tiers = run.finished and run.job().budget == job.budget, {}
    with SamplePool.open(run.pool, read_only=True) as pool:
        for name, tier in found.tiers.items():
            bought, spent = pool.bought(run.run, name), pool.spent(run.run, name)
            left = _remaining(tier, bought, spent, finished=finished)
            tiers[name] = replace(left, cut=bought_cuts(pool, run.run, tier.tier))
    return Plan(tiers)


def _remaining(
    tier: TierPlan, bought: Mapping[str, Usage], spent: Usage, *, finished: bool
) -> TierPlan:
    names = [stage.stage for stage in tier.stages if stage.stage != JUDGE]
    begun = [name for name in names if name in bought]
    if not begun or tier.fault:
        return tier
    scale = _scale(tier, bought)
    done = names[: names.index(begun[-1])]
    if begun[-1] == LAST:
        done += names[names.index(LAST) + 1 :]  # what signals ask is bought within the stages
    stages = [
        replace(stage, samples=0, expected=Usage(), worst=Usage())
        if finished or stage.stage in done
        else _rest(stage, bought, scale)
        for stage in tier.stages  # judgements, bought within the stages, are of none of them
    ]
    samples = sum(b.samples for b in bought.values())
    return replace(
        tier,
        cap=tier.cap - spent,
        stages=tuple(stages),
        bought=replace(spent, samples=samples),
        lengths_seen=scale[1],
    )


def at_lengths_seen(found: Plan, run: RunDir) -> Plan:
    """``found``, a plan from nothing, with what samples of ``run`` turned out to cost."""
    with SamplePool.open(run.pool, read_only=True) as pool:
        tiers = {}
        for name, tier in found.tiers.items():
            scale = _scale(tier, pool.bought(run.run, name))
            stages = tuple(replace(s, expected=_scaled(s.expected, scale)) for s in tier.stages)
            tiers[name] = replace(tier, stages=stages)
    return Plan(tiers)


def _scaled(amount: Usage, scale: tuple[float, float]) -> Usage:
    return replace(amount * scale[0], calls=amount.calls, usd=amount.usd * scale[1])


def _scale(tier: TierPlan, bought: Mapping[str, Usage]) -> tuple[float, float]:
    """(tokens, dollars) of the samples that are there, over what was expected of as many."""
    expected = actual = Usage()
    for stage in tier.stages:
        got = bought.get(stage.stage)
        if got and stage.samples and stage.stage not in (*FINALISTS_SAMPLES, JUDGE):
            expected += stage.expected * (got.samples / stage.samples)
            actual += got
    tokens = actual.tokens / expected.tokens if expected.tokens else 1.0
    return tokens, actual.usd / expected.usd if expected.usd else 1.0


def _rest(stage: StagePlan, bought: Mapping[str, Usage], scale: tuple[float, float]) -> StagePlan:
    there = bought[stage.stage].samples if stage.stage in bought else 0
    most, usual = stage.samples, stage.samples * FINALISTS_SAMPLES.get(stage.stage, 1.0)
    left, left_usual = (max(0.0, n - there) / n if n else 0.0 for n in (most, usual))
    expected = _scaled(stage.expected * left_usual, scale)
    return replace(stage, samples=max(0, most - there), expected=expected, worst=stage.worst * left)


# What a smaller budget would give up: fewer items at every stage, and so wider intervals

_SIZES = (1.0, 0.5, 0.22, 0.08)
DIFFER = 0.2
"""Part of the items on which two policies score differently, about: what an interval is wide by."""


@dataclass(frozen=True)
class Size:
    """A search of some size.

    Attributes:
        budget_usd: of the whole job, that lets every tier's search be as large.
        expected_usd: what it would spend.
        items: stage -> items.
        tells: a difference of scores that the 95% interval on held-out items can just tell from 0,
            where policies differ on ``DIFFER`` of them.
    """

    budget_usd: float
    expected_usd: float
    items: Mapping[str, int]
    tells: float


def sizes(prepared: Prepared, seen: Plan) -> list[Size]:
    """Searches from the full one to the smallest; ``seen`` is the job's plan, with what is known of
    the lengths of answers.
    """

    def planned(usd: float | None) -> dict[str, TierPlan]:
        job = replace(prepared.job, budget=Budget(usd=usd))
        tiers = plan(replace(prepared, job=job)).tiers
        return {name: tiers[name] for name in prepared.tiers if tiers[name].stages}

    whole = planned(None)
    if not whole:
        return []
    longer = max(seen.tiers[name].lengths_seen or 1.0 for name in whole)
    budget = max(tier.enough_usd / _part(prepared, name) for name, tier in whole.items())
    found: list[Size] = []
    for scale in _SIZES if budget else ():  # what costs nothing has no smaller budget
        tiers = planned(budget * scale)
        if any(tier.fault for tier in tiers.values()):
            break
        items: dict[str, int] = {}
        for tier in tiers.values():
            for stage in tier.stages:
                if stage.stage == JUDGE:
                    continue
                items[stage.stage] = min(items.get(stage.stage, stage.items), stage.items)
        spent = sum(tier.expected.usd for tier in tiers.values())
        tells = 1.96 * math.sqrt(DIFFER / items["test"]) if items.get("test") else math.nan
        found.append(Size(budget * scale * longer, spent * longer, items, tells))
    return found


def _part(prepared: Prepared, name: str) -> float:
    """Of a budget in dollars, the tier's."""
    job = replace(prepared.job, budget=Budget(usd=1.0))
    return share_of(job, prepared.tiers[name], prepared.tiers).usd or 1.0
