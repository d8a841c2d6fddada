"""The search of each tier of a job: its model or recording, variants and share of the budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from tierwise.errors import InputError
from tierwise.llm import LanguageModel, Remarking, build_request
from tierwise.llm.models import RECORDED, address_of, kind_of, open_model
from tierwise.llm.recorded import Recording
from tierwise.pool import Account, Buyer, Library, Remarked, SamplePool, Supply
from tierwise.pool.judging import JUDGE, Judging, remarks_on_judge
from tierwise.pool.maintenance import RequestName
from tierwise.pool.run_dir import RunDir
from tierwise.retrieval import identity_among, open_for_task
from tierwise.runs.call_lengths import judging_usage, verifying_usage
from tierwise.runs.prepare import JUDGE_ADDRESS, VERIFIER_ADDRESS, Prepared, prepare, share_of
from tierwise.runs.recorded_depth import (
    FREE,
    RecordedDepth,
    check_queries,
    recorded_baseline,
    recorded_cost,
    recorded_depth,
    recorded_space,
    recorded_variants,
    scores_of,
)
from tierwise.runs.recorded_samples import (
    Meter,
    MeteredSamples,
    RecordedSamples,
    Trajectories,
    fingerprint,
    library_from,
)
from tierwise.runs.run_proposals import FOLDER, RunProposals, load_proposed
from tierwise.schema import PromptTemplate, Tier, TierSpec, Usage, UsageLimits
from tierwise.schema.result import (
    CutPurchase,
    CutShort,
    JudgeSummary,
    Proposal,
    Studied,
    StudiedTier,
    StudyState,
)
from tierwise.search.budget import assumed_cost
from tierwise.search.problem import (
    EarlierStudy,
    EscalationTarget,
    Listener,
    SearchSize,
    TierProblem,
    Variants,
    paid_before,
    with_mode_to_ask,
)
from tierwise.search.proposal_rounds import Start, TextLedger
from tierwise.search.samples import SampleCost
from tierwise.search.space import offered, without_search
from tierwise.search.tier import TierResult, search


@dataclass(frozen=True)
class Searches:
    """What the searches of a run's tiers share.

    Attributes:
        run: names the run in the pool.
        replaying: nothing may be bought.
        proposals: where prompts are proposed, if the job asks for it.
        studied: what the folder holds of earlier searches.
        addresses: where the calls of a tier are sent, or were; the environment says so of a tier
            that is not among them.
        deadline_s: on the monotonic clock, after which no call starts.
        test_s: of the time before it, what is kept for the held-out test.
        cut_short: in a replay, which purchases of the run were cut short.
        retry_before: see ``Account``.
    """

    prepared: Prepared
    pool: SamplePool
    run: str
    listener: Listener
    search_size: SearchSize
    replaying: bool
    proposals: RunProposals | None = None
    studied: Studied = Studied({})
    addresses: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float | None = None
    test_s: float = 0.0
    retry_before: int = 0
    cut_short: CutShort = CutShort({})

    def address(self, tier: Tier) -> str:
        """``Request.address`` of the tier's requests."""
        known = self.addresses.get(tier.name)
        return address_of(tier) if known is None else known


class Searched(NamedTuple):
    """What was found, the hash of the samples that it was found on, and what these show beside.

    ``metered``: what recorded samples would have cost, where the job meters them.
    """

    found: TierResult
    samples_sha256: str
    remarks: tuple[str, ...] = ()
    metered: Usage | None = None
    judge: JudgeSummary | None = None
    cut_short: tuple[CutPurchase, ...] = ()


def search_tier(
    searches: Searches, name: str, targets: Sequence[EscalationTarget] = ()
) -> Searched:
    """Search one tier of the job, which may escalate to ``targets``.

    Raises:
        TierwiseError: see ``tier.search``.
    """
    prepared = searches.prepared
    tier, baseline = prepared.tiers[name], prepared.baseline
    if baseline is None or kind_of(tier.model) == RECORDED:
        return _on_a_recording(searches, tier, targets)
    return _on_a_provider(searches, tier, baseline, targets)


