"""``tierwise init NAME``: a task's folder to begin with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from tierwise.cli._shared import ANY_PATH, FILE_PATH
from tierwise.errors import InputError, unknown_name

ANSWERS = ("auto", "number", "choice", "yes_no", "label", "labels", "json", "text")
TOLD = ANSWERS[0]
"""What an answer is, told by the right answers."""


@click.command("init")
@click.argument("name", required=False)
@click.option("--from", "source", default="_template", help="A shipped task, such as gsm8k.")
@click.option(
    "--items",
    type=FILE_PATH,
    help="Your items (.csv, .tsv, .jsonl, .json, .parquet, .xlsx), copied into the folder.",
)
@click.option(
    "--from-promptfoo",
    type=ANY_PATH,
    help="A promptfoo configuration: its tests, prompts and assertions.",
)
@click.option("--from-langfuse", type=ANY_PATH, help="Items that Langfuse exported.")
@click.option("--from-langsmith", type=ANY_PATH, help="Examples that LangSmith exported.")
@click.option("--from-hf", type=ANY_PATH, help="A Hugging Face data set saved to disk.")
@click.option("--input", "inputs", multiple=True, help="A column that prompts use; repeatable.")
@click.option("--target", help="The column of the right answers.")
@click.option(
    "--answer",
    type=click.Choice(ANSWERS),
    default=TOLD,
    show_default=True,
    help="What an answer is; auto: told by the right answers.",
)
@click.option("--prompt", help="The prompt in use today, with {{ column }}, or a file of it.")
def command(
    name: str | None,
    source: str,
    items: Path | None,
    inputs: tuple[str, ...],
    target: str | None,
    answer: str,
    prompt: str | None,
    **others: Path | None,
) -> None:
    """Make tasks/NAME: task.yaml, prompts.yaml, items and a README that explains them.

    The prompts say what an answer is and name the labels that the items have, so that the task can
    be tuned as it is; the first is the prompt that you use today, where --prompt gives it.
    Without a NAME, a terminal is asked for what options do not say.

    Editors that know YAML's language server complete the keys, by the schemas in tasks/.schemas.

    Without --items there is a sample, which the embedded tiers can be tuned on at once. Nothing is
    overwritten.
    """
    from tierwise.runs.scaffold import TEMPLATE, said_of_task, scaffold, scaffold_from

    if name is None:
        if not _on_a_terminal():
            raise click.UsageError("Missing argument 'NAME'.")
        wanted = _asked(_Wanted("", items, inputs, target, answer, prompt))
        name, items, inputs, target, answer, prompt = wanted
    given = {kind.removeprefix("from_"): path for kind, path in others.items() if path is not None}
    if given:
        if len(given) > 1 or items is not None or source != TEMPLATE:
            raise click.UsageError("items come from one place: give one of --items and --from-…")
        ((kind, path),) = given.items()
        made, notes = scaffold_from(name, kind, path, inputs)
        for note in notes:
            click.echo(f"note: {note}")
    else:
        made = scaffold(
            name,
            source=source,
            items=items,
            inputs=inputs,
            target=target,
            answer=None if answer == TOLD else answer,
            prompt=prompt,
        )
    for path in sorted(made.iterdir()):
        click.echo(str(path))
    if items is not None:
        from tierwise.tasks.data_files import notes_on

        if source == TEMPLATE:
            click.echo(f"note: {said_of_task(made / 'task.yaml')}")
        numbered = any(column.isdigit() for column in inputs)  # said already: there is no header
        for note in notes_on(items):
            if numbered and "first line looks like" in note:
                continue
            click.echo(f"note: {items.name}: {note}")
    click.echo(f"\nread {made / 'README.md'}, then:")
    click.echo(f"  tierwise check {made}")
    click.echo(f"  tierwise tune --task {name} --tier NAME=MODEL")


class _Wanted(NamedTuple):
    """The answers to the questions, which are the options."""

    name: str
    items: Path | None
    inputs: tuple[str, ...]
    target: str | None
    answer: str
    prompt: str | None


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()


def _asked(given: _Wanted) -> _Wanted:
    """What ``given`` does not say, asked for; an empty answer leaves it out."""
    from tierwise.runs.scaffold import told_columns
    from tierwise.schema.fields import check_name
    from tierwise.tasks.data_files import columns_of

    def checked(read: Callable[[str], Any]) -> Callable[[str], Any]:
        def value(said: str) -> Any:
            try:
                return read(said.strip())
            except InputError as error:
                raise click.UsageError(error.message) from None  # asks again

        return value

    def named(said: str) -> str:
        check_name("the task's name", said)
        return said

    def table(said: str) -> Path | None:
        return Path(said) if said and columns_of(Path(said)) else None

    def columns(said: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in said.split(",") if part.strip())
        for column in found:
            if column not in known:
                raise InputError(unknown_name("column", column, known).message)
        return found

    name = click.prompt("Name of the task", default="my-task", value_proc=checked(named))
    known: tuple[str, ...] = ()
    items, inputs, target = given.items, given.inputs, given.target
    if items is None:
        asked = "File of your items (.csv, .jsonl, .parquet, .xlsx; empty: a sample)"
        items = click.prompt(asked, default="", show_default=False, value_proc=checked(table))
    if items is not None:
        known = columns_of(items)
        told, right = told_columns(known, inputs, target, given.prompt)
        if not inputs and "inputs" not in known:
            first = told or known[:1]
            asked = f"Columns that prompts use, of {', '.join(known)}"
            inputs = click.prompt(asked, default=", ".join(first), value_proc=checked(columns))
        if target is None and "target" not in known:
            asked = "Column of the right answers"
            (target,) = click.prompt(asked, default=right, value_proc=checked(columns))
    answer = given.answer
    if items is not None and answer == TOLD:
        answer = click.prompt("What is an answer", type=click.Choice(ANSWERS), default=TOLD)
    prompt = given.prompt
    if items is not None and prompt is None:
        shown = " ".join(f"{{{{ {column} }}}}" for column in inputs)
        asked = f"Prompt in use today, with {shown} (or a file of it; empty: none)"
        prompt = click.prompt(asked, default="", show_default=False) or None
    return _Wanted(name, items, inputs, target, answer, prompt)
