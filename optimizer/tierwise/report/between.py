"""The tables of `tierwise compare RUN RUN…`: what changed from the first run to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tierwise.analysis.changes import (
    MOST_NAMED,
    Change,
    PolicyChange,
    PromptChange,
    policy_changes,
    prompt_changes,
)
from tierwise.analysis.tier_files import NotShown, TierFiles
from tierwise.errors import UnsupportedError, unknown_name
from tierwise.report import text as n
from tierwise.report.compare import SECTIONS, Table, TableSection
from tierwise.runs.artifacts import RunFiles

R = TypeVar("R")


class TwoRuns(NamedTuple):
    """The run that others are compared with, and one of the others."""

    before: RunFiles
    after: RunFiles

    @property
    def name(self) -> str:
        """Of the later run, in tables."""
        return self.after.run.path.name

    def by_tier(
        self, rows: Callable[[TierFiles, TierFiles], Iterable[R | NotShown]]
    ) -> list[R | NotShown]:
        """Rows of every tier that both have; a note for one that only one has."""
        found: list[R | NotShown] = []
        for name in dict.fromkeys([*self.before.tiers, *self.after.tiers]):
            old, new = self.before.tiers.get(name), self.after.tiers.get(name)
            if old is None or new is None:
                where = self.before if new is None else self.after
                found.append(NotShown({"tier": name}, f"only in {where.run.path}"))
                continue
            try:
                found += rows(old, new)
            except UnsupportedError as error:
                found.append(NotShown({"tier": name}, f"not shown: {error}"))
        return found


@dataclass(frozen=True)
class JobChange:
    """Something of the job, the task, a tier or the weights that differs."""

    what: str
    before: str
    after: str


def job_changes(two: TwoRuns) -> list[JobChange]:
    """A row for each thing that differs, in the order in which the runs name it."""
    old, new = (_facts(run) for run in two)
    return [
        JobChange(what, old.get(what, n.NOTHING), new.get(what, n.NOTHING))
        for what in dict.fromkeys([*old, *new])
        if old.get(what) != new.get(what)
    ]


def _facts(run: RunFiles) -> dict[str, str]:
    """What tells two jobs apart, by name."""
    facts: dict[str, Any] = {"task": run.task}
    if run.summary is not None:
        facts |= {
            "task version": run.summary.task.version,
            "items (SHA-256)": run.summary.task.items_sha256[:12],
            "space": run.summary.space,
            "seed": run.summary.seed,
        }
    if run.job is not None:
        budget = run.job.budget
        facts |= {
            "trials": run.job.trials,
            "operating point": run.job.operating_point,
            "gate": run.job.gate,
            "gate margin": run.job.gate_margin,
            "baseline": run.job.baseline,
            "budget": f"usd {budget.usd}, calls {budget.calls}, tokens {budget.tokens}",
        }
    for name, tier in run.tiers.items():
        facts[f"model of {name}"] = tier.summary.model
        if tier.policy is None:
            continue
        weights = tier.policy.provenance.weights_sha256
        facts |= {f"weights of {model}": sha[:12] for model, sha in weights.items()}
        facts[f"price of {name}"] = tier.policy.tier.price
        facts["tierwise"] = tier.policy.provenance.tierwise
        facts[f"samples of {name} (SHA-256)"] = tier.policy.provenance.pool_sha256[:12]
    return {what: str(value) for what, value in facts.items() if value not in (None, "")}


def _change(row: Change) -> str:
    """The change with its interval; or that every item scored as before."""
    return "none on any item" if row.identical else n.interval(row.change, "+")


CHANGE_COLUMNS: tuple[tuple[str, Callable[[Change], str]], ...] = (
    ("before>", lambda row: n.beside(n.score(row.before_score), row.before_failed)),
    ("after>", lambda row: n.beside(n.score(row.after_score), row.after_failed)),
    ("change>", _change),
    ("at cost>", lambda row: n.ratio(row.cost_ratio.mean)),
    ("shown", lambda row: row.shown),
)
COMPARED_COLUMNS: tuple[tuple[str, Callable[[Change], str]], ...] = (
    ("items>", lambda row: f"{row.items}"),
    ("compared on", lambda row: row.how),
)

CHANGES: dict[str, TableSection[TwoRuns, Any]] = {
    "jobs": TableSection[TwoRuns, JobChange](
        "what of the jobs differs",
        job_changes,
        (
            ("what", lambda row: row.what),
            ("before", lambda row: row.before),
            ("after", lambda row: row.after),
        ),
    ),
    "policies": TableSection[TwoRuns, PolicyChange](
        "policies on the same split, after less before",
        lambda two: two.by_tier(
            lambda old, new: policy_changes(old, new, (two.before.seed, two.after.seed))
        ),
        (
            ("tier", lambda row: row.tier),
            ("what", lambda row: row.what),
            *CHANGE_COLUMNS,
            ("policy", lambda row: "same" if row.same_policy else "another"),
            *COMPARED_COLUMNS,
        ),
    ),
    "prompts": TableSection[TwoRuns, PromptChange](
        "every prompt at one sample, the largest changes first (of many, one in twenty seems to "
        "change)",
        lambda two: two.by_tier(prompt_changes),
        (
            ("tier", lambda row: row.tier),
            ("variant", lambda row: row.variant),
            *CHANGE_COLUMNS,
            *COMPARED_COLUMNS,
        ),
        lambda row: row.rank <= MOST_NAMED,
    ),
}
"""By the name of `--section`."""


def comparison_tables(runs: Sequence[RunFiles], names: Sequence[str] = ()) -> list[Table]:
    """The named sections (left out: all): of one run, or from the first run to each of the others.

    Raises:
        InputError: there is no such section; with near names.
    """
    sections: Mapping[str, TableSection[Any, Any]] = SECTIONS if len(runs) == 1 else CHANGES
    for name in names:
        if name not in sections:
            raise unknown_name("section", name, sections)
    wanted = {name: sections[name] for name in names or sections}
    if len(runs) == 1:
        return [Table(name, s, s.table(runs[0]), {}) for name, s in wanted.items()]
    pairs = [TwoRuns(runs[0], run) for run in runs[1:]]
    return [
        Table(name, s, s.table(two), {"run": two.name})
        for name, s in wanted.items()
        for two in pairs
    ]