def _on_a_provider(
    searches: Searches, tier: Tier, baseline: PromptTemplate, targets: Sequence[EscalationTarget]
) -> Searched:
    prepared = searches.prepared
    tier, prompts = with_mode_to_ask(tier, prepared.space), prepared.loaded.prompts
    with ExitStack() as stack:
        buyer = _buyer(searches, tier, baseline, targets, stack)
        # What is assumed of samples goes by the task's own prompts, before others are proposed.
        variants = prepared.variants(tier, baseline, prompts)
        buyer.prompts |= variants.prompts
        assumed = assumed_cost(tier, variants.candidates, _prompt_bytes(buyer, variants))
        judging, verifying = (of(prepared, assumed) for of in (judging_usage, verifying_usage))
        assumed = replace(assumed, judging=judging.expected, turn=Usage(usd=verifying.expected.usd))
        tiers = {one.name: one for one in (tier, *(target.tier for target in targets))}
        ledger = TextLedger(buyer, tiers, paid_before(targets), judging.expected)
        size, proposals, rounds = searches.search_size, searches.proposals, None
        if proposals is not None:
            seed, items = prepared.job.seed, size.reflect_items
            rounds = Start(proposals, ledger, prepared.space, baseline, items, seed).rounds()
            variants = prepared.variants(tier, baseline, (*prompts, *rounds.prompts))
            buyer.prompts |= variants.prompts
            size = proposals.search_size(size)
        cap = buyer.account.limits - judging.check
        problem = _problem(searches, targets, tier, variants, _Terms(size, cap, assumed))
        if rounds is None:
            found = search(problem, ledger, searches.listener)
        else:
            found = rounds.search(problem, searches.listener)
        judge = None
        if buyer.judging is not None:
            buyer.check_drift(buyer.judging)
            buyer.used |= buyer.judging.used
            judge = _judge_summary(searches, buyer.judging, tier)
        remarks = (*buyer.remarks, *(remarks_on_judge(judge) if judge else ()))
        if judge is not None and buyer.verifier is not None and buyer.verifier.model == judge.model:
            remarks += (
                f"{judge.model} both scores the answers and chooses among them in "
                "judged_best_of_n, whose scores are too good for that: let another model choose",
            )
        used, cut_short = searches.pool.sha256(buyer.used), tuple(buyer.cut_short)
        return Searched(found, used, remarks, judge=judge, cut_short=cut_short)


def _buyer(
    searches: Searches,
    tier: Tier,
    baseline: PromptTemplate,
    targets: Sequence[EscalationTarget],
    stack: ExitStack,
) -> Buyer:
    """Who buys the tier's samples; what is opened for it is closed with ``stack``."""
    prepared, job = searches.prepared, searches.prepared.job
    account = Account(
        searches.run,
        job.seed,
        share_of(job, tier, prepared.tiers),
        deadline_s=searches.deadline_s,
        test_s=searches.test_s,
        max_outage_s=job.max_outage_s,
        retry_before=searches.retry_before,
    )
    library = _library(searches)
    if library is not None and library.retriever is not None:
        stack.enter_context(closing(library.retriever))

    def supply(of: Tier, prompts: Mapping[str, PromptTemplate]) -> Supply:
        if searches.replaying:
            return Supply(of, None, prompts, searches.address(of))
        model = open_model(of, recordings=job.tiers[of.name].recordings)
        stack.enter_context(closing(model))
        if isinstance(model, Remarking):
            model.remark = lambda text: searches.listener(Remarked(of.name, text))
        return Supply(of, model, prompts, searches.address(of))

    return Buyer(
        searches.pool,
        prepared.loaded.task,
        supply(tier, {baseline.id: baseline}),
        account,
        targets=[supply(one.tier, one.prompts) for one in targets],
        listener=searches.listener,
        library=library,
        judging=_judging(searches, stack, replace(account, tier=tier.name)),
        verifier=_verifier(searches, stack),
        replayed=searches.cut_short.tiers.get(tier.name, ()),
    )


def _judge_summary(searches: Searches, judging: Judging, tier: Tier) -> JudgeSummary:
    """What was measured of the judge, and what its judgements cost."""
    return judging.summary(searches.pool.bought(searches.run, tier.name).get(JUDGE, Usage()))


def _judging(searches: Searches, stack: ExitStack, account: Account) -> Judging | None:
    """Where the tier's answers are judged, on its account; the model is closed with ``stack``."""
    judge, tier = searches.prepared.loaded.judge, searches.prepared.judge_tier
    if judge is None or tier is None:
        return None
    model, address = _judge_opened(searches, stack, tier, judge.spec.model, JUDGE_ADDRESS)
    return Judging(searches.pool, judge, tier, model, address, account)


def _verifier(searches: Searches, stack: ExitStack) -> Supply | None:
    """Where judgements below samples come from; the model is closed with ``stack``."""
    prepared = searches.prepared
    verifier, tier, spec = prepared.verifier, prepared.verifier_tier, prepared.loaded.verifier
    if verifier is None or tier is None or spec is None:
        return None
    model, address = _judge_opened(searches, stack, tier, spec.model, VERIFIER_ADDRESS)
    return Supply(tier, model, {}, address, verifier)


