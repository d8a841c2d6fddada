"""``tierwise run POLICY``: answer one request the way the policy says, and show what it took."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from tierwise.cli._shared import normaliser_option, plain_table, retriever_option, run_code_option
from tierwise.errors import InputError, printable

if TYPE_CHECKING:
    from tierwise.serving import Answer, PolicyRuntime


@click.command("run")
@click.argument("policy", type=click.Path(dir_okay=False))
@retriever_option
@normaliser_option
@run_code_option
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]TEXT",
    help="An input; NAME= where the policy has several. Left out: read from stdin.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the samples.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer and its trace as JSON.")
@click.option("--quiet", is_flag=True, help="Print the answer's text alone.")
def command(policy: str, inputs: tuple[str, ...], seed: int, as_json: bool, quiet: bool) -> None:
    """Answer one request the way POLICY says, with a trace of what it did and cost.

    Exits with 4 where the provider gave no answer.
    """
    from tierwise.serving import PolicyRuntime

    with PolicyRuntime.load(policy, seed=seed) as runtime:
        given = _named(inputs or (sys.stdin.read(),), runtime)
        answer = runtime.answer_sync(given)
        if as_json:
            _echo(json.dumps(answer.as_dict(), ensure_ascii=False, indent=2))
        elif quiet:
            _echo(answer.text)
        else:
            _show(answer, runtime)
    if answer.failed:
        if answer.error:
            click.echo(printable(f"no answer: {answer.error}"), err=True)
        raise SystemExit(4)


def _named(inputs: tuple[str, ...], runtime: PolicyRuntime) -> dict[str, str]:
    """The inputs by name; a text without one fills the policy's only input."""
    wanted = runtime.file.inputs
    given: dict[str, str] = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not (equals and name in wanted):
            if len(wanted) != 1:
                names = ", ".join(f"{name}=…" for name in wanted)
                raise InputError(f"the policy takes several inputs: --input {names}")
            name, value = wanted[0], text.removesuffix("\n")
        if name in given:
            raise InputError(f"input {name!r} is given twice")
        given[name] = value
    return given


def _echo(text: str) -> None:
    """Print a model's text as it is; to a terminal, control characters as escapes."""
    if sys.stdout.isatty():
        text = printable(text)
    click.echo(text.encode("utf-8", "replace").decode("utf-8"))


def _count(n: int, of: str) -> str:
    return f"{n} {of}" if n == 1 else f"{n} {of}s"


def _show(answer: Answer, runtime: PolicyRuntime) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(printable(answer.text) or "(no answer)"))
    table = plain_table("", "round>", "variant", "answer", "tokens>", "usd>", "s>")
    for i, sample in enumerate(answer.trace):
        said = "(none)" if sample.answer is None else sample.answer
        if sample.error:
            said = sample.error.partition(":")[0]
        table.add_row(
            "→" if i == answer.chosen else "",
            str(sample.round + 1),
            Text(printable(sample.variant, one_line=True)),
            Text(printable(said, one_line=True)),
            f"{sample.prompt_tokens + sample.completion_tokens}",
            f"{sample.usd:.3g}",
            f"{sample.latency_s:.2f}",
        )
    console.print(table)
    simulated = " (simulated)" if runtime.file.tier.price.simulated else ""
    console.print(
        f"bucket {printable(answer.bucket)} · {_count(answer.samples, 'sample')} in "
        f"{_count(answer.rounds, 'round')} · "
        f"${answer.usd:.3g}{simulated} · {answer.ended}",
        style="dim",
        highlight=False,
    )
