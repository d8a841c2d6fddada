"""``tierwise verify POLICY``: fresh samples until it is decided whether the policy still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tierwise.cli._job import retriever_option

if TYPE_CHECKING:
    from tierwise.runs.verify import Verified

DROPPED, NOT_DECIDED = 1, 3


@click.command("verify")
@click.argument("policy", type=click.Path(dir_okay=False))
@retriever_option
@click.option("--task", help="The task, by name or path; left out: the one the policy names.")
@click.option("--items", type=int, default=5000, show_default=True, help="Requests, at most.")
@click.option("--budget-usd", type=float, help="Dollars, at most; paid models need it.")
@click.option(
    "--margin",
    type=float,
    default=0.05,
    show_default=True,
    help="A score that is lower by more than this has dropped.",
)
@click.option(
    "--error-rate",
    type=float,
    default=0.05,
    show_default=True,
    help="Probability of each wrong verdict, at most.",
)
@click.option("--seed", type=int, help="Seed of the fresh samples; left out: a new one each time.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def command(
    policy: str,
    task: str | None,
    items: int,
    budget_usd: float | None,
    margin: float,
    error_rate: float,
    seed: int | None,
    as_json: bool,
) -> None:
    """Re-score POLICY with fresh samples on its task's test items: does it still hold?

    Exits with 0 where it holds, 1 where its score has dropped by more than the margin, and 3 where
    items or budget ended before that was decided.
    """
    import secrets

    from tierwise.errors import InputError
    from tierwise.llm.models import kind_of
    from tierwise.runs import load_task
    from tierwise.runs.verify import Terms, changes, verify
    from tierwise.schema.policy_file import PolicyFile
    from tierwise.serving import PolicyRuntime

    file = PolicyFile.load(policy)
    loaded = load_task(task or file.task.name).task
    if budget_usd is None and kind_of(file.tier.model) == "litellm":
        raise InputError("calls to this model cost money: give --budget-usd")
    terms = Terms(
        margin, error_rate, items, budget_usd, secrets.randbelow(2**31) if seed is None else seed
    )
    since = changes(file, loaded)
    if not as_json:
        for sentence in since:
            click.echo(f"changed: {sentence}", err=True)
    with PolicyRuntime(file, seed=terms.seed) as runtime:
        found = verify(runtime, loaded, terms, lambda *told: _progress(as_json, *told))
    said = as_data(found, since, terms.seed)
    if as_json:
        import json

        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        _show(found, terms.seed, policy)
    raise SystemExit({"holds": 0, "dropped": DROPPED}.get(found.verdict, NOT_DECIDED))


def as_data(found: Verified, since: list[str], seed: int) -> dict[str, Any]:
    """The verdict as plain data."""
    return {
        "verdict": found.verdict,
        "score": found.score.mean,
        "score_interval": [found.score.low, found.score.high],
        "expected": found.expected,
        "bar": found.bar,
        "items": found.items,
        "failed": found.failed,
        "usd": found.usd,
        "ended": found.ended,
        "seed": seed,
        "changed": since,
        "shifts": [
            {
                "bucket": s.bucket,
                "measure": s.measure,
                "expected": s.expected,
                "now": s.now.mean,
                "interval": [s.now.low, s.now.high],
                "moved": s.moved,
            }
            for s in found.shifts
        ],
    }


def _progress(quiet: bool, items: int, score: float, usd: float) -> None:
    import sys

    if not quiet and sys.stderr.isatty():
        click.echo(f"\r{items} requests, score {score:.3f}, ${usd:.3g}   ", nl=False, err=True)


def _show(found: Verified, seed: int, policy: str) -> None:
    import sys

    if sys.stderr.isatty():
        click.echo("", err=True)
    colour = {"holds": "green", "dropped": "red"}.get(found.verdict, "yellow")
    said = {"holds": "holds", "dropped": "has dropped"}.get(found.verdict, "not decided")
    s = found.score
    click.echo(
        f"{click.style(said, fg=colour, bold=True)}: {s.mean:.3f} [{s.low:.3f}, {s.high:.3f}] on "
        f"{found.items:,} fresh requests; it was tuned to {found.expected:.3f}, and has dropped "
        f"below {found.bar:.3f}"
    )
    if found.verdict == "not decided":
        what = "the budget" if found.ended == "usd" else "--items"
        click.echo(f"{what} ended first: give more, or a wider --margin")
    for shift in found.moved:
        click.echo(
            f"moved: {shift.measure} of {shift.bucket}, from {shift.expected:.3g} to "
            f"{shift.now.mean:.3g} [{shift.now.low:.3g}, {shift.now.high:.3g}]"
        )
    if found.failed:
        click.echo(f"{found.failed} requests failed and are not among the scores")
    click.echo(f"${found.usd:.3g} at the policy's prices; seed {seed}; {policy}", err=True)
