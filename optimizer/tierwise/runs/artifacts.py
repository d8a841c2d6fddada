"""The files of a run: policies, tables, studies, trials and the summary, written and read back.

Everything is derived from the results of the searches, so a replay writes the same bytes. The
summary is written last: where it is, a run is finished.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter

from tierwise.analysis import signals, tier_rows
from tierwise.analysis.prompts import prompt_ranks, sensitivities, techniques
from tierwise.analysis.tier_files import JudgedPolicies, TierFiles
from tierwise.errors import InputError, TierwiseError
from tierwise.evaluation import Permutations, SampleTable, replay_parts
from tierwise.llm.models import RECORDED, fingerprint_of, kind_of
from tierwise.pool import Billed, SamplePool
from tierwise.pool.judging import remarks_on_judge
from tierwise.pool.reading import Purchase
from tierwise.pool.run_dir import STUDIED, RunDir
from tierwise.runs.prepare import Prepared
from tierwise.runs.tiers import studied_entry
from tierwise.schema import Job, Limits, Policy, PolicyFile, PromptTemplate, TaskRef
from tierwise.schema.job import GateMode
from tierwise.schema.measured import ComputeGateEvidence, FrontPoint, GateName, ScreenedVariant
from tierwise.schema.policy_file import ComparedWith, ExpectedFigures, PolicyEvidence, Provenance
from tierwise.schema.prompt import turns_used
from tierwise.schema.result import (
    SUMMARY_SCHEMA,
    ItemCounts,
    JudgeSummary,
    MetricPartSummary,
    PlannedTier,
    ProposerUsage,
    RunPlan,
    Studied,
    Summary,
    TierSummary,
    TrialRow,
    UsageTotals,
    from_json,
)
from tierwise.schema.turns import JUDGED_TURN
from tierwise.search.problem import own_variants
from tierwise.search.samples import samples_needed
from tierwise.search.study import StudyRound, journal_of
from tierwise.search.tier import TierResult
from tierwise.stats.intervals import SMALL_SAMPLE
from tierwise.strategies import asks, build, paths_of
from tierwise.tasks import Item, parts_of

T = TypeVar("T")

LEAST_TIMEOUT_S = 60.0
TIMEOUT_FACTOR = 2.0
"""A timeout is this many times the slowest that the test items could be."""
SIGNAL_PERMUTATIONS = 8
"""Permutations of the samples that signals are evaluated on."""


# --- writing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TierOutcome:
    """What came of a tier's search, and what its files say beside.

    Attributes:
        gates: operating point that was tested -> whether the gate was passed.
        looks: how often the test split was looked at.
        billed: what it bought.
        remarks: what the job and the samples show beside the scores.
        judge: who scored its answers, where the metric is a judge.
    """

    found: TierResult
    gates: Mapping[str, bool]
    samples_sha256: str
    looks: int
    billed: Billed
    remarks: tuple[str, ...] = ()
    judge: JudgeSummary | None = None

    @property
    def distrusted(self) -> bool:
        """Whether its judge may not decide."""
        return self.judge is not None and bool(self.judge.faults)


def write_results(
    run: RunDir,
    prepared: Prepared,
    tiers: Mapping[str, TierOutcome],
    failed: Mapping[str, TierwiseError],
    proposals: ProposerUsage | None,
) -> tuple[dict[str, PolicyFile], Summary]:
    """Write all files of the run; the exported policy of each tier, and ``summary.json``.

    ``failed`` are tiers that ended with an error; ``proposals`` is who proposed prompts, and what
    that cost, where the job asks for some.
    """
    run.clear_results()
    policies = _write_policies(run, prepared, tiers)
    found = {name: of.found for name, of in tiers.items()}
    for name, f in found.items():
        arrays: dict[str, SampleTable | JudgedPolicies] = {
            f"tables.{name}.npz": f.study_table,
            f"tables.{name}.prompts.npz": f.prompt_table,
            f"validated.{name}.npz": JudgedPolicies.on_validation(f),
        }
        if f.held_out.evaluations:
            arrays[f"tables.{name}.test.npz"] = f.held_out.table
            arrays[f"tested.{name}.npz"] = JudgedPolicies.on_test(f)
        for file, of in arrays.items():
            with run.writing(file) as path:
                of.save(path)
    study_rounds = [g for f in found.values() for g in f.study_rounds]
    run.write(run.journal.name, journal_of(study_rounds))
    studied = {
        name: studied_entry(
            f.problem.before,
            f.problem.before.study_rounds + len(f.study_rounds),
            [trial.proposal for trial in f.study_rounds[-1].front()],
        )
        for name, f in found.items()
    }
    run.write_json(STUDIED, Studied({**run.studied.tiers, **studied}))
    run.write("trials.csv", trials_csv(study_rounds))
    run.write("test_items.jsonl", _items_jsonl(prepared.loaded.task.splits["test"]))
    task = prepared.loaded.task
    summary = Summary(
        schema=SUMMARY_SCHEMA,
        task=TaskRef(task.name, task.version, task.metric, task.items_sha256),
        space=prepared.space.name,
        created=run.created,
        seed=prepared.job.seed,
        proposals=proposals,
        tiers={name: tier_summary(of, prepared.job.gate) for name, of in tiers.items()},
        failed={name: str(error) for name, error in failed.items()},
    )
    run.write_json("summary.json", summary)
    return policies, summary


def _write_policies(
    run: RunDir, prepared: Prepared, tiers: Mapping[str, TierOutcome]
) -> dict[str, PolicyFile]:
    """The chosen point's file of each tier, and those of other points that were tested and
    passed."""
    policies = {}
    for name, of in tiers.items():
        mode: GateMode = "require" if of.distrusted else prepared.job.gate
        for point, gate in (of.gates or {of.found.chosen: False}).items():
            verdict = GateVerdict(gate, mode, bool(of.gates))
            file = policy_file(of, point, verdict, prepared, run.created)
            if point == of.found.chosen:
                run.write(f"policies/{name}.yaml", file.dumps())
                policies[name] = file
            elif gate:
                run.write(f"operating_points/{name}.{point}.yaml", file.dumps())
    return policies


class GateVerdict(NamedTuple):
    """Whether the gate was passed, and what the job does where it was not.

    ``tested`` is false where no test items could be bought.
    """

    passed: bool
    mode: GateMode = "require"
    tested: bool = True

    @property
    def name(self) -> GateName:
        """What the files say."""
        return "passed" if self.passed else "not passed" if self.tested else "not tested"

    @property
    def exports_chosen(self) -> bool:
        """Whether the chosen policy is exported; else the baseline."""
        return self.passed or self.mode == "advise"


def policy_file(
    of: TierOutcome, point: str, verdict: GateVerdict, prepared: Prepared, created: str
) -> PolicyFile:
    """The file of an operating point, or of the baseline where the gate asks for that."""
    found, loaded = of.found, prepared.loaded
    q = found.problem
    choice = found.points[point]
    chosen = choice.policy if verdict.exports_chosen else found.baseline
    split, table, got, comparison = tier_rows.judged_point(found, point)
    if not verdict.exports_chosen:
        judged = found.held_out.evaluations if split == "test" else found.held_out.validated
        got = judged[chosen]
    compute_gate = vars(tier_rows.compute_gate(found.compute_gate)).copy()
    weights = fingerprint_of(q.tier.model)
    return PolicyFile(
        name=f"{q.task.name}-{q.tier.name}",
        tier=q.tier,
        task=TaskRef(q.task.name, q.task.version, q.task.metric, q.task.items_sha256),
        inputs=q.task.inputs,
        prompts=_with_used_turns(q.prompts, chosen),
        other_tiers={target.tier.name: target.tier for target in q.targets},
        policy=replace(
            chosen.with_shares([round(share, 4) for share in got.shares]),
            limits=_limits_of(chosen, table),
        ),
        answer=q.task.answer,
        expected=ExpectedFigures.of(
            tier_rows.measured(chosen, got, table, split),
            **tier_rows.latency(chosen, table),
            buckets=tier_rows.bucket_scores(found, chosen, table),
        ),
        evidence=PolicyEvidence(
            split=split,
            baseline=ExpectedFigures.of(
                tier_rows.measured_baseline(found), policy=str(found.baseline)
            ),
            gate=verdict.name,
            gate_mode=verdict.mode,
            compute_gate=compute_gate.pop("verdict"),
            compute_gate_evidence=ComputeGateEvidence(**compute_gate),
            operating_point=point,
            comparisons=(ComparedWith("baseline", **vars(tier_rows.paired(comparison))),),
            looks_at_test=of.looks,
            judge=of.judge,
        ),
        provenance=Provenance(
            tierwise=version("tierwise"),
            created=created,
            study=found.study_rounds[-1].name,
            trial=choice.candidate.trial if verdict.exports_chosen else -1,
            seed=q.seed,
            pool_sha256=of.samples_sha256,
            prices_as_of=q.tier.price.as_of,
            weights_sha256={q.tier.model: weights} if weights else {},
        ),
        deployable=kind_of(q.tier.model) != RECORDED,
        notes=tuple(_notes(of, choice.policy, verdict, len(got.score))),
        retriever=loaded.retriever.spec
        if loaded.retriever and _asks_for(chosen, "query")
        else None,
        judge=prepared.verifier if _asks_for(chosen, JUDGED_TURN) else None,
    )


def _notes(of: TierOutcome, chosen: Policy, verdict: GateVerdict, items: int) -> Iterator[str]:
    """What whoever reads the file must know of it, in sentences."""
    q, gate = of.found.problem, of.found.compute_gate
    if not verdict.passed and not of.distrusted:
        what, what_for = str(chosen), "This is the baseline."
        if verdict.exports_chosen:
            what, what_for = "This policy", "It is exported as the job asks (gate: advise)."
        yield (
            f"The gate was {verdict.name}: {what} was not shown to be better than the baseline, or "
            f"as good and cheaper. {what_for}"
        )
    yield from of.found.remarks
    if of.judge is not None:
        yield from map(_sentence, remarks_on_judge(of.judge))
    if not gate.open:
        yield (
            f"The compute gate is closed: on {gate.items} items no strategy was worth more than "
            "one sample, its cost counted, so one sample is all that "
            + ("it spends itself." if q.targets else "is spent.")
        )
    if items < SMALL_SAMPLE:
        yield f"A small sample: {items} held-out items, so all intervals are wide."
    if kind_of(q.tier.model) == RECORDED:
        yield "Tuned on recorded answers: the prompts' exact bytes are not known."
    if q.tier.price.simulated:
        yield (
            "Dollars and seconds are simulated: computed from parameter and token counts, "
            "not billed."
        )
    yield from map(_sentence, of.remarks)


def _sentence(remark: str) -> str:
    return f"{remark[:1].upper()}{remark[1:]}."


def _with_used_turns(
    prompts: Mapping[str, PromptTemplate], policy: Policy
) -> dict[str, PromptTemplate]:
    """`prompts` with the turns that the policy may ask for, and no others."""
    used: set[str] = set()
    for recipe in policy.buckets:
        for path in paths_of(build(recipe.strategy)):
            used |= turns_used(path)
    return {
        name: replace(prompt, turns={t: s for t, s in prompt.turns.items() if t in used})
        for name, prompt in prompts.items()
    }


def _asks_for(policy: Policy, turn: str) -> bool:
    """Whether some bucket may ask for a ``turn``."""
    return any(asks(build(recipe.strategy), turn) for recipe in policy.buckets)


def _limits_of(policy: Policy, table: SampleTable) -> Limits:
    """Limits that a request reaches only when something is wrong, so that they change no answer."""
    n_samples = samples_needed([policy])
    # A variant that stands in where another abstains may have been asked on no test item.
    sampled = [table.everything[variant] for variant in n_samples if variant in table.everything]
    slowest = max((rows.slowest_s for rows in sampled), default=0.0)
    probe = policy.difficulty.probe
    most = max(sum(samples_needed([Policy((recipe,))]).values()) for recipe in policy.buckets)
    most += probe.samples if probe else 0
    timeout_s = max(LEAST_TIMEOUT_S, TIMEOUT_FACTOR * slowest * most)
    return Limits(max_samples=most, timeout_s=float(math.ceil(timeout_s / 30) * 30))


def tier_summary(of: TierOutcome, gate_mode: GateMode) -> TierSummary:
    """One tier of `summary.json`."""
    found, billed = of.found, of.billed
    q = found.problem
    points = {
        point: tier_rows.operating_point(found, point, passed=of.gates.get(point))
        for point in found.points
    }
    return TierSummary(
        model=q.tier.model,
        spending=UsageTotals.of(billed.confirmed),
        possibly_billed=UsageTotals.of(billed.possibly) if billed.possibly.calls else None,
        operating_point=found.chosen,
        gate=points[found.chosen].gate,
        compute_gate=tier_rows.compute_gate(found.compute_gate),
        items=ItemCounts(validation=found.study_table.n_items, test=found.held_out.table.n_items),
        baseline=tier_rows.measured_baseline(found),
        operating_points=points,
        ablation=tier_rows.ablation(found),
        oracle_bound=tier_rows.oracle_bound_row(found),
        front=tuple(
            FrontPoint(
                policy=str(j.policy),
                trial=j.trial,
                score=j.score,
                usd_per_item=j.usd,
                failed=found.study_table.failed_items(j.policy.variants),
            )
            for j in found.study_rounds[-1].front()
        ),
        signals=signals.signal_table(
            own_variants(found.study_table),
            found.study_rounds[-1].dimensions.alone,
            Permutations(SIGNAL_PERMUTATIONS, q.seed),
        ),
        fitted_signals=tuple(fit.summary for fit in found.routers),
        techniques=tuple(techniques(found.prompt_table, q.variants.baseline, q.families)),
        prompt_sensitivity=tuple(sensitivities(found.prompt_table, q.families)),
        escalation=tier_rows.escalation(found),
        ranks=prompt_ranks(found),
        rounds=found.rounds,
        screened=tuple(
            ScreenedVariant(variant.label, score, usd, found.prompt_table.failed_items([variant]))
            for variant, score, usd in found.screened
        ),
        studies=tuple(study_round.name for study_round in found.study_rounds),
        headroom=found.headroom,
        end=found.end,
        remarks=(*found.remarks, *of.remarks),
        judge=of.judge,
        gate_mode=gate_mode,
        metric_parts=_metric_parts(found),
    )


def _metric_parts(found: TierResult) -> dict[str, MetricPartSummary]:
    """The parts of a weighted metric, as serving would have answered the test items."""
    parts, table = parts_of(found.problem.task.score), found.held_out.table
    chosen = found.points[found.chosen].policy
    before, after = (replay_parts(policy, table) for policy in (found.baseline, chosen))
    rows = zip(parts, before, after, strict=True) if before and after else ()
    return {part.name: MetricPartSummary(part.weight, a, b) for part, a, b in rows}


def _items_jsonl(items: Sequence[Item]) -> str:
    """Items as a task's file has them: what a report shows beside the samples, gold answers too."""
    rows = ({"id": i.id, "inputs": dict(i.inputs), "target": i.target} for i in items)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TRIAL_FIELDS = tuple(field.name for field in fields(TrialRow))


