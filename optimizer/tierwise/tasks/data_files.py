"""A task's items from JSON lines (also gzipped) or CSV."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.item import Item


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns of a flat row are the inputs (input -> column), the target and the id.

    ``target_regex`` finds the answer in a target that is a whole solution (RE2; group 1 of the last
    match).
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    target: str = "target"
    target_regex: str | None = None
    id: str = "id"


def load_items(path: Path, inputs: Sequence[str], fields: Fields | None = None) -> tuple[Item, ...]:
    """The items of a ``.jsonl``, ``.csv`` or ``.json`` file, maybe gzipped.

    A JSON line is ``{"id", "inputs": {…}, "target"}``; a flat row has the inputs by name, or by the
    column that ``fields`` says; ``.json`` is a list of them, or an object with one such list. A
    list of texts becomes lettered options, a line each. Without an id an item gets one from its
    content. Other columns are not read.

    Raises:
        InputError: every fault, with its line: bad JSON, no target, an input missing, the same id
            twice, no items at all.
    """
    text = _text(path)
    rows = _rows_of(path)
    faults: list[InputError] = []
    items: list[Item] = []
    line_of: dict[str, int] = {}
    for line, row in rows(text, path, faults):
        try:
            item = item_of(row, inputs, fields)
        except InputError as error:
            faults.append(InputError(error.message, path=path, line=line))
            continue
        if item.id in line_of:
            if row.get((fields or Fields()).id) in (None, "") and item in items:
                continue  # two rows without an id that are equal are one item
            first = f"item id {item.id!r} is here twice: first in line {line_of[item.id]}"
            faults.append(InputError(first, path=path, line=line))
            continue
        line_of[item.id] = line
        items.append(item)
    raise_any(faults)
    if not items:
        raise InputError("there are no items in it", path=path)
    return tuple(items)


def columns_of(path: Path) -> tuple[str, ...]:
    """The names in the first row of a file of items.

    Raises:
        InputError: it cannot be read, or has no row.
    """
    faults: list[InputError] = []
    first = next(_rows_of(path)(_text(path), path, faults), None)
    raise_any(faults)
    if first is None:
        raise InputError("there are no items in it", path=path)
    return tuple(first[1])


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file of items", path=path) from None
    except UnicodeDecodeError:
        sixteen = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        hint = '; it is UTF-16: save it as UTF-8 ("CSV UTF-8")' if sixteen else ""
        raise InputError(f"is not text in UTF-8{hint}", path=path) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None


_Rows = Iterator[tuple[int, dict[str, Any]]]


def _json_rows(text: str, path: Path, faults: list[InputError]) -> _Rows:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            reason = getattr(error, "msg", "not readable")
            faults.append(InputError(f"not JSON: {reason}", path=path, line=line))
            continue
        except RecursionError:
            faults.append(InputError("not JSON: nested too deep", path=path, line=line))
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            message = "an item is a JSON object, {…}"
            faults.append(InputError(message, path=path, line=line))


def _csv_rows(text: str, path: Path, faults: list[InputError]) -> _Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        before = 1  # a quoted field may run over lines: a row begins after the one before
        for row in reader:
            line, before = before + 1, reader.line_num
            if None in row:
                message = "more fields than there are columns in the first line"
                faults.append(InputError(message, path=path, line=line))
                continue
            yield line, {key: value for key, value in row.items() if value is not None}
    except csv.Error as error:
        faults.append(InputError(f"not CSV: {error}", path=path, line=reader.line_num))


def _whole_json_rows(text: str, path: Path, faults: list[InputError]) -> _Rows:
    """Items of one JSON value; in messages an item's number stands for its line."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        reason, line = getattr(error, "msg", "not readable"), getattr(error, "lineno", None)
        faults.append(InputError(f"not JSON: {reason}", path=path, line=line))
        return
    except RecursionError:
        faults.append(InputError("not JSON: nested too deep", path=path))
        return
    lists = [whole] if isinstance(whole, list) else []
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
    if len(lists) != 1:
        message = "must be a list of items, or an object with one such list"
        faults.append(InputError(message, path=path))
        return
    for number, row in enumerate(lists[0], start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            faults.append(InputError(f"item {number} is not a JSON object, {{…}}", path=path))


def _rows_of(path: Path) -> Callable[[str, Path, list[InputError]], _Rows]:
    ends = [end for end in path.suffixes if end in _ROWS]
    return _ROWS[ends[-1]] if ends else _json_rows


_ROWS = {".jsonl": _json_rows, ".csv": _csv_rows, ".json": _whole_json_rows}


def item_of(row: dict[str, Any], inputs: Sequence[str], fields: Fields | None) -> Item:
    """The item of one row.

    Raises:
        InputError: an input or the target is missing, or is neither text nor a number.
    """
    nested = row.get("inputs") if fields is None else None
    if nested is not None and not isinstance(nested, dict):
        raise InputError("'inputs' must be an object of the inputs by name")
    source = _lettered(row) if nested is None else nested
    fields = fields or Fields()
    values = {name: _value(source, fields.inputs.get(name, name), "input") for name in inputs}
    target = _value(row, fields.target, "target")
    if fields.target_regex is not None:
        found = AnswerSpec(fields.target_regex, "last", "none").extract(target)
        if found is None:
            raise InputError(f"target {fields.target!r} holds nothing that target_regex matches")
        target = found.strip()
    if not target.strip():
        raise InputError("the target is empty")
    if row.get(fields.id) not in (None, ""):
        return Item(_value(row, fields.id, "id"), values, target)
    nameless = Item("", values, target)
    return Item(nameless.content_sha256[:12], values, target)


def _lettered(row: dict[str, Any]) -> dict[str, Any]:
    """A flat row with its lists of options as text: ``A. …``, ``B. …``, a line each."""
    return {name: _options(value) if _is_options(value) else value for name, value in row.items()}


def _is_options(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= len(ascii_uppercase)
        and all(isinstance(option, str | int | float) for option in value)
    )


def _options(values: list[Any]) -> str:
    return "\n".join(f"{c}. {text}" for c, text in zip(ascii_uppercase, values, strict=False))


def _value(source: Mapping[str, Any], column: str, what: str) -> str:
    if column not in source:
        if what == "target":
            raise InputError(f"the target is missing: no {column!r}")
        raise InputError(f"an input is missing: {unknown_name('field', column, source).message}")
    value = source[column]
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{what} {column!r} holds half of a surrogate pair")
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    kind = next(
        (k for t, k in ((dict, "an object"), (list, "a list")) if isinstance(value, t)), None
    )
    raise InputError(f"{what} {column!r} must be text or a number, got {kind or 'nothing'}")
