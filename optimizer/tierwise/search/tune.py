"""A job from top to bottom: tiers side by side, then one gate over all of them, then the files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tierwise.content import Budget, Job, LoadedTask, load_space, load_task
from tierwise.errors import InputError, TierwiseError, unknown_name
from tierwise.llm.models import RECORDED, address_of, kind_of, open_model, resolve_tier
from tierwise.llm.recorded import Recording, same_items
from tierwise.pool import Billed, Cap, SamplePool
from tierwise.recipe import PromptTemplate, Tier
from tierwise.recipe.policy_file import PolicyFile
from tierwise.recipe.space import SearchSpace
from tierwise.search.arms import candidate_arms
from tierwise.search.buying import Buyer
from tierwise.search.effort import DrawCost, Effort, assumed_cost
from tierwise.search.events import Event, Finished, Listener
from tierwise.search.export import Origin, items_jsonl, policy_file, tier_summary, trials_csv
from tierwise.search.gate import passed
from tierwise.search.offered import offered, scores_of
from tierwise.search.recorded import FREE, RecordedDraws, fingerprint, recorded_arms
from tierwise.search.run_dir import RunDir
from tierwise.search.study import mirror
from tierwise.search.tested import Tested
from tierwise.search.tier import Found, Question, search
from tierwise.task import RECORDED as RECORDED_METRIC
from tierwise.task import SPLITS


@dataclass(frozen=True)
class Prepared:
    """A job with everything that it names, loaded and checked before the first call.

    ``baseline`` is None where all tiers are recorded: a recording has prompts of its own.
    """

    job: Job
    loaded: LoadedTask
    space: SearchSpace
    tiers: Mapping[str, Tier]
    baseline: PromptTemplate | None


@dataclass(frozen=True)
class TuneResult:
    """What a run came to; ``failed`` are tiers that ended with an error, by name."""

    run: RunDir
    policies: Mapping[str, PolicyFile]
    summary: Mapping[str, Any]
    found: Mapping[str, Found]
    failed: Mapping[str, TierwiseError]


def prepare(job: Job, task: LoadedTask | None = None) -> Prepared:
    """Load and check what a job names; ``task`` in place of its task, where that lives in Python.

    Raises:
        InputError: whatever is wrong with task, space, prompts or tiers.
    """
    space = load_space(job.space)
    if space.constraints.max_pss is not None and not space.paraphrases:
        raise InputError(
            f"space {space.name!r}: max_pss bounds how much a score hangs on the wording, which "
            "takes other wordings to measure: set prompts.paraphrases to 1 or more"
        )
    rendered = any(kind_of(spec.model) != RECORDED for spec in job.tiers.values())
    loaded = task or load_task(job.task, space, prompts_needed=rendered)
    if rendered and not loaded.prompts:
        raise InputError(f"task {loaded.task.name!r} has no prompts")
    for split in SPLITS[1:]:
        if not loaded.task.splits[split]:
            raise InputError(
                f"task {loaded.task.name!r} has no item in split {split!r}: a study needs some in "
                "tune, select and test"
            )
    if loaded.task.metric == RECORDED_METRIC and rendered:
        raise InputError(
            f"the metric of task {loaded.task.name!r} is 'recorded', the score that a recording "
            "carries: it cannot score the new answers of a tier that is not recorded/MODEL"
        )
    tiers = {
        name: resolve_tier(
            name, spec.model, price=spec.price, modes=spec.modes, takes_n=spec.takes_n,
            logprobs=spec.logprobs, limits=spec.limits, recordings=spec.recordings,
        )
        for name, spec in job.tiers.items()
    }  # fmt: skip
    same_items([
        Recording.load(spec.recordings or "", spec.model)
        for spec in job.tiers.values() if kind_of(spec.model) == RECORDED
    ])  # fmt: skip
    baseline = _baseline(job, loaded) if rendered else None
    return Prepared(job, loaded, space, tiers, baseline)


def tune(
    job: Job,
    out: Path,
    *,
    listener: Listener = lambda event: None,
    fresh: bool = False,
    effort: Effort | None = None,
    loaded: LoadedTask | None = None,
) -> TuneResult:
    """Run a job in the folder ``out``, or go on with it where it was interrupted.

    ``loaded`` is the job's task where it lives in Python and has no file.

    Raises:
        TierwiseError: bad input, a budget too small, or a provider that failed on every tier.
    """
    prepared = prepare(job, loaded)
    run = RunDir.start(out, job, fresh=fresh)
    return _run(prepared, run, listener, effort or Effort(), replaying=False)


def replay(
    path: Path, *, listener: Listener = lambda event: None, effort: Effort | None = None
) -> TuneResult:
    """Rebuild what a finished run wrote from its pool alone: the same bytes, and no call.

    ``effort`` is the one that the run was given, if it was given one.

    Raises:
        InputError: not a run directory, or one that did not finish.
    """
    run = RunDir.open(path)
    if not run.finished:
        raise InputError(
            f"{path} did not finish, so there is nothing to replay: run its `tierwise tune` "
            "command again, and it goes on where it stopped"
        )
    return _run(prepare(run.job()), run, listener, effort or Effort(), replaying=True)


def _run(
    prepared: Prepared, run: RunDir, listener: Listener, effort: Effort, *, replaying: bool
) -> TuneResult:
    stop = threading.Event()

    def heard(event: Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        listener(event)

    found: dict[str, Found] = {}
    failed: dict[str, TierwiseError] = {}
    hashes: dict[str, str] = {}
    with SamplePool.open(run.pool, read_only=replaying) as pool:

        def one(name: str) -> None:
            found[name], hashes[name] = _search_tier(
                prepared, name, pool, run, heard, effort, replaying=replaying
            )  # fmt: skip

        with ThreadPoolExecutor(len(prepared.tiers)) as threads:
            waiting = {threads.submit(one, name): name for name in prepared.tiers}
            try:
                for future in as_completed(waiting):
                    name = waiting[future]
                    try:
                        future.result()
                        listener(Finished(name))
                    except TierwiseError as error:
                        failed[name] = error
                        listener(Finished(name, ok=False, message=str(error)))
            except BaseException:
                stop.set()  # the other tiers end at their next chunk
                raise
        if not found:
            raise next(iter(failed.values()))
        in_order = {name: found[name] for name in prepared.tiers if name in found}
        if not replaying:
            for name in (name for name, f in in_order.items() if f.tested_on_test):
                pool.look(prepared.loaded.task.items_sha256, name, run.run)
        origins = {
            name: Origin(
                version("tierwise"), run.created, hashes[name],
                pool.looks(prepared.loaded.task.items_sha256, name),
            )
            for name in in_order
        }  # fmt: skip
        spending = {name: _spending(pool.billed(run.run, name)) for name in in_order}
    gates = _gates(in_order)
    return _write(prepared, run, in_order, gates, origins, spending, failed)


def _search_tier(
    prepared: Prepared, name: str, pool: SamplePool, run: RunDir, listener: Callable[[Event], None],
    effort: Effort, *, replaying: bool,
) -> tuple[Found, str]:  # fmt: skip
    job, tier = prepared.job, prepared.tiers[name]
    if prepared.baseline is None or kind_of(tier.model) == RECORDED:
        return _search_recording(prepared, name, listener)
    arms = candidate_arms(
        prepared.loaded.task, tier, prepared.space, prepared.loaded.prompts, prepared.baseline
    )
    cap = share_of(job.budget, tier, prepared.tiers)
    model = None if replaying else open_model(tier, recordings=job.tiers[name].recordings)
    try:
        buyer = Buyer(
            pool, model, prepared.loaded.task, tier, arms.prompts,
            seed=job.seed, run=run.run, cap=cap, address=address_of(tier), listener=listener,
        )  # fmt: skip
        first = prepared.loaded.task.splits["tune"][0]
        requests = [buyer.request(arm, first) for arm in arms.candidates]
        size = sum(len(m.content.encode()) for r in requests for m in r.messages) / len(requests)
        scores = scores_of(prepared.loaded.task, tier)
        question = Question(
            prepared.loaded.task, tier, offered(prepared.space, scores), arms, job.seed,
            job.trials, job.gate_margin,
            job.operating_point, effort, cap, assumed_cost(tier, arms.candidates, size),
        )  # fmt: skip
        found = search(question, buyer, listener)
        return found, pool.sha256({key: range(n) for key, n in buyer.used.items()})
    finally:
        if model is not None:
            model.close()


def _search_recording(
    prepared: Prepared, name: str, listener: Callable[[Event], None]
) -> tuple[Found, str]:
    """The search on recorded draws: the same stages, and nothing bought."""
    job, tier = prepared.job, prepared.tiers[name]
    path = Path(job.tiers[name].recordings or "")
    recording = Recording.load(path, tier.model)
    arms = recorded_arms(recording, tier, job.baseline)
    scores = scores_of(prepared.loaded.task, tier, recording)
    question = Question(
        prepared.loaded.task, tier, offered(prepared.space, scores), arms, job.seed, job.trials,
        job.gate_margin, job.operating_point, FREE, Cap(), DrawCost(0.0, 0.0),
    )  # fmt: skip
    draws = RecordedDraws(recording, prepared.loaded.task, tier)
    found = search(question, draws, listener)
    return replace(found, prompt_table=draws.everything()), fingerprint(path)


def share_of(budget: Budget, tier: Tier, tiers: Mapping[str, Tier]) -> Cap:
    """A tier's part of the budget: calls and tokens alike, dollars by price.

    Parts are fixed before the first call: were they what the others leave, a result would depend on
    which tier was faster.
    """
    n = len(tiers)
    prices = {t.name: t.price.completion_usd_per_mtok or 1.0 for t in tiers.values()}
    part = prices[tier.name] / sum(prices.values())
    return Cap(
        usd=None if budget.usd is None else budget.usd * part,
        calls=None if budget.calls is None else max(1, budget.calls // n),
        tokens=None if budget.tokens is None else max(1, budget.tokens // n),
        seconds=budget.seconds,
    )


def _spending(billed: Billed) -> dict[str, Any]:
    """What came with answers; and the most that may be billed without one, where there is any."""
    possibly = {"possibly_billed": billed.possibly._asdict()} if billed.possibly.calls else {}
    return {**billed.confirmed._asdict(), **possibly}


def _gates(found: Mapping[str, Found]) -> dict[str, dict[str, bool]]:
    """Holm over tiers x operating points."""
    # Where the baseline is already the cheapest, a point is the baseline: that is no test.
    asked = [
        (name, point) for name, f in found.items() for point in f.comparisons
        if f.points[point].policy != f.baseline
    ]  # fmt: skip
    verdicts = passed([found[name].comparisons[point] for name, point in asked])
    gates = {name: dict.fromkeys(f.comparisons, False) for name, f in found.items()}
    for (name, point), verdict in zip(asked, verdicts, strict=True):
        gates[name][point] = verdict
    return gates


def _write(
    prepared: Prepared, run: RunDir, found: Mapping[str, Found],
    gates: Mapping[str, Mapping[str, bool]], origins: Mapping[str, Origin],
    spending: Mapping[str, Mapping[str, Any]], failed: Mapping[str, TierwiseError],
) -> TuneResult:  # fmt: skip
    run.clear_results()
    policies = {}
    for name, f in found.items():
        for point in f.points:
            file = policy_file(f, point, gates[name][point], prepared.loaded, origins[name])
            if point == f.chosen:
                file.save(run.policies / f"{name}.yaml")
                policies[name] = file
            elif gates[name][point]:
                file.save(run.path / "operating_points" / f"{name}.{point}.yaml")
        f.study_table.save(run.path / f"tables.{name}.npz")
        f.prompt_table.save(run.path / f"tables.{name}.prompts.npz")
        f.test_table.save(run.path / f"tables.{name}.test.npz")
        Tested.of(f).save(run.path / f"tested.{name}.npz")
    generations = [g for f in found.values() for g in f.generations]
    mirror(generations, run.journal)
    run.write("trials.csv", trials_csv(generations))
    task = prepared.loaded.task
    run.write("test_items.jsonl", items_jsonl(task.splits["test"]))
    summary = {
        "schema": "tierwise/summary/v1",
        "task": {"name": task.name, "version": task.version, "items_sha256": task.items_sha256},
        "space": prepared.space.name,
        "created": run.created,
        "seed": prepared.job.seed,
        "tiers": {name: tier_summary(f, gates[name], spending[name]) for name, f in found.items()},
        "failed": {name: str(error) for name, error in failed.items()},
    }
    run.write_json("summary.json", summary)
    return TuneResult(run, policies, summary, found, failed)


def _baseline(job: Job, loaded: LoadedTask) -> PromptTemplate:
    own = {prompt.id: prompt for prompt in (*loaded.own, *loaded.prompts)}
    if job.baseline is None:
        return next(iter(own.values()))
    if job.baseline not in own:
        raise unknown_name("prompt of the task (baseline)", job.baseline, own)
    return own[job.baseline]