def trials_csv(study_rounds: Sequence[StudyRound]) -> str:
    """Every distinct policy that was evaluated, a line each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRIAL_FIELDS)
    for study_round in study_rounds:
        for trial in study_round.judged.values():
            row = TrialRow(
                study=study_round.name,
                trial=trial.trial,
                score=round(trial.score, 6),
                usd_per_item=trial.usd,
                samples_per_item=round(trial.samples, 4),
                rounds_per_item=round(trial.rounds, 4),
                buckets=len(trial.policy.buckets),
                signal=trial.policy.difficulty.signal,
                policy=str(trial.policy),
                **vars(study_round.evaluator.table.failed_items(trial.policy.variants)),
            )
            writer.writerow(vars(row).values())
    return out.getvalue()


# --- reading -----------------------------------------------------------------------------------

DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, TierwiseError),
)
"""What numpy, zipfile, yaml and csv make of a file that is cut off, damaged or not ours."""


@dataclass(frozen=True)
class RunFiles:
    """A run directory as far as it can be read: `missing` says in sentences what cannot.

    Attributes:
        plan: what was planned before the first purchase, by tier; empty without a `plan.json`.
        summary: None where the run did not finish, or the file cannot be read.
    """

    run: RunDir
    job: Job | None
    plan: Mapping[str, PlannedTier]
    summary: Summary | None
    tiers: Mapping[str, TierFiles]
    failed: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def seed(self) -> int:
        """The job's seed."""
        return self.summary.seed if self.summary else 0

    @property
    def task(self) -> str:
        """The task's name."""
        if self.summary:
            return self.summary.task.name
        return Path(self.job.task).name if self.job else "unknown"


