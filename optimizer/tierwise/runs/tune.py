"""A job from top to bottom: tiers side by side, then one gate over all of them, then the files."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from tierwise.errors import InputError, TierwiseError
from tierwise.pool import Billed, Remarked, SamplePool
from tierwise.pool.run_dir import CUT_SHORT, RunDir, held
from tierwise.pool.supervision import INTERRUPTION
from tierwise.proposals import PromptProposer, TaskProposer
from tierwise.runs.artifacts import TierOutcome, write_results
from tierwise.runs.plan import plan, plan_file
from tierwise.runs.prepare import Prepared, addresses_of, prepare
from tierwise.runs.run_proposals import RunProposals, proposer_of
from tierwise.runs.tiers import Searched, Searches, search_tier
from tierwise.schema import Job, LoadedTask, Usage
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.result import CutShort, JudgeSummary, Summary
from tierwise.search.budget import TEST_PART
from tierwise.search.held_out import passed
from tierwise.search.problem import EscalationTarget, Event, Finished, Listener, SearchSize
from tierwise.search.tier import TierResult, escalation_target
from tierwise.tasks.code_tests import check_allowed

LEAST_TEST_S, MOST_TEST_PART = 5.0, 1 / 2
"""Seconds that are kept for the held-out test at least, within this part of a tier's time: calls of
the search that are under way when its own time is up take from them, and the choice of a policy."""


@dataclass(frozen=True)
class TuneResult:
    """What a run came to; ``failed`` are tiers that ended with an error, by name."""

    run: RunDir
    policies: Mapping[str, PolicyFile]
    summary: Summary
    found: Mapping[str, TierResult]
    failed: Mapping[str, TierwiseError]


def tune(
    job: Job,
    out: Path,
    *,
    listener: Listener = lambda event: None,
    fresh: bool = False,
    search_size: SearchSize | None = None,
    loaded: LoadedTask | None = None,
    proposer: PromptProposer | None = None,
    retry_failed: bool = False,
) -> TuneResult:
    """Run a job in the folder ``out``, or go on with it where it was interrupted.

    ``retry_failed`` asks again for samples that failed for good in earlier starts of the run.
    ``loaded`` is the job's task where it lives in Python and has no file; ``proposer``
    writes the proposed prompts, where they are not the task's own prompts with another system text.

    Raises:
        TierwiseError: bad input, a budget too small, or a provider that failed on every tier.
    """
    prepared = prepare(job, loaded)
    if job.proposals is not None and job.proposals.model is not None:
        proposer_of(job.proposals.model)  # whatever is wrong with it is said before the first call
    addresses = addresses_of(prepared)
    with RunDir.started(out, prepared.job, fresh=fresh, addresses=addresses) as run:
        if not run.plan.exists():  # of before the first purchase, so that it can be held against it
            run.write_json(run.plan.name, plan_file(plan(prepared, search_size)))
        try:
            return _run(
                prepared,
                run,
                listener,
                search_size or SearchSize(),
                replaying=False,
                proposer=proposer,
                retry_failed=retry_failed,
            )
        finally:
            INTERRUPTION.reset()


def replay(
    path: Path, *, listener: Listener = lambda event: None, search_size: SearchSize | None = None
) -> TuneResult:
    """Rebuild what a finished run wrote from its pool alone: the same bytes, and no call.

    ``search_size`` is the one that the run was given, if it was given one.

    Raises:
        InputError: not a run directory, or one that did not finish.
    """
    run = RunDir.open(path)
    if not run.finished:
        raise InputError(
            f"{path} did not finish, so there is nothing to replay: run its `tierwise tune` "
            "command again, and it goes on where it stopped"
        )
    with held(path):
        return _run(prepare(run.job()), run, listener, search_size or SearchSize(), replaying=True)


def _run(
    prepared: Prepared,
    run: RunDir,
    listener: Listener,
    search_size: SearchSize,
    *,
    replaying: bool,
    proposer: PromptProposer | None = None,
    retry_failed: bool = False,
) -> TuneResult:
    task = prepared.loaded.task
    task.answer.check_usable()
    if "code_tests" in task.metric:
        check_allowed()  # before a sample is bought that nobody may score
    seconds = prepared.job.budget.seconds
    deadline_s = None if seconds is None else monotonic() + seconds
    with SamplePool.open(run.pool, read_only=replaying) as pool:
        proposals = _proposals(prepared, run, pool, proposer, deadline_s, replaying=replaying)
        if proposals is not None:
            proposals.first()  # the same for all tiers, so before they go on side by side
        searches = Searches(
            prepared,
            pool,
            run.run,
            listener,
            search_size,
            replaying,
            proposals,
            addresses=run.addresses,
            studied=run.studied,
            deadline_s=deadline_s,
            cut_short=run.cut_short if replaying else CutShort({}),
            retry_before=pool.last_purchase() if retry_failed else 0,
        )
        for text in prepared.remarks:
            for name in prepared.tiers:
                listener(Remarked(name, text))
        searched, failed = _side_by_side(searches)
        if not searched:
            raise next(iter(failed.values()))
        if not replaying:
            for name in searched:
                pool.look(task.items_sha256, name, run.run)
            cut_short = {name: of.cut_short for name, of in searched.items() if of.cut_short}
            run.write_json(CUT_SHORT, CutShort(cut_short))
        tiers = _outcomes(searches, searched)
        spent = None if proposals is None else proposals.summary()
    policies, summary = write_results(run, prepared, tiers, failed, spent)
    return TuneResult(run, policies, summary, {n: of.found for n, of in tiers.items()}, failed)


def _outcomes(searches: Searches, searched: Mapping[str, Searched]) -> dict[str, TierOutcome]:
    """What the searches came to, in the order of the job's tiers, with the verdicts of the gate."""
    prepared, pool = searches.prepared, searches.pool
    searched = {name: searched[name] for name in prepared.tiers if name in searched}
    judges = {name: of.judge for name, of in searched.items() if of.judge is not None}
    gates = _gates({name: of.found for name, of in searched.items()}, judges)
    return {
        name: TierOutcome(
            of.found,
            gates[name],
            of.samples_sha256,
            pool.looks(prepared.loaded.task.items_sha256, name),
            pool.billed(searches.run, name) if of.metered is None else Billed(of.metered, Usage()),
            (*prepared.remarks, *of.remarks),
            of.judge,
        )
        for name, of in searched.items()
    }