def _judge_opened(
    searches: Searches, stack: ExitStack, tier: Tier, judge: TierSpec, name: str
) -> tuple[LanguageModel | None, str]:
    """The judge's model, None in a replay, and the address that its calls go to, or went to."""
    known = searches.addresses.get(name)
    model = None
    if not searches.replaying:
        model = open_model(tier, recordings=judge.recordings)
        stack.enter_context(closing(model))
    return model, address_of(tier) if known is None else known


def _library(searches: Searches) -> Library | None:
    """Where the queries of a space that searches are answered; in a replay, by the pool alone."""
    wanted, space = searches.prepared.loaded.retriever, searches.prepared.space
    if wanted is None or space == without_search(space):
        return None
    if searches.replaying:
        return Library(wanted.spec, identity_among(wanted, searches.pool.retrievers()))
    retriever = open_for_task(wanted)
    return Library(wanted.spec, retriever.identity, retriever)


def _on_a_recording(
    searches: Searches, tier: Tier, targets: Sequence[EscalationTarget]
) -> Searched:
    """The same stages, and nothing bought."""
    prepared, job = searches.prepared, searches.prepared.job
    paths = {
        of.name: Path(job.tiers[of.name].recordings or "")
        for of in (tier, *(one.tier for one in targets))
    }
    recording, task = Recording.load(paths[tier.name], tier.model), prepared.loaded.task
    others = {
        of.name: (Recording.load(paths[of.name], of.model), of, tuple(one.variants))
        for of, one in ((one.tier, one) for one in targets)
    }
    baseline = recorded_baseline(recording, tier, job.baseline)
    depth = recorded_depth(recording, task, baseline, others)
    recorded = Recorded(recording, depth)
    metered = job.tiers[tier.name].metered
    if metered and recording.nodes:
        raise InputError(
            f"tier {tier.name!r}: recorded trajectories cannot be metered; leave out metered: true"
        )
    if prepared.judge_tier is not None and (recording.nodes or metered):
        raise InputError(
            f"tier {tier.name!r}: a judge scores plain recorded answers, neither trajectories nor "
            "metered ones; leave out metered: true, or give the task the metric recorded"
        )
    limits = share_of(job, tier, prepared.tiers)
    terms = _Terms(FREE, UsageLimits(), SampleCost(0.0, 0.0), recorded)
    if metered:
        terms = _Terms(searches.search_size, limits, recorded_cost(recording, tier), recorded)
    variants = recorded_variants(recording, depth, baseline)
    problem = _problem(searches, targets, tier, variants, terms)
    if recording.nodes and not targets:
        buyer = _trajectories(searches, tier, recorded, paths[tier.name])
        found = search(problem, problem.ledger(buyer), searches.listener)
        return Searched(found, fingerprint(paths[tier.name]), buyer.remarks)
    samples = RecordedSamples(recording, task, tier, depth, others)
    if metered:
        meter = Meter(limits, paid_before(targets))
        samples = MeteredSamples(recording, task, tier, depth, others, meter)
    judge = None
    marks = [fingerprint(path) for path in dict.fromkeys(paths.values())]
    whole = marks[0] if len(marks) == 1 else hashlib.sha256("".join(marks).encode()).hexdigest()
    with ExitStack() as stack:
        account = Account(searches.run, job.seed, limits, tier.name, searches.deadline_s)
        judging = _judging(searches, stack, account)
        if judging is not None:
            samples.judge(judging)
        found = search(problem, problem.ledger(samples), searches.listener)
        if judging is not None:
            judging.check_drift()
            judge = _judge_summary(searches, judging, tier)
            judged = searches.pool.sha256(judging.used)
            whole = hashlib.sha256(f"{whole}{judged}".encode()).hexdigest()
    used = samples.spent if isinstance(samples, MeteredSamples) else None
    found = replace(found, prompt_table=samples.everything())
    remarks = (*samples.remarks, *(remarks_on_judge(judge) if judge else ()))
    return Searched(found, whole, remarks, metered=used, judge=judge)


class Recorded(NamedTuple):
    """A recording, and how far it goes."""

    recording: Recording
    depth: RecordedDepth


def _trajectories(searches: Searches, tier: Tier, recorded: Recorded, path: Path) -> Trajectories:
    loaded, library, recording = searches.prepared.loaded, None, recorded.recording
    if loaded.retriever is not None:
        check_queries(recording, loaded.task, loaded.retriever.spec)
        library = library_from(recording, loaded.retriever.spec, path)
    account = Account(searches.run, searches.prepared.job.seed, UsageLimits())
    return Trajectories(searches.pool, loaded.task, tier, *recorded, account, library)


