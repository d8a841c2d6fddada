"""JSON Schemas of the files that people write, and of `summary.json`, which programs read.

They are generated from the classes that read the files, and committed under ``docs/schemas``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tierwise.errors import unknown_name
from tierwise.schema import space
from tierwise.schema.job import Job
from tierwise.schema.policy_file import SCHEMA, PolicyFile
from tierwise.schema.prompt import PromptList
from tierwise.schema.result import SUMMARY_SCHEMA, Summary
from tierwise.schema.task_file import TaskFile
from tierwise.schema.yaml_io import adapter

SCHEMA_KINDS = ("policy", "job", "task", "space", "prompts", "summary")


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file.

    Descriptions are the first paragraphs of docstrings.

    Raises:
        InputError: there is no such kind.
    """
    schema: dict[str, Any] = _with_first_paragraphs(_whole_schema(kind))
    return schema


def _with_first_paragraphs(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_first_paragraphs(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {key: _with_first_paragraphs(inner) for key, inner in schema.items()}
    if isinstance(shown.get("description"), str):
        shown["description"] = " ".join(shown["description"].split("\n\n")[0].split())
    return shown


def _whole_schema(kind: str) -> dict[str, Any]:
    match kind:
        case "policy":
            return {"$id": SCHEMA, **_policy_schema()}
        case "job":
            return {**adapter(Job).json_schema(), "required": ["tiers"]}
        case "task":
            return adapter(TaskFile).json_schema()
        case "space":
            schema = adapter(space.SearchSpace).json_schema()
            return {**schema, "required": list(space.REQUIRED)}
        case "prompts":
            schema = adapter(PromptList).json_schema()
            return {**schema["properties"]["prompts"], "$defs": schema["$defs"]}
        case "summary":
            return {"$id": SUMMARY_SCHEMA, **adapter(Summary).json_schema(mode="serialization")}
    raise unknown_name("kind of file", kind, SCHEMA_KINDS)


def schema_text(kind: str) -> str:
    """The schema as the text of a file."""
    return json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"


def _policy_schema() -> dict[str, Any]:
    """That of the class, with the keys where the file has them (see ``policy_file``)."""
    schema = adapter(PolicyFile).json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    for name, own in (("Tier", "name"), ("PromptTemplate", "id")):
        definitions[name] = _without(definitions[name], own)
    policy, tier = definitions.pop("Policy"), definitions["Tier"]
    keys = {
        "schema": {"const": SCHEMA, "type": "string"},
        **schema["properties"],
        **tier["properties"],
        **policy["properties"],
        "tier": {"type": "string"},
    }
    required = {"schema", *schema["required"], *tier["required"], *policy["required"]}
    return {
        **schema,
        "properties": {key: keys[key] for key in PolicyFile.FILE_KEYS if key in keys},
        "required": [key for key in PolicyFile.FILE_KEYS if key in required],
    }


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    properties = {k: v for k, v in schema["properties"].items() if k != key}
    required = [k for k in schema["required"] if k != key]
    return {**schema, "properties": properties, "required": required}
