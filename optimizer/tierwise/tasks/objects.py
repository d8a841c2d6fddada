"""Answers that are JSON: their canonical form, their schema, and their fields.

A JSON Schema comes from a task or, in a policy, from a stranger. It is checked when it is read:
patterns run in linear time, references stay inside and are written out, which bounds their number,
and what is left is validated by ``jsonschema`` without a look at anything else.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tierwise.errors import InputError
from tierwise.tasks.markup import linear_regex

MOST_NODES = 10_000
"""Values of a schema with its references written out: nested ones would grow exponentially."""

_BRACKET = re.compile(r"[{\[]")
_REFUSED = ("$dynamicRef", "$recursiveRef", "patternProperties")
_DATA = ("const", "enum", "default", "examples")
"""Keywords whose values are data, in which nothing is a keyword."""


def canonical_json(raw: str, schema: str | None = None) -> str | None:
    """An object or a list in one written form: keys sorted, no white space, 3 for 3.0.

    It may stand in a code fence or in a text; of several the last one counts, or with a schema the
    last one that keeps to it. A key twice, NaN and what is no JSON are not read.
    """
    last: str | None = None
    for found in json_values(raw):
        value = settled(found)
        if schema is None or keeps_to(value, schema):
            last = json_text(value)
    return last


def json_values(text: str) -> Iterator[Any]:
    """The objects and lists that stand in a text, one after another."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refused)
    at = 0
    while (begin := _BRACKET.search(text, at)) is not None:
        try:
            found, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = begin.end()
        else:
            yield found


def json_text(value: Any) -> str:
    """``value`` as JSON in one written form."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def json_part(canonical: str, fields: Sequence[str], required: bool = True) -> str | None:
    """These fields of a canonical JSON object; None where it is none or lacks a required one."""
    found = json.loads(canonical)
    if not isinstance(found, dict) or (required and any(name not in found for name in fields)):
        return None
    return json_text({name: found[name] for name in fields if name in found})


ABSENT = ""
"""The value of a field that an object leaves out, which is a vote too."""


def field_values(canonical: str, fields: Sequence[str]) -> tuple[str, ...]:
    """The canonical value of each field of a canonical JSON object; ``ABSENT`` where there is
    none."""
    found = json.loads(canonical)
    return tuple(json_text(found[name]) if name in found else ABSENT for name in fields)


def object_of(fields: Sequence[str], values: Sequence[str]) -> str:
    """The canonical JSON object with these values: what ``field_values`` takes apart."""
    pairs = zip(fields, values, strict=True)
    return json_text({name: json.loads(value) for name, value in pairs if value != ABSENT})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def settled(value: Any) -> Any:
    """A JSON value in one form: 3 for 3.0, white space in texts as single blanks."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case str():
            return " ".join(unicodedata.normalize("NFC", value).split())
        case list():
            return [settled(each) for each in value]
        case dict():
            return {name: settled(each) for name, each in value.items()}
    return value


# --- schemas -----------------------------------------------------------------------------------


def checked_schema(schema: Any) -> str:
    """A JSON Schema (a mapping, its text, or a pydantic model) as text, its references written out.

    Raises:
        InputError: it is no JSON Schema, or one that is not safe to check answers against.
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            raise InputError("answer.schema is no JSON", loc=("schema",)) from None
    elif hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    if not isinstance(schema, Mapping):
        raise InputError(
            "answer.schema must be a JSON Schema, such as {type: object, properties: {…}}, or a "
            f"pydantic model, got {type(schema).__name__}",
            loc=("schema",),
        )
    import jsonschema

    whole = json.loads(json.dumps(schema))
    written = _Writing(whole).out(whole, ())
    reason = None
    try:
        jsonschema.Draft202012Validator.check_schema(written)
    except jsonschema.SchemaError as error:
        place = "".join(f".{part}" for part in error.absolute_path)
        reason = f"answer.schema{place} is no JSON Schema: {error.message}"
    if reason is not None:
        raise InputError(reason, loc=("schema",))
    return json.dumps(written, ensure_ascii=False)  # in its own order, which is that of its fields


class _Writing:
    """Writes a schema out without references."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema, self._nodes = schema, 0

    def out(self, node: Any, above: tuple[str, ...]) -> Any:
        """``node`` with the targets of its references in their places; ``above``: those around."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _unsafe(f"it has more than {MOST_NODES:,} values with its references written out")
        if isinstance(node, list):
            return [self.out(each, above) for each in node]
        if not isinstance(node, dict):
            return node
        for keyword in _REFUSED:
            if keyword in node:
                raise _unsafe(f"{keyword} is not taken")
        if isinstance(node.get("pattern"), str):
            linear_regex(node["pattern"], "answer.schema", ("schema",))
        written = {
            name: self._keyword(name, inner, above)
            for name, inner in node.items()
            if name not in ("$ref", "$defs", "definitions")
        }
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return written
        if reference in above:
            raise _unsafe(f"{reference} refers to itself")
        target = self.out(self._target(reference), (*above, reference))
        return {"allOf": [target, written]} if written else target

    def _keyword(self, name: str, value: Any, above: tuple[str, ...]) -> Any:
        if name in _DATA:
            return value
        if name == "properties" and isinstance(value, dict):  # by names that are no keywords
            return {key: self.out(inner, above) for key, inner in value.items()}
        return self.out(value, above)

    def _target(self, reference: str) -> Any:
        found: Any = self._schema
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            name = part.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#") or not isinstance(found, dict) or name not in found:
                raise _unsafe(f"there is no {reference!r} in it")
            found = found[name]
        return found


def _unsafe(why: str) -> InputError:
    return InputError(f"answer.schema: {why}", loc=("schema",))


@functools.lru_cache(maxsize=256)
def schema_fields(schema: str) -> tuple[str, ...]:
    """The fields of the objects that a schema describes; none where it describes no object."""
    found = json.loads(schema)
    for part in found.get("allOf", ()):  # what a reference at the top is written out as
        found = {**part, **found}
    properties = found.get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import jsonschema

    def matches(validator: Any, pattern: str, value: Any, _: Any) -> Any:
        if isinstance(value, str) and not linear_regex(pattern, "answer.schema").search(value):
            yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")

    checks = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": matches})
    return checks(json.loads(schema))


def keeps_to(value: Any, schema: str) -> bool:
    """Whether a JSON value keeps to a schema, which is the text that ``checked_schema`` gave."""
    try:
        return bool(_validator(schema).is_valid(value))
    except RecursionError:
        return False