def read_run(path: Path) -> RunFiles:
    """Read what there is in `path`.

    Raises:
        InputError: it is no run directory at all.
    """
    run = RunDir.open(path)
    missing: list[str] = []

    def attempt(name: str, reading: Callable[[Path], T]) -> T | None:
        file = path / name
        if not file.exists():
            missing.append(f"{name} is not there.")
            return None
        try:
            return reading(file)
        except InputError as error:
            missing.append(f"{name}: {error.message}.")
        except DAMAGED as error:
            missing.append(f"{name} cannot be read ({type(error).__name__}).")
        return None

    job = attempt("job.yaml", lambda file: run.job())
    plan = (
        attempt(run.plan.name, lambda file: from_json(file, RunPlan)) if run.plan.exists() else None
    )
    planned = plan.tiers if plan else {}
    if not run.finished:
        missing.append(
            "The run did not finish, so there are no results yet: its `tierwise tune` command goes "
            "on where it stopped."
        )
        return RunFiles(run, job, planned, None, {}, {}, tuple(missing))
    summary = attempt("summary.json", lambda file: from_json(file, Summary))
    trials = attempt("trials.csv", _read_trials) or {}
    tiers = {
        name: TierFiles(
            name,
            place,
            of_tier,
            attempt(f"policies/{name}.yaml", PolicyFile.load),
            attempt(f"tables.{name}.prompts.npz", _read_table),
            attempt(f"tables.{name}.npz", _read_table),
            *(
                (
                    attempt(f"tables.{name}.test.npz", _read_table),
                    attempt(f"tested.{name}.npz", JudgedPolicies.load),
                )
                if of_tier.items.test
                else (None, None)
            ),
            attempt(f"validated.{name}.npz", JudgedPolicies.load),
            trials.get(of_tier.studies[-1], ()),
        )
        for place, (name, of_tier) in enumerate(summary.tiers.items() if summary else ())
    }
    failed = summary.failed if summary else {}
    return RunFiles(run, job, planned, summary, tiers, failed, tuple(missing))


