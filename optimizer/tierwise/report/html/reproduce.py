"""How to get the same files again, and how to look further."""

from __future__ import annotations

from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.page import behind, definition
from tierwise.report.reading import RunFiles


def reproduce(run: RunFiles) -> Markup:
    """Commands, hashes and the job."""
    task = run.summary.task if run.summary else None
    files = [tier.policy for tier in run.tiers.values() if tier.policy is not None]
    facts: dict[str, str] = {
        "task": f"{run.task}, version {task.version if task else '?'}",
        "items, SHA-256": task.items_sha256 if task else "not known",
        "seed": str(run.seed),
        "begun": run.run.created,
    }
    for file in files:
        facts[f"samples of {file.tier.name}, SHA-256"] = str(
            file.provenance.get("pool_sha256", "?")
        )
    if files:
        facts["tierwise"] = str(files[0].provenance.get("tierwise", "?"))
        facts["prices as of"] = ", ".join(
            sorted({str(file.provenance.get("prices_as_of") or "not dated") for file in files})
        )
    commands = (
        "tierwise replay RUN_DIR            # the same policies, byte for byte: no call\n"
        "tierwise tune RUN_DIR/job.yaml     # the same job anew, into a folder of its own\n"
        "tierwise compare RUN_DIR           # tiers side by side in the terminal\n"
        "tierwise verify RUN_DIR/policies/TIER.yaml   # fresh samples: does it still hold?\n"
        "optuna-dashboard RUN_DIR/study.journal       # the studies, trial by trial"
    )
    job = run.run.path / "job.yaml"
    text = job.read_text(encoding="utf-8", errors="replace") if job.is_file() else None
    return joined(
        [
            el("pre", commands),
            definition(facts),
            behind("The job as resolved", el("pre", text)) if text else None,
        ]
    )
