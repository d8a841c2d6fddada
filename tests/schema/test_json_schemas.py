"""The committed JSON Schemas are those of the code, and take what is shipped."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from tierwise.errors import InputError
from tierwise.schema import shipped
from tierwise.schema.json_schemas import SCHEMA_KINDS, json_schema, schema_text
from tierwise.schema.yaml_io import read

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_the_committed_schema_is_that_of_the_code(kind: str) -> None:
    """Write it anew by ``tierwise export --to json-schema --kind KIND``."""
    assert (DOCS / "schemas" / f"{kind}.schema.json").read_text() == schema_text(kind)


def test_no_such_kind() -> None:
    with pytest.raises(InputError, match="unknown kind of file 'polcy'; did you mean 'policy'"):
        json_schema("polcy")


SHIPPED = {
    "task": shipped("tasks").glob("*/task.yaml"),
    "prompts": [
        *shipped("tasks").glob("*/prompts.yaml"),
        *(shipped("search_spaces") / "prompts").glob("*.yaml"),
    ],
    "space": shipped("search_spaces").glob("*.yaml"),
    "policy": [DOCS / "policy_example.yaml"],
}


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_schema_takes_what_is_shipped(kind: str) -> None:
    for path in SHIPPED[kind]:
        jsonschema.validate(read(path).data, json_schema(kind))
