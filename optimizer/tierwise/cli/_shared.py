"""What commands share: types of arguments, options, a job with its overrides, consoles, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tierwise.schema import Job

RUNS = Path("runs")
FOLDER_PATH = click.Path(file_okay=False, path_type=Path)
FILE_PATH = click.Path(dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)
"""Types of arguments: a folder, a file, either."""

_F = TypeVar("_F", bound=Callable[..., Any])


def _tiers(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
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


def _retriever(value: str) -> None:
    from tierwise.retrieval import bind

    bind(value)


def _normaliser(value: str) -> None:
    from tierwise.tasks.user_code import bind_normaliser

    bind_normaliser(Path(value).name, Path(value.rpartition(":")[0]).parent)


def _run_code(value: bool) -> None:
    from tierwise.tasks.code_tests import ALLOWED

    if value:
        os.environ[ALLOWED] = "1"


def _setting(name: str, apply: Callable[[Any], None], **more: Any) -> Callable[[_F], _F]:
    """An option of this process: ``apply`` is called with each value, and the command has none."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        for each in value if param.multiple else (value,):
            apply(each)

    return click.option(name, callback=callback, expose_value=False, **more)


retriever_option = _setting(
    "--retriever",
    _retriever,
    multiple=True,
    metavar="NAME=TARGET",
    help="What a retriever's name stands for here: a corpus (JSONL) or an address.",
)
normaliser_option = _setting(
    "--normaliser",
    _normaliser,
    multiple=True,
    metavar="FILE.py:FUNCTION",
    help="The function that reads a policy's answers, where its task has one. It is run.",
)
run_code_option = _setting(
    "--run-code",
    _run_code,
    is_flag=True,
    help="Allow code that models wrote to be run, in bounded processes.",
)

_OPTIONS = (
    click.argument("job", required=False, type=click.Path(dir_okay=False), metavar="[JOB.yaml]"),
    click.option("--task", help="A task in tasks/, or a path."),
    click.option("--space", help="A search space in search_spaces/, or a path."),
    click.option(
        "--tier",
        "tiers",
        multiple=True,
        callback=_tiers,
        metavar="NAME=MODEL",
        help="A tier, such as mini=openai/gpt-4o-mini; repeat for more.",
    ),
    retriever_option,
    run_code_option,
    click.option(
        "--escalate-to",
        multiple=True,
        metavar="TIER",
        help="A tier that those before it may escalate requests to; repeat for more.",
    ),
    click.option(
        "--baseline", help="The baseline: the prompt in use today (an id of the task's prompts)."
    ),
    click.option("--proposer", help="A model that writes instructions for the task."),
    click.option("--budget-usd", type=float, help="Dollars, over all tiers."),
    click.option("--max-calls", type=int, help="Calls, over all tiers."),
    click.option("--trials", type=int, help="Policies to judge on each tier."),
    click.option("--seconds", type=float, help="Buy nothing more after this time."),
    click.option(
        "--max-outage-s",
        type=float,
        help="Wait so long for a provider that answers nobody (600); 0: give up at once.",
    ),
    click.option("--seed", type=int),
    click.option(
        "--operating-point", type=click.Choice(["economy", "balanced", "quality", "level"])
    ),
    click.option(
        "--gate",
        type=click.Choice(["require", "advise"]),
        help="Where nothing is proven, export the baseline (default) or the policy all the same.",
    ),
    click.option("--max-usd-per-item", type=float, help="The best score at this cost at most."),
    click.option("--min-score", type=float, help="The cheapest that likely scores this."),
    click.option("--usd-per-point", type=float, help="What one point (.01) of score is worth."),
)


def job_options(command: _F) -> _F:
    """Give a command the argument JOB and every option that overrides a job."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_options(command: _F) -> _F:
    """Give a command the folder of a run, and whether to go on with what is in it."""
    command = click.option(
        "--resume/--fresh",
        "resume",
        default=True,
        help="Go on with the run in that folder (default), or begin anew beside it.",
    )(command)
    return click.option("--out", type=FOLDER_PATH, help="Folder of the run; left out: runs/TASK.")(
        command
    )


def run_folder(out: Path | None, job: Job) -> Path:
    """Where the job's run is, or is to be."""
    return out or RUNS / Path(job.task).name


def asked(job: str | None, tiers: dict[str, str], options: dict[str, Any]) -> Job:
    """The job that the command line asks for.

    Raises:
        InputError: the file or an option is wrong.
    """
    from tierwise.schema import default_job, load_job, override

    options["escalate_to"] = options.get("escalate_to") or None
    return override(load_job(job) if job else default_job(), tiers=tiers or None, **options)


# --- on a terminal and in a log ------------------------------------------------------------------


def console(*, err: bool = False, log_width: int = 100) -> Console:
    """A console as wide as the terminal, or ``log_width`` where there is none."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    unknown = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=err, highlight=False, width=log_width if unknown else None)


def plain_table(*headings: str, no_wrap: bool = False) -> Table:
    """A table without borders; a heading that ends in ``>`` is over numbers, set to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in headings:
        name, right = Text(heading.removesuffix(">")), heading.endswith(">")
        table.add_column(name, justify="right" if right else "left", no_wrap=no_wrap)
    return table
