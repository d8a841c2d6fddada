"""``tierwise init NAME``: a task's folder to begin with."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import yaml

from tierwise.errors import InputError, unknown_name


@click.command("init")
@click.argument("name")
@click.option("--from", "source", default="_template", help="A shipped task, such as gsm8k.")
@click.option(
    "--items",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your items (.csv, .tsv, .jsonl, .json, .parquet, .xlsx), copied into the folder.",
)
@click.option(
    "--from-promptfoo",
    type=click.Path(path_type=Path),
    help="A promptfoo configuration: its tests, prompts and assertions.",
)
@click.option(
    "--from-langfuse", type=click.Path(path_type=Path), help="Items that Langfuse exported."
)
@click.option(
    "--from-langsmith", type=click.Path(path_type=Path), help="Examples that LangSmith exported."
)
@click.option(
    "--from-hf", type=click.Path(path_type=Path), help="A Hugging Face data set saved to disk."
)
@click.option("--input", "inputs", multiple=True, help="A column that prompts use; repeatable.")
@click.option("--target", help="The column of the right answers.")
def command(
    name: str,
    source: str,
    items: Path | None,
    inputs: tuple[str, ...],
    target: str | None,
    **others: Path | None,
) -> None:
    """Make tasks/NAME: task.yaml, prompts.yaml, items and a README that explains them.

    Editors that know YAML's language server complete the keys, by the schemas in tasks/.schemas.

    Without --items there is a sample, which the embedded tiers can be tuned on at once. Nothing is
    overwritten.
    """
    given = {kind.removeprefix("from_"): path for kind, path in others.items() if path is not None}
    if given:
        if len(given) > 1 or items is not None or source != TEMPLATE:
            raise click.UsageError("items come from one place: give one of --items and --from-…")
        ((kind, path),) = given.items()
        made, notes = scaffold_from(name, kind, path, inputs=inputs)
        for note in notes:
            click.echo(f"note: {note}")
    else:
        made = scaffold(name, source=source, items=items, inputs=inputs, target=target)
    for path in sorted(made.iterdir()):
        click.echo(str(path))
    if items is not None:
        from tierwise.tasks.data_files import notes_on

        for note in notes_on(items):
            click.echo(f"note: {items.name}: {note}")
    click.echo(f"\nread {made / 'README.md'}, then:")
    click.echo(f"  tierwise check {made}")
    click.echo(f"  tierwise tune --task {name} --tier NAME=MODEL")


TEMPLATE = "_template"
SCHEMAS = ".schemas"
OWN_PROMPTS = "prompts.own.yaml"
"""The template's prompts for items of one's own; its others suit the sample."""


def scaffold(
    name: str,
    *,
    source: str = TEMPLATE,
    items: Path | None = None,
    inputs: Sequence[str] = (),
    target: str | None = None,
    folder: Path = Path("tasks"),
) -> Path:
    """Make ``folder/name`` and give back its path; ``items`` is copied into it.

    The JSON Schemas of its files go to ``folder/.schemas``, where the first line of each file
    names them: editors then complete keys and mark what is wrong, with no network.

    ``inputs`` and ``target`` are columns of ``items``; left out, ``question`` and ``target`` for
    the template, those of ``source`` otherwise.

    Raises:
        InputError: the folder exists, no such source or file, or it lacks a column.
    """
    from tierwise.schema import names_of, shipped
    from tierwise.schema.fields import check_name

    check_name("the task's name", name)
    made, origin = folder / name, shipped("tasks") / source
    if made.exists():
        raise InputError(f"{made} exists; choose another name, nothing is overwritten")
    if not (origin / "task.yaml").is_file():
        raise unknown_name("task to begin with", source, names_of("tasks"))
    if items is None and (inputs or target):
        raise InputError("--input and --target name columns of a file: give it by --items")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
            draft = Path(temporary) / name
            shutil.copytree(origin, draft)
            _named(draft, source, name)
            own = draft / OWN_PROMPTS
            if items is not None:
                _with_items(draft, items, inputs, target, template=source == TEMPLATE)
            own.unlink(missing_ok=True)
            _with_schemas(draft, folder / SCHEMAS)
            os.replace(draft, made)
    except OSError as error:
        raise InputError(f"cannot write {made}: {error.strerror}") from None
    return made


def scaffold_from(
    name: str, kind: str, path: Path, *, inputs: Sequence[str] = (), folder: Path = Path("tasks")
) -> tuple[Path, list[str]]:
    """Make ``folder/name`` of another tool's data set; its path, and notes on what was left out.

    The items become ``items.jsonl``; where the source has prompts they are the task's, the first
    being the baseline, and its assertions are the metric where they are one.

    Raises:
        InputError: as ``scaffold``, or the source holds no item with a right answer.
    """
    from tierwise.runs.import_items import TARGET as TARGET_FIELD
    from tierwise.runs.import_items import read_items

    found = read_items(kind, path)
    with tempfile.TemporaryDirectory() as temporary:
        items = Path(temporary) / "items.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)
        items.write_text("".join(lines), encoding="utf-8")
        columns = tuple(inputs) or found.inputs
        made = scaffold(name, items=items, inputs=columns, target=TARGET_FIELD, folder=folder)
    if found.prompts:
        heading = (made / "prompts.yaml").read_text(encoding="utf-8").partition("\n")[0]
        prompts = [
            {
                "id": f"prompt-{i}",
                **({"user": text} if isinstance(text, str) else {"messages": text}),
            }
            for i, text in enumerate(found.prompts, start=1)
        ]
        body = yaml.safe_dump(prompts, allow_unicode=True, sort_keys=False, width=1000)
        (made / "prompts.yaml").write_text(f"{heading}\n{body}", encoding="utf-8")
        _rewrite(made / "task.yaml", r"^answer: .*$", "answer: {normalise: text}")
    if found.metric:
        _rewrite(made / "task.yaml", r"^metric: .*$", f"metric: {found.metric}")
    return made, found.notes


def _with_schemas(draft: Path, schemas: Path) -> None:
    from tierwise.schema.json_schemas import schema_text

    schemas.mkdir(exist_ok=True)
    for kind in ("task", "prompts"):
        (schemas / f"{kind}.schema.json").write_text(schema_text(kind), encoding="utf-8")
        path = draft / f"{kind}.yaml"
        if path.is_file():
            line = f"# yaml-language-server: $schema=../{SCHEMAS}/{kind}.schema.json\n"
            path.write_text(line + path.read_text(encoding="utf-8"), encoding="utf-8")


def _named(draft: Path, source: str, name: str) -> None:
    task, readme = draft / "task.yaml", draft / "README.md"
    _rewrite(task, rf"^name: {re.escape(source)}$", f"name: {name}")
    if source == TEMPLATE:
        _rewrite(readme, re.escape(TEMPLATE), name)


def _with_items(
    draft: Path, items: Path, inputs: Sequence[str], target: str | None, *, template: bool
) -> None:
    from tierwise.tasks.data_files import columns_of, header_doubt

    if not items.is_file():
        raise InputError("no such file of items", path=items)
    known = columns_of(items)
    for wanted in (*inputs, *([target] if target else [])):
        numbered = wanted.isdigit() and int(wanted) < len(known)
        if not numbered and wanted not in known and wanted.partition(".")[0] not in known:
            raise InputError(unknown_name("column", wanted, known).message, path=items)
    if template and not inputs and "inputs" not in known and "question" not in known:
        doubt = header_doubt(known)
        raise InputError(
            f"its columns are {', '.join(known)}; say which hold the question and the answer: "
            f"--input COLUMN (repeat for more) --target COLUMN{f' ({doubt})' if doubt else ''}",
            path=items,
        )
    if template:
        for old in draft.glob("items.*"):
            old.unlink()
        (draft / OWN_PROMPTS).replace(draft / "prompts.yaml")
    shutil.copyfile(items, draft / items.name)
    task = draft / "task.yaml"
    _rewrite(task, r"^items: \S+.*$", f"items: {json.dumps(items.name)}")
    _rewrite(draft / "README.md", r"\n*The sample items are.*\n", "\n")
    if template and (inputs or target):
        _map_columns(draft, tuple(inputs) or ("question",), target or "target")


def _map_columns(draft: Path, inputs: Sequence[str], target: str) -> None:
    """Fields named after the columns, in the task as in its prompts."""
    fields: dict[str, str] = {}
    for column in inputs:
        name, n = _identifier(column), 2
        while name in fields:  # names in other scripts all become "input"
            name, n = f"{_identifier(column)}_{n}", n + 1
        fields[name] = column
    pairs = ", ".join(
        f"{field}: {json.dumps(column, ensure_ascii=False)}" for field, column in fields.items()
    )
    _rewrite(
        draft / "task.yaml",
        r"^inputs: .*$",
        f"inputs: [{', '.join(fields)}]\n"
        f"fields: {{inputs: {{{pairs}}}, target: {json.dumps(target, ensure_ascii=False)}}}",
    )
    shown = [f"{{{{ {field} }}}}" for field in fields]
    if len(shown) > 1:
        shown = [f"{field}: {shown[i]}" for i, field in enumerate(fields)]
    _rewrite(draft / "prompts.yaml", r"\{\{ question \}\}", "\n    ".join(shown))


def _identifier(column: str) -> str:
    plain = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_").lower() or "input"
    return f"_{plain}" if plain[0].isdigit() else plain


def _rewrite(path: Path, pattern: str, instead: str) -> None:
    text = path.read_text(encoding="utf-8")
    text = re.sub(pattern, lambda match: instead, text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