def _proposals(
    prepared: Prepared,
    run: RunDir,
    pool: SamplePool,
    proposer: PromptProposer | None,
    deadline_s: float | None,
    *,
    replaying: bool,
) -> RunProposals | None:
    """Where the job's proposals are made; None where it asks for none."""
    if prepared.job.proposals is None or prepared.baseline is None:
        return None
    loaded = prepared.loaded
    proposer = proposer or TaskProposer(loaded.task, prepared.baseline, loaded.prompts)
    return RunProposals(run, pool, prepared.job, proposer, replaying, deadline_s)


def _side_by_side(searches: Searches) -> tuple[dict[str, Searched], dict[str, TierwiseError]]:
    """The search of every tier, a thread each; those that failed do not stop the others.

    Tiers that may escalate come after their targets, the strongest first and one by one: two that
    buy the same samples of a third at once would pay for them twice. Of the job's time, those that
    follow one another have equal parts, and each keeps a part of its own for the test.
    """
    stop, listener = threading.Event(), searches.listener

    def heard(event: Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        listener(event)

    searches = replace(searches, listener=heard)
    searched: dict[str, Searched] = {}
    failed: dict[str, TierwiseError] = {}
    job, tiers = searches.prepared.job, searches.prepared.tiers
    alone = [name for name in tiers if not job.escalation_targets(name)]
    in_turn = [[name] for name in reversed(list(tiers)) if job.escalation_targets(name)]
    with ThreadPoolExecutor(len(tiers)) as threads:
        for at, together in enumerate((alone, *in_turn)):
            timed = _timed(searches, len(in_turn) - at)
            waiting = {
                threads.submit(search_tier, timed, name, _targets(job, name, searched)): name
                for name in together
            }
            try:
                for future in as_completed(waiting):
                    name = waiting[future]
                    try:
                        searched[name] = future.result()
                        listener(Finished(name))
                    except TierwiseError as error:
                        failed[name] = error
                        listener(Finished(name, ok=False, message=str(error)))
            except BaseException:  # Ctrl-C too; it goes on up
                stop.set()  # the other tiers end at their next event, or when their calls have come
                if not INTERRUPTION.asked:
                    INTERRUPTION.ask()
                raise
    return searched, {name: failed[name] for name in tiers if name in failed}


def _timed(searches: Searches, after: int) -> Searches:
    """With its part of the time, where ``after`` further searches follow."""
    if searches.deadline_s is None:
        return searches
    left = max(0.0, searches.deadline_s - monotonic())
    own = left / (1 + after)
    test_s = min(max(own * TEST_PART, LEAST_TEST_S), own * MOST_TEST_PART)
    return replace(searches, deadline_s=searches.deadline_s - left + own, test_s=test_s)


def _targets(job: Job, name: str, searched: Mapping[str, Searched]) -> list[EscalationTarget]:
    """The tiers that ``name`` may escalate to; one whose own search failed is left out."""
    return [
        escalation_target(searched[other].found)
        for other in job.escalation_targets(name)
        if other in searched
    ]


def _gates(
    found: Mapping[str, TierResult], judges: Mapping[str, JudgeSummary]
) -> dict[str, dict[str, bool]]:
    """Holm over tiers x operating points that were tested; none is passed where the judge may not
    decide."""
    # Where the baseline is already the cheapest, a point is the baseline: that is no test.
    asked = [
        (name, point)
        for name, f in found.items()
        for point in f.held_out.comparisons
        if f.points[point].policy != f.baseline
    ]
    verdicts = passed([found[name].held_out.comparisons[point] for name, point in asked])
    gates = {name: dict.fromkeys(f.held_out.comparisons, False) for name, f in found.items()}
    for (name, point), verdict in zip(asked, verdicts, strict=True):
        gates[name][point] = verdict and not (name in judges and judges[name].faults)
    return gates