def _read_table(path: Path) -> SampleTable:
    if not zipfile.is_zipfile(path):  # numpy leaves a file open that it cannot read
        raise zipfile.BadZipFile(path.name)
    return SampleTable.load(path)


def _read_trials(path: Path) -> dict[str, tuple[TrialRow, ...]]:
    """Study -> its trials."""
    by_study: dict[str, list[TrialRow]] = {}
    adapter = TypeAdapter(TrialRow)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if set(rows.fieldnames or ()) != set(TRIAL_FIELDS):
            raise InputError("is no table of trials", path=path)
        for row in rows:
            trial = adapter.validate_strings(row)
            by_study.setdefault(trial.study, []).append(trial)
    return {study: tuple(found) for study, found in by_study.items()}


@dataclass(frozen=True)
class StageUsage:
    """What a run spent on a tier in a stage, and what was planned; None where the plan has no such.

    A stage that was planned and not bought has zeros.
    """

    tier: str
    stage: str
    spent: UsageTotals
    planned: UsageTotals | None
    worst: UsageTotals | None


def stage_usage(run: RunFiles) -> list[StageUsage]:
    """A row a tier and stage, from the pool, which has them before a run has finished."""
    bought = {(p.tier, p.stage): UsageTotals.of(p.usage) for p in _purchases(run)}
    planned = {
        (tier, stage): amounts
        for tier, plan in run.plan.items()
        for stage, amounts in plan.stages.items()
    }
    tiers = list(dict.fromkeys([*run.plan, *(tier for tier, _ in bought)]))
    order = {stage: i for i, stage in enumerate(dict.fromkeys(stage for _, stage in planned))}
    bought_at = {key: i for i, key in enumerate(bought)}
    keys = sorted(
        {**bought, **planned},
        key=lambda key: (
            tiers.index(key[0]),
            bought_at.get(key, len(bought_at)),
            order.get(key[1], 0),
        ),
    )
    rows = []
    for key in keys:
        usage, plan = bought.get(key, UsageTotals(0.0, 0, 0)), planned.get(key)
        amounts = (plan.expected, plan.worst) if plan else (None, None)
        rows.append(StageUsage(*key, usage, *amounts))
    return rows


def _purchases(run: RunFiles) -> list[Purchase]:
    """None where there is no pool, or one that cannot be read."""
    if not run.run.pool.is_file():
        return []
    try:
        with SamplePool.open(run.run.pool, read_only=True) as pool:
            return pool.purchases(run.run.run)
    except InputError:
        return []
