"""``tierwise verify POLICY``: fresh samples until it is decided whether the policy still holds."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import retriever_option, run_code_option
from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.runs.verify import Verified

DROPPED, NOT_DECIDED = 1, 3


@click.command("verify")
@click.argument("policy", type=click.Path(dir_okay=False))
@retriever_option
@run_code_option
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
    from tierwise.llm.models import kind_of
    from tierwise.runs import load_task
    from tierwise.runs.verify import Terms, changes, opened_judging, verify
    from tierwise.schema.policy_file import PolicyFile
    from tierwise.schema.result import to_json
    from tierwise.serving import PolicyRuntime

    file = PolicyFile.load(policy)
    found_task = load_task(task or file.task.name)
    loaded = found_task.task
    if budget_usd is None and kind_of(file.tier.model) == "litellm":
        raise InputError("calls to this model cost money: give --budget-usd")
    terms = Terms(
        margin, error_rate, items, budget_usd, secrets.randbelow(2**31) if seed is None else seed
    )
    if not as_json:
        for sentence in changes(file, loaded):
            click.echo(f"changed: {sentence}", err=True)
    with ExitStack() as stack:
        judging = None
        if found_task.judge is not None:
            judging = stack.enter_context(opened_judging(found_task.judge, terms.seed))
        runtime = stack.enter_context(PolicyRuntime(file, seed=terms.seed))
        found = verify(runtime, loaded, terms, lambda *told: _progress(as_json, *told), judging)
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        _show(found, policy)
    raise SystemExit({"holds": 0, "dropped": DROPPED}.get(found.verdict, NOT_DECIDED))


def _progress(quiet: bool, items: int, score: float, usd: float) -> None:
    if not quiet and sys.stderr.isatty():
        click.echo(f"\r{items} requests, score {score:.3f}, ${usd:.3g}   ", nl=False, err=True)


def _show(found: Verified, policy: str) -> None:
    from tierwise.report.text import estimate, interval

    if sys.stderr.isatty():
        click.echo("", err=True)
    colour = {"holds": "green", "dropped": "red"}.get(found.verdict, "yellow")
    said = {"holds": "holds", "dropped": "has dropped"}.get(found.verdict, "not decided")
    score = estimate(found.score, found.score_interval)
    click.echo(
        f"{click.style(said, fg=colour, bold=True)}: {interval(score)} on "
        f"{found.items:,} fresh requests; it was tuned to {found.expected:.3f}, and has dropped "
        f"below {found.bar:.3f}"
    )
    if found.verdict == "not decided":
        what = "the budget" if found.ended == "usd" else "--items"
        click.echo(f"{what} ended first: give more, or a wider --margin")
    for shift in found.moved:
        now, *ends = ("?" if v is None else f"{v:.3g}" for v in (shift.now, *shift.interval))
        click.echo(
            f"moved: {shift.measure} of {shift.bucket}, from {shift.expected:.3g} to "
            f"{now} [{', '.join(ends)}]"
        )
    if found.failed:
        click.echo(f"{found.failed} requests failed and are not among the scores")
    click.echo(f"${found.usd:.3g} at the policy's prices; seed {found.seed}; {policy}", err=True)
