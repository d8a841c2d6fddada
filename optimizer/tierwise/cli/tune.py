"""``tierwise tune``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

RUNS = Path("runs")


def _tier(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    tiers: dict[str, str] = {}
    for value in values:
        name, equals, model = value.partition("=")
        if not (equals and name and model):
            raise click.BadParameter(
                f"{value!r} is not NAME=MODEL, such as mini=openai/gpt-4o-mini"
            )
        if name in tiers:
            raise click.BadParameter(f"tier {name!r} is given twice")
        tiers[name] = model
    return tiers


@click.command("tune")
@click.argument("job", required=False, type=click.Path(dir_okay=False), metavar="[JOB.yaml]")
@click.option("--task", help="A task in tasks/, or a path.")
@click.option("--space", help="A search space in search_spaces/, or a path.")
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    callback=_tier,
    metavar="NAME=MODEL",
    help="A tier, such as mini=openai/gpt-4o-mini; repeat for more.",
)
@click.option("--baseline", help="The prompt in use today (an id of the task's prompts).")
@click.option("--budget-usd", type=float, help="Dollars, over all tiers.")
@click.option("--max-calls", type=int, help="Calls, over all tiers.")
@click.option("--trials", type=int, help="Policies to judge on each tier.")
@click.option("--seconds", type=float, help="Buy nothing more after this time.")
@click.option("--seed", type=int)
@click.option("--operating-point", type=click.Choice(["economy", "balanced", "quality"]))
@click.option("--max-usd-per-item", type=float, help="The best score at most this dear.")
@click.option("--min-score", type=float, help="The cheapest that scores at least this.")
@click.option("--usd-per-point", type=float, help="What one point (.01) of score is worth.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; left out: runs/TASK.",
)
@click.option(
    "--resume/--fresh",
    "resume",
    default=True,
    help="Go on with the run in that folder (default), or begin anew beside it.",
)
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@click.option("--quiet", is_flag=True, help="Print only where the files are.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--log-json", is_flag=True, help="Print progress as JSON lines on stderr.")
def command(
    job: str | None, out: Path | None, resume: bool, yes: bool, quiet: bool, as_json: bool,
    log_json: bool, tiers: dict[str, str], **options: Any,
) -> None:  # fmt: skip
    """Tune prompt and inference strategy for each tier of JOB, and write a policy file for each.

    Without JOB: the embedded tiers on the task "arithmetic", which needs no key and no network. The
    same command goes on with a run that was interrupted; nothing is bought twice.
    """
    from tierwise.cli._progress import listening
    from tierwise.cli._results import show
    from tierwise.content import default_job, load_job, override
    from tierwise.search import tune

    asked = override(load_job(job) if job else default_job(), tiers=tiers or None, **options)
    folder = out or RUNS / Path(asked.task).name
    quiet = quiet or as_json
    try:
        with listening(tuple(asked.tiers), quiet=quiet, log_json=log_json) as listener:
            result = tune(asked, folder, listener=listener, fresh=not resume)
    except KeyboardInterrupt:
        click.echo(
            "interrupted; what was bought is kept: the same command goes on where this stopped",
            err=True,
        )
        raise
    show(result, quiet=quiet, as_json=as_json)
