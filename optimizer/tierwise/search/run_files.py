"""The files of a run, once everything is found: policies, tables, studies, trials, summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tierwise.errors import TierwiseError
from tierwise.pool import Billed
from tierwise.pool.run_dir import STUDIED, RunDir
from tierwise.schema import LoadedTask
from tierwise.schema.policy_file import PolicyFile, TaskRef
from tierwise.schema.result import SUMMARY_SCHEMA, ProposerUsage, Studied, Summary
from tierwise.search.earlier import entry
from tierwise.search.export import Origin, items_jsonl, policy_file, tier_summary, trials_csv
from tierwise.search.prepared import Prepared
from tierwise.search.study import mirror
from tierwise.search.tested import Tested
from tierwise.search.tier import TierResult


@dataclass(frozen=True)
class Results:
    """What a run came to, by tier.

    Attributes:
        gates: tier -> operating point -> whether the gate was passed.
        spending: tier -> calls, tokens and dollars.
        failed: tiers that ended with an error.
        proposals: who proposed prompts, and what that cost, where the job asks for some.
    """

    found: Mapping[str, TierResult]
    gates: Mapping[str, Mapping[str, bool]]
    origins: Mapping[str, Origin]
    spending: Mapping[str, Billed]
    failed: Mapping[str, TierwiseError]
    proposals: ProposerUsage | None = None


class RunOutcome(NamedTuple):
    """The exported policy of each tier, and ``summary.json``."""

    policies: Mapping[str, PolicyFile]
    summary: Summary


def write(run: RunDir, prepared: Prepared, results: Results) -> RunOutcome:
    """Write all files of the run; the summary, which says that it is finished, comes last."""
    run.clear_results()
    policies = _write_policies(run, prepared.loaded, results)
    for name, found in results.found.items():
        found.study_table.save(run.path / f"tables.{name}.npz")
        found.prompt_table.save(run.path / f"tables.{name}.prompts.npz")
        found.test_table.save(run.path / f"tables.{name}.test.npz")
        Tested.of(found).save(run.path / f"tested.{name}.npz")
    study_rounds = [g for found in results.found.values() for g in found.study_rounds]
    mirror(study_rounds, run.journal)
    studied = {
        name: entry(
            f.problem.before,
            f.problem.before.study_rounds + len(f.study_rounds),
            [judged.proposal for judged in f.study_rounds[-1].front()],
        )
        for name, f in results.found.items()
    }
    run.write_json(STUDIED, Studied({**run.studied.tiers, **studied}))
    run.write("trials.csv", trials_csv(study_rounds))
    run.write("test_items.jsonl", items_jsonl(prepared.loaded.task.splits["test"]))
    summary = _summary(run, prepared, results)
    run.write_json("summary.json", summary)
    return RunOutcome(policies, summary)


def _write_policies(run: RunDir, loaded: LoadedTask, results: Results) -> dict[str, PolicyFile]:
    """The chosen point's file of each tier, and those of other points that passed the gate."""
    policies = {}
    for name, found in results.found.items():
        for point in found.points:
            gate = results.gates[name][point]
            file = policy_file(found, point, gate, loaded, results.origins[name])
            if point == found.chosen:
                file.save(run.policies / f"{name}.yaml")
                policies[name] = file
            elif gate:
                file.save(run.path / "operating_points" / f"{name}.{point}.yaml")
    return policies


def _summary(run: RunDir, prepared: Prepared, results: Results) -> Summary:
    task = prepared.loaded.task
    return Summary(
        schema=SUMMARY_SCHEMA,
        task=TaskRef(task.name, task.version, task.metric, task.items_sha256),
        space=prepared.space.name,
        created=run.created,
        seed=prepared.job.seed,
        proposals=results.proposals,
        tiers={
            name: tier_summary(found, results.gates[name], results.spending[name])
            for name, found in results.found.items()
        },
        failed={name: str(error) for name, error in results.failed.items()},
    )
