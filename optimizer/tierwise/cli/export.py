"""``tierwise export POLICY --to SHAPE``: a policy in other shapes for serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierwise.errors import InputError

if TYPE_CHECKING:
    from tierwise.schema.policy_file import PolicyFile


@click.command("export")
@click.argument("policy", type=click.Path(dir_okay=False), required=False)
@click.option(
    "--to",
    "shape",
    required=True,
    type=click.Choice(["litellm-proxy", "json-schema", "openai-batch"]),
)
@click.option(
    "--kind",
    default="policy",
    show_default=True,
    type=click.Choice(["policy", "job", "task", "space", "prompts", "summary"]),
    help="For json-schema: of which files.",
)
@click.option("--out", type=click.Path(), help="A folder for litellm-proxy, else a file.")
@click.option(
    "--inputs",
    type=click.Path(dir_okay=False),
    metavar="ITEMS.jsonl",
    help='For openai-batch: a line an item, {"id": …, "inputs": {…}}.',
)
@click.option("--seed", default=0, show_default=True, help="For openai-batch: seed of the samples.")
@click.option("--force", is_flag=True, help="Overwrite files.")
def command(
    policy: str | None,
    shape: str,
    kind: str,
    out: str | None,
    inputs: str | None,
    seed: int,
    force: bool,
) -> None:
    """Write POLICY in another shape.

    litellm-proxy: config and handler for a LiteLLM proxy. json-schema: the schema of policy files,
    or those of --kind (no POLICY needed). openai-batch: the requests that a list of inputs needs,
    for policies whose samples are fixed.
    """
    from tierwise.schema.policy_file import PolicyFile

    if shape == "json-schema":
        from tierwise.schema.json_schemas import schema_text

        _write_text(schema_text(kind), out, force)
        return
    if policy is None:
        raise InputError(f"--to {shape} needs a policy file")
    file = PolicyFile.load(policy)
    if shape == "litellm-proxy":
        from tierwise.serving.export import proxy_files

        if out is None:
            raise InputError("--to litellm-proxy writes three files: say --out FOLDER")
        for name, text in proxy_files(file).items():
            path = Path(out) / name
            _write_text(text, path, force)
            click.echo(f"wrote {path}", err=True)
    else:
        from tierwise.serving.export import batch_lines

        if inputs is None:
            raise InputError("--to openai-batch needs --inputs ITEMS.jsonl")
        lines = batch_lines(file, _items(file, inputs), seed=seed)
        _write_text("".join(f"{line}\n" for line in lines), out, force)


def _items(file: PolicyFile, path: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    from tierwise.schema.files import json_lines

    for number, item in json_lines(Path(path)):
        given = item.get("inputs")
        if not isinstance(given, dict):
            raise InputError('needs {"id": …, "inputs": {…}}', path=path, line=number)
        for name in file.inputs:
            if not isinstance(given.get(name), str):
                raise InputError(f"needs the text input {name!r}", path=path, line=number)
        yield str(item.get("id", number)), given


def _write_text(text: str, out: str | Path | None, force: bool) -> None:
    from tierwise.schema.files import write_whole

    if out is None:
        click.echo(text, nl=False)
        return
    path = Path(out)
    if path.exists() and not force:
        raise InputError("is there already: --force overwrites it", path=path)
    try:
        write_whole(path, text)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from None