class _Terms(NamedTuple):
    """How large a search may be, and what a sample is assumed to cost before the first."""

    search_size: SearchSize
    cap: UsageLimits
    assumed: SampleCost
    recorded: Recorded | None = None


def _problem(
    searches: Searches,
    targets: Sequence[EscalationTarget],
    tier: Tier,
    variants: Variants,
    terms: _Terms,
) -> TierProblem:
    """What is to be searched, and what the search begins from."""
    prepared, job, recorded = searches.prepared, searches.prepared.job, terms.recorded
    task, space = prepared.loaded.task, prepared.space
    if recorded is not None:
        space = recorded_space(space, recorded.depth)
    scores = scores_of(task, tier, recorded.recording if recorded else None)
    began = begun_from(searches.studied, tier.name, variants.prompts)
    return TierProblem(
        task,
        tier,
        offered(space, scores),
        variants,
        job.seed,
        job.trials,
        job.gate_margin,
        job.operating_point,
        terms.search_size,
        terms.cap,
        terms.assumed,
        scores=scores,
        before=began,
        study_rounds=began.study_rounds,
        targets=tuple(targets),
    )


def _prompt_bytes(buyer: Buyer, variants: Variants) -> float:
    """Of the first item's prompts, on average over the variants."""
    first = buyer.task.splits["validation"][0]
    requests = [buyer.request(variant, first) for variant in variants.candidates]
    return sum(request.prompt_bytes for request in requests) / len(requests)


# --- what a run's folder knows of an earlier search -----------------------------------------------
#
# An Optuna study refuses new choices, and a front is read from one table. So when a prompt was
# added and the same command is run again, the tier is searched in new study rounds: they count on
# from the earlier ones, judge its front again as their first trials, and buy only what is new. The
# folder keeps what they began from, so that a resumed or replayed run begins from the same.


def begun_from(studied: Studied, tier: str, prompts: Mapping[str, PromptTemplate]) -> EarlierStudy:
    """What the search over ``prompts`` begins from; ``studied`` is what the folder holds.

    Raises:
        InputError: a prompt has another text than it had: an id stands for a text for ever.
    """
    now = {name: _text_mark(prompt) for name, prompt in sorted(prompts.items())}
    known = studied.tiers.get(tier)
    if known is None:
        return EarlierStudy(now)
    if known.prompts == now:
        return EarlierStudy(now, known.before.study_rounds, known.before.front)
    for name, mark in known.prompts.items():
        if now.get(name, mark) != mark:
            raise InputError(
                f"prompt {name!r} has another text than when this folder was tuned; a changed text "
                "is a new id (or begin anew with --fresh)"
            )
    return EarlierStudy(now, known.study_rounds, known.front)


def studied_entry(began: EarlierStudy, study_rounds: int, front: Sequence[Proposal]) -> StudiedTier:
    """What the folder keeps of a tier that was searched: for a later run, and for this one again.

    Signals that ask the model or were fitted belong to their study, and are left out.
    """
    return StudiedTier(
        study_rounds=study_rounds,
        front=_written(front),
        prompts=began.prompts,
        before=StudyState(began.study_rounds, _written(began.proposals)),
    )


def _text_mark(prompt: PromptTemplate) -> str:
    text = json.dumps([list(message) for message in prompt.messages], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _written(front: Sequence[Proposal]) -> tuple[Proposal, ...]:
    return tuple(proposal for proposal in front if not proposal.difficulty.weights)


# --- what a run asked for, for those who export its pool ------------------------------------------


def request_names(run: RunDir) -> dict[str, RequestName]:
    """What the run asked for, by request key: the first turns of its variants on all items.

    Raises:
        InputError: its task or space cannot be read any more.
    """
    prepared = prepare(run.job())
    task, names = prepared.loaded.task, dict[str, RequestName]()
    made = (load_proposed(run, file.stem) for file in sorted((run.path / FOLDER).glob("*.json")))
    proposed = [prompt for one in made if one is not None for prompt in one.prompts]
    for name, tier in prepared.tiers.items():
        if kind_of(tier.model) == RECORDED or prepared.baseline is None:
            continue
        tier = with_mode_to_ask(tier, prepared.space)
        prompts = (*prepared.loaded.prompts, *proposed)
        variants = prepared.variants(tier, prepared.baseline, prompts)
        for variant in variants.candidates:
            prompt = variants.prompts[variant.prompt]
            for item in task.items:
                address = run.addresses.get(name, "")
                asked = build_request(tier, prompt, variant, item.inputs, address)
                names.setdefault(asked.key, RequestName(item, variant))
    return names
