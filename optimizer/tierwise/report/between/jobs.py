"""What of two jobs differs."""

from __future__ import annotations

from typing import Any

from tierwise.report._base import Row, Section
from tierwise.report.between._two import Two
from tierwise.report.reading import RunFiles


def job_rows(two: Two) -> list[Row]:
    """A row for each thing that differs: of the job, the task, the tiers, the exact prompts."""
    old, new = (_facts(run) for run in two)
    return [
        {
            "run": two.name,
            "what": what,
            "before": _said(old.get(what)),
            "after": _said(new.get(what)),
        }
        for what in dict.fromkeys([*old, *new])
        if old.get(what) != new.get(what)
    ]


def _facts(run: RunFiles) -> dict[str, Any]:
    facts: dict[str, Any] = {"task": run.task}
    if run.summary is not None:
        facts |= {
            "task version": run.summary.task.version,
            "items (SHA-256)": run.summary.task.items_sha256[:12] or None,
            "space": run.summary.space,
            "seed": run.summary.seed,
        }
    if run.job is not None:
        budget = run.job.budget
        facts |= {
            "trials": run.job.trials,
            "operating point": run.job.operating_point,
            "gate margin": run.job.gate_margin,
            "baseline": run.job.baseline,
            "budget": f"usd {budget.usd}, calls {budget.calls}, tokens {budget.tokens}",
        }
    for name, tier in run.tiers.items():
        facts[f"model of {name}"] = tier.summary.model
        if tier.policy is None:
            continue
        weights = tier.policy.provenance.get("weights_sha256") or {}
        facts |= {f"weights of {model}": str(sha)[:12] for model, sha in weights.items()}
        price = tier.policy.tier.price
        facts[f"price of {name}"] = (
            f"${price.prompt_usd_per_mtok:g} in, ${price.completion_usd_per_mtok:g} out"
        )
        facts["tierwise"] = tier.policy.provenance.get("tierwise")
        facts[f"samples of {name} (SHA-256)"] = str(tier.policy.provenance.get("pool_sha256"))[:12]
    return facts


def _said(value: Any) -> str:
    return "–" if value is None else str(value)


def _cells(row: Row) -> tuple[str, ...]:
    return row["run"], row["what"], row["before"], row["after"]


SECTION = Section("what of the jobs differs", job_rows, ("run", "what", "before", "after"), _cells)
