"""A task's items from JSON lines, JSON, CSV and its relatives, Parquet or Excel."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import math
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.conversation import answer_of_chat, chat_text, is_messages
from tierwise.tasks.item import Item

_Row = tuple[int, dict[str, Any]]
_LONGEST_CELL = 2**31 - 1
_MISSING_TEXT = {
    *("nan", "NaN", "NAN", "<NA>", "NaT", "null", "NULL", "\\N"),
    *("#N/A", "#NUM!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?"),
}
"""What tables and data bases write for a missing cell where they are saved as text."""
_LETTERED = ("choice", "option")
_LISTS = ("data", "items", "examples", "instances", "questions", "rows")
"""Names under which exports have their items beside other lists."""
_NESTED = ("paragraphs", "qas", "qa_pairs")
"""Names under which SQuAD and DROP have the questions of a text, and the texts of a page."""
_PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "is packed by Zstandard: unpack it first (zstd -d)",
    b"ARROW1": "is an Arrow file: save it as Parquet, CSV or JSON lines",
    b"SQLite format 3": "is an SQLite data base: save the table as CSV",
    b"%PDF": "is a PDF: save its table as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel file (.xls): save it as .xlsx or CSV",
}
"""How files begin that are no items, and what to do."""
_TABLES = "pip install 'tierwise[tables]'"


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns of a flat row are the inputs (input -> column), the target and the id.

    A column may lie inside of another (``answers.text``); numbers, from 0, name the columns of a
    CSV without a header. ``target_regex`` finds the answer in a target that is a whole solution
    (RE2; the first group of the last match).
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    target: str = "target"
    target_regex: str | None = None
    id: str = "id"


def load_items(
    path: Path,
    inputs: Sequence[str],
    fields: Fields | None = None,
    answer: AnswerSpec | None = None,
) -> tuple[Item, ...]:
    """The items of a ``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet`` or ``.xlsx`` file.

    A JSON line is ``{"id", "inputs": {…}, "target"}``; a flat row has the inputs by name, or by the
    column that ``fields`` says; ``.json`` is a list of them, or an object with one such list. Text
    may be gzipped, in UTF-8 or UTF-16. Options (a list, or texts with labels) become lettered
    lines, and a target that is their number, label or text becomes the letter. A list of targets
    holds several right answers, or the set's labels where ``answer`` reads sets. Without an id an
    item gets one from its content; equal rows are one item. Other columns are not read.

    Raises:
        InputError: every fault, with its line: bad JSON, a name twice, no target, an input missing,
            the same id twice, a target that ``answer`` cannot read, no items at all.
    """
    faults: list[InputError] = []
    wanted = None if fields is None else (*fields.inputs.values(), fields.target)
    rows = _rows(path, faults, wanted)
    items = items_of_rows(
        rows, inputs, fields, answer, lambda line, said: faults.append(_at(path, line, said))
    )
    raise_any(sorted(faults, key=lambda fault: fault.line or 0))
    if not items:
        raise InputError("there are no items in it", path=path)
    return items


def items_of_rows(
    rows: Iterable[tuple[Any, dict[str, Any]]],
    inputs: Sequence[str],
    fields: Fields | None,
    answer: AnswerSpec | None,
    fault: Callable[[Any, str], None],
    places: str = "line",
) -> tuple[Item, ...]:
    """The items of (place, row) pairs; ``fault(place, message)`` is told what is wrong with a row.

    Rows that are equal, without an id of their own, are one item: their samples are the same, and
    would count as independent.
    """
    drafts = []
    for place, row in rows:
        try:
            drafts.append((place, _draft(row, inputs, fields, answer)))
        except InputError as error:
            fault(place, error.message)
    first = _first_number(draft for _, draft in drafts)
    items: dict[str, Item] = {}
    place_of: dict[str, Any] = {}
    for place, draft in drafts:
        try:
            item = _item(draft, first, answer)
        except InputError as error:
            fault(place, error.message)
            continue
        if item.id not in items:
            items[item.id], place_of[item.id] = item, place
        elif draft.id:
            same = ", with the same content" if item == items[item.id] else ""
            fault(
                place,
                f"item id {item.id!r} is here twice: first in {places} {place_of[item.id]}{same}",
            )
    return tuple(items.values())


def _at(path: Path, line: int, message: str) -> InputError:
    return InputError(message, path=path, line=line)


def columns_of(path: Path) -> tuple[str, ...]:
    """The names in the first row of a file of items.

    Raises:
        InputError: it cannot be read, or has no row.
    """
    faults: list[InputError] = []
    first = next(iter(_rows(path, faults, None)), None)
    raise_any(faults)
    if first is None:
        raise InputError("there are no items in it", path=path)
    return tuple(first[1])


def header_doubt(columns: Sequence[str]) -> str | None:
    """What to do where ``columns``, a first line, look like an item and not like names."""
    if not any(re.fullmatch(r"[-+]?[\d.,]+|.{60,}|.*[?!]", name) for name in columns):
        return None
    return (
        "its first line looks like an item, not like a header; without a header, name columns by "
        f"their number: 0 … {len(columns) - 1}"
    )


def notes_on(path: Path) -> list[str]:
    """What was assumed when the file was read, for whoever sees its items for the first time."""
    notes = []
    content = _content(path)
    if _kind(path, content) == ".csv":
        text = _text(content, path)
        delimiter = _delimiter(text)
        if delimiter != ",":
            named = {";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter]
            notes.append(f"columns are set apart by {named} (delimiter {delimiter!r})")
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if doubt := header_doubt(header):
            notes.append(doubt)
    rows = [json.dumps(row, sort_keys=True, default=str) for _, row in _rows(path, [], None)]
    if again := len(rows) - len(set(rows)):
        notes.append(f"{again} of {len(rows)} rows are the same as an earlier one and count once")
    return notes


# --- rows ------------------------------------------------------------------------------------


def _rows(path: Path, faults: list[InputError], wanted: Sequence[str] | None) -> Iterable[_Row]:
    """(line, row) of each row; ``wanted`` columns that are numbers say that there is no header."""
    content = _content(path)
    kind = _kind(path, content)
    if kind in _BINARY:
        return _BINARY[kind](content, path, faults, wanted)
    text = _text(content, path)
    if kind == ".json" or re.match(r"\s*\[\s*\{", text):
        return _whole_json_rows(text, path, faults, wanted)
    if kind in (".csv", ".tsv"):
        return _csv_rows(text, path, faults, wanted, "\t" if kind == ".tsv" else None)
    return _json_rows(text, path, faults)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        for begin, unpack in _PACKED.items():
            content = unpack(content) if content.startswith(begin) else content
    except FileNotFoundError:
        raise InputError("no such file of items", path=path) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None
    if path.suffix == ".gz" and content and path.stat().st_size == len(content):
        raise InputError("cannot be read: it is not packed by gzip, whatever its name", path=path)
    return content


def _kind(path: Path, content: bytes) -> str:
    """The ending that the content has, whatever the file is called."""
    if content.startswith(b"PAR1"):
        return ".parquet"
    for begin, what in _REFUSED.items():
        if content.startswith(begin):
            raise InputError(what, path=path)
    ends = [end.lower() for end in path.suffixes]
    if content.startswith(b"PK\x03\x04"):
        if ".xlsx" not in ends and not _is_excel(content):
            raise InputError(
                "is a ZIP archive, or a file of an office program that is one: unpack it, or save "
                "the table as CSV or .xlsx",
                path=path,
            )
        return ".xlsx"
    known = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", *_BINARY}
    kind = next((end for end in reversed(ends) if end in known), None)
    if kind is None:  # told by how it begins
        first = content.lstrip()[:1]
        kind = ".jsonl" if first in (b"{", b"[", b"\xef") else ".csv"
        if first == b"<" or path.suffix in (".yaml", ".yml"):
            raise InputError("is no table: save it as JSON lines or CSV", path=path)
    return {".tab": ".tsv", ".ndjson": ".jsonl"}.get(kind, kind)


def _is_excel(content: bytes) -> bool:
    try:
        return "xl/workbook.xml" in zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return False


def _text(content: bytes, path: Path) -> str:
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif len(content) > 3 and 0 in content[:4]:
        encoding = "utf-16-le" if content[1] == 0 else "utf-16-be"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        remedy = 'save the file as UTF-8 ("CSV UTF-8")'
        raise InputError(f"is not text in UTF-8: {remedy}", path=path, line=line) from None


class _NameTwice(ValueError):
    """An object that has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _NameTwice(next(name for name in names if names.count(name) > 1))
    return found


def _json_rows(text: str, path: Path, faults: list[InputError]) -> Iterator[_Row]:
    if re.match(r"\s*\{\s*[\r\n]", text):
        yield from _json_after_json(text, path, faults)
        return
    for line, content in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, object_pairs_hook=_object)
        except _NameTwice as error:
            faults.append(InputError(f"the key {str(error)!r} is here twice", path=path, line=line))
            continue
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


def _json_after_json(text: str, path: Path, faults: list[InputError]) -> Iterator[_Row]:
    """Objects that are written over several lines, one after another."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    at = 0
    while at < len(text) and (begin := re.compile(r"\S").search(text, at)) is not None:
        line = text.count("\n", 0, begin.start()) + 1
        try:
            row, at = decoder.raw_decode(text, begin.start())
        except _NameTwice as error:
            faults.append(InputError(f"the key {str(error)!r} is here twice", path=path, line=line))
            return
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", line)
            reason = getattr(error, "msg", "not readable")
            faults.append(InputError(f"not JSON: {reason}", path=path, line=line))
            return
        if isinstance(row, dict):
            yield line, row
        else:
            faults.append(InputError("an item is a JSON object, {…}", path=path, line=line))


def _whole_json_rows(
    text: str, path: Path, faults: list[InputError], wanted: Sequence[str] | None
) -> Iterator[_Row]:
    """Items of one JSON value; in messages an item's number stands for its line."""
    try:
        whole = json.loads(text, object_pairs_hook=_object)
    except _NameTwice as error:
        faults.append(InputError(f"an object has the key {str(error)!r} twice", path=path))
        return
    except ValueError as error:
        if getattr(error, "msg", "") == "Extra data":  # JSON lines under another name
            yield from _json_rows(text, path, faults)
            return
        reason, line = getattr(error, "msg", "not readable"), getattr(error, "lineno", None)
        faults.append(InputError(f"not JSON: {reason}", path=path, line=line))
        return
    except RecursionError:
        faults.append(InputError("not JSON: nested too deep", path=path))
        return
    if isinstance(whole, dict) and len(whole) > 1:
        splits = [k for k, v in whole.items() if _are_rows(v)]
        if len(splits) == len(whole) and not set(splits) & {*_LISTS, *(wanted or ())}:
            message = f"holds several lists of items ({', '.join(splits)}): save one as a file"
            faults.append(InputError(message, path=path))
            return
    rows = _listed(whole, wanted)
    if rows is None:
        message = "must be a list of items, an object with one such list, or columns by name"
        faults.append(InputError(message, path=path))
        return
    for number, row in enumerate(rows, start=1):
        if isinstance(row, list) and wanted and all(name.isdigit() for name in wanted):
            row = {str(i): value for i, value in enumerate(row)}
        if not isinstance(row, dict):
            faults.append(InputError(f"item {number} is not a JSON object, {{…}}", path=path))
            continue
        if isinstance(row.get("row"), dict) and "row_idx" in row:
            row = row["row"]  # the viewer of Hugging Face
        for each in _questions_of(row):
            yield number, each


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _questions_of(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each question of a text, with what the text has beside its questions."""
    name = next((name for name in _NESTED if _are_rows(row.get(name))), None)
    if name is None:
        yield row
        return
    outside = {key: value for key, value in row.items() if key != name}
    for inner in row[name]:
        yield from _questions_of({**outside, **inner})


def _listed(whole: Any, wanted: Sequence[str] | None) -> list[Any] | None:
    """The items of a JSON value: a list, the one list of an object, or columns side by side."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        return None
    if isinstance(whole.get("columns"), list) and isinstance(whole.get("data"), list):
        return [  # pandas, orient="split"
            dict(zip(whole["columns"], row, strict=False)) if isinstance(row, list) else row
            for row in whole["data"]
        ]
    lists = {name: value for name, value in whole.items() if isinstance(value, list)}
    of_objects = [v for v in lists.values() if v and all(isinstance(row, dict) for row in v)]
    if len(lists) == 1 or (len(of_objects) == 1 and len(lists) < len(whole)):
        return next(iter(lists.values())) if len(lists) == 1 else of_objects[0]
    for name in _LISTS:
        if name in lists:
            return lists[name]
    values = list(whole.values())
    if len(lists) == len(whole) > 1 and values[0] and len({len(v) for v in values}) == 1:
        return [dict(zip(whole, row, strict=True)) for row in zip(*values, strict=True)]
    if whole and all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
        inside = {str(key).partition(".")[0] for key in values[0]}
        by_row = set(_NESTED) & inside or (
            wanted and {w.partition(".")[0] for w in wanted} <= inside
        )
        if by_row or (not wanted and all(key.isdigit() for key in whole)):
            return values
        if len(whole) > 1:
            return [{name: column[key] for name, column in whole.items()} for key in values[0]]
    return None


def _csv_rows(
    text: str,
    path: Path,
    faults: list[InputError],
    wanted: Sequence[str] | None,
    delimiter: str | None,
) -> Iterator[_Row]:
    said = re.match(r"sep=(.)\r?\n", text)  # Excel's first line
    delimiter = said[1] if said else delimiter or _delimiter(text)
    limit = csv.field_size_limit(_LONGEST_CELL)  # of the whole process: put back when done
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    try:
        before = 0  # a quoted field may run over lines: a row begins after the one before
        for cells in reader:
            if cells and not (said and reader.line_num == 1):
                records.append((before + 1, list[Any](cells)))
            before = reader.line_num
    except csv.Error as error:
        remedy = 'a quote inside of a quoted cell is written twice ("")'
        line = min(reader.line_num, before + 1)  # where the row begins
        faults.append(InputError(f"not CSV: {error}: {remedy}", path=path, line=line))
    finally:
        csv.field_size_limit(limit)
    for line, row in _under_header(records, path, faults, wanted):
        yield line, {k: None if v in _MISSING_TEXT else v for k, v in row.items()}


def _delimiter(text: str) -> str:
    """What stands most often between the names of the first line, quoted ones aside."""
    header = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    return max(",;\t|", key=header.count)


def _under_header(
    records: Sequence[tuple[int, Sequence[Any]]],
    path: Path,
    faults: list[InputError],
    wanted: Sequence[str] | None,
) -> Iterator[_Row]:
    """Rows of a table by the names in its first record, or by number where there are no names."""
    if not records:
        return
    names = ["" if n is None else str(n).strip("\u200b\u2060\ufeff \t\xa0") for n in records[0][1]]
    numbered = wanted and all(name.isdigit() for name in wanted)
    if numbered and not set(wanted or ()) <= set(names):
        names = [str(i) for i in range(max(len(cells) for _, cells in records))]
    else:
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            message = f"the column {twice[0]!r} is here twice: which one counts?"
            faults.append(InputError(message, path=path, line=records[0][0]))
            return
        records = records[1:]
    for line, cells in records:
        if len(cells) > len(names) and any(cell not in (None, "") for cell in cells[len(names) :]):
            message = "more fields than there are columns in the first line"
            faults.append(InputError(message, path=path, line=line))
            continue
        yield line, dict(zip(names, cells, strict=False))


def _parquet_rows(
    content: bytes, path: Path, faults: list[InputError], wanted: Sequence[str] | None
) -> Iterator[_Row]:
    try:
        import pyarrow  # an extra
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"is a Parquet file, which needs pyarrow: {_TABLES}; or save it as JSON lines",
            path=path,
        ) from None
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"is no readable Parquet file: {error}", path=path) from None
    yield from enumerate(rows, start=1)


def _excel_rows(
    content: bytes, path: Path, faults: list[InputError], wanted: Sequence[str] | None
) -> Iterator[_Row]:
    try:
        import openpyxl  # an extra
    except ImportError:
        raise InputError(
            f"is an Excel file, which needs openpyxl: {_TABLES}; or save it as CSV", path=path
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        cells = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except Exception as error:  # noqa: BLE001  zip, XML and openpyxl's own: all say "not Excel"
        raise InputError(f"is no readable Excel file (.xlsx): {error}", path=path) from None
    records = [(i, row) for i, row in enumerate(cells, 1) if any(c is not None for c in row)]
    yield from _under_header(records, path, faults, wanted)


_BINARY = {".parquet": _parquet_rows, ".xlsx": _excel_rows}

# --- items -----------------------------------------------------------------------------------


class _Options(NamedTuple):
    """Options of a question with the labels that the file has for them, if it has any."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{c}. {t}" for c, t in zip(ascii_uppercase, self.texts, strict=False))

    def letter(self, target: str, first: int | None) -> str | None:
        """The letter that a label, a number or a text stands for; None for anything else."""
        if target in self.labels:
            return ascii_uppercase[self.labels.index(target)]
        if target.isdigit():
            at = -1 if first is None else int(target) - first
            return ascii_uppercase[at] if 0 <= at < len(self.texts) else None
        same = [i for i, text in enumerate(self.texts) if text.strip() == target.strip()]
        return ascii_uppercase[same[0]] if len(same) == 1 else None


class _Draft(NamedTuple):
    """A row's values before targets that are numbers of options are told apart."""

    id: str
    inputs: dict[str, str]
    targets: list[str]
    options: _Options | None


def _draft(
    row: dict[str, Any], inputs: Sequence[str], fields: Fields | None, answer: AnswerSpec | None
) -> _Draft:
    row = {unicodedata.normalize("NFC", str(name)): value for name, value in row.items()}
    nested = row.get("inputs") if fields is None else None
    if nested is not None and not isinstance(nested, dict):
        raise InputError("'inputs' must be an object of the inputs by name")
    source = row if nested is None else nested
    fields = fields or Fields()
    found: dict[str, Any] = {}
    answered: str | None = None
    for name in inputs:
        value = _found(source, fields.inputs.get(name, name), "input")
        if is_messages(value):
            answered = answered or answer_of_chat(value)
            value = chat_text(value, fields.inputs.get(name, name), answered=True)
        options = _options_of(value) if nested is None else None
        found[name] = _documents(value) if options is None else options
    values = {
        name: str(value)
        if isinstance(value, _Options)
        else _plain(value, fields.inputs.get(name, name), "input")
        for name, value in found.items()
    }
    options = next((v for v in found.values() if isinstance(v, _Options)), None)
    column = unicodedata.normalize("NFC", fields.target)
    if answered is not None and column not in row:
        wanted: Any = answered
    else:
        wanted = _found(row, fields.target, "target")
    targets = _targets(wanted, fields, "" if answer is None else answer.normalise)
    own_id = row.get(unicodedata.normalize("NFC", fields.id))
    named = own_id not in (None, "") and not _is_nan(own_id)
    return _Draft(_plain(own_id, fields.id, "id") if named else "", values, targets, options)


def _targets(value: Any, fields: Fields, form: str) -> list[str]:
    """The right answers: one, or those of a list; a JSON value or a set where that is the form."""
    if form in ("json", "tool_calls") and isinstance(value, dict | list):
        return [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict):  # SQuAD's answers, DROP's, TriviaQA's
        listed = next((value[n] for n in ("text", "spans") if isinstance(value.get(n), list)), None)
        if listed == [] and value.get("number"):
            listed = [value["number"]]
        if listed is None and isinstance(value.get("aliases"), list) and "value" in value:
            listed = [value["value"], *value["aliases"]]
        value = value if listed is None else listed
    if (
        isinstance(value, list)
        and value
        and all(isinstance(v, dict) and "text" in v for v in value)
    ):
        value = [v["text"] for v in value]
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        value = [text for texts in value for text in texts]  # of several annotators
    if not isinstance(value, list):
        texts = [_plain(value, fields.target, "target")]
    elif not value:
        raise InputError("the target is missing: an empty list")
    else:
        texts = [_plain(each, fields.target, "target") for each in value]
        texts = [", ".join(texts)] if form == "labels" else list(dict.fromkeys(texts))
    if fields.target_regex is not None:
        spec = AnswerSpec(fields.target_regex, "last", "none")
        read = [spec.extract(text) for text in texts]
        if None in read:
            raise InputError(f"target {fields.target!r} holds nothing that target_regex matches")
        texts = [text.strip() for text in read if text is not None]
    if not all(text.strip() for text in texts):
        raise InputError("the target is empty")
    return texts


def _first_number(drafts: Iterable[_Draft]) -> int | None:
    """0 or 1: whether targets that number the options count from 0; None where nothing tells."""
    counts = [
        (int(draft.targets[0]), len(draft.options.texts))
        for draft in drafts
        if draft.options and not draft.options.labels and draft.targets[0].isdigit()
    ]
    if any(number == 0 for number, _ in counts):
        return 0
    return 1 if any(number == most for number, most in counts) else None


def _item(draft: _Draft, first: int | None, answer: AnswerSpec | None) -> Item:
    targets = draft.targets
    if draft.options and answer is not None and answer.normalise in _LETTERED:
        targets = [
            t if len(t) == 1 and t.isalpha() else draft.options.letter(t, first) or t
            for t in targets
        ]
    if answer is not None:
        for target in targets:
            if answer.read(target) is None:
                raise InputError(
                    f"the target {_short(target)} cannot be read by answer.normalise: "
                    f"{answer.normalise}, so that no answer could ever be right"
                )
    item = Item(draft.id, draft.inputs, targets[0], tuple(targets[1:]))
    return item if draft.id else replace(item, id=item.content_sha256[:12])


def _options_of(value: Any) -> _Options | None:
    """Options: a list of texts; texts with labels, side by side or in objects; or by letter."""
    labels: list[Any] = []
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value, labels = value["text"], list(value.get("label") or ())
    elif isinstance(value, dict) and value and all(re.fullmatch("[A-Z]", k) for k in value):
        labels, value = list(value), list(value.values())
    elif isinstance(value, list) and value and all(_is_labelled(each) for each in value):
        value, labels = [v["text"] for v in value], [v["label"] for v in value]
    if not isinstance(value, list) or not 0 < len(value) <= len(ascii_uppercase):
        return None
    if not all(isinstance(option, str | int | float) for option in value):
        return None
    if len(labels) not in (0, len(value)):
        return None
    texts = [_plain(each, "options", "input") for each in value]
    own = [
        re.fullmatch(rf"\(?{c}\s*[).:]\s*(.+)", t)
        for c, t in zip(ascii_uppercase, texts, strict=False)
    ]
    if all(own):  # AQuA's "A)21": they have their letters already
        texts = [match[1] for match in own if match]
    return _Options(tuple(texts), tuple(_plain(each, "options", "input") for each in labels))


def _documents(value: Any) -> Any:
    """HotpotQA's paragraphs, a title and sentences each, as text; any other value as it is."""
    if isinstance(value, dict) and value.keys() == {"title", "sentences"}:
        value = [[title, said] for title, said in zip(*value.values(), strict=False)]
    pairs = isinstance(value, list) and all(isinstance(v, list) and len(v) == 2 for v in value)
    if not value or not pairs or not all(isinstance(v[1], list) for v in value):
        return value
    return "\n\n".join(f"{title}\n{' '.join(map(str, said))}" for title, said in value)


def _is_labelled(value: Any) -> bool:
    return isinstance(value, dict) and {"text", "label"} <= value.keys()


def _found(source: Mapping[str, Any], column: str, what: str) -> Any:
    """The value of a column, or of what lies inside of one: ``answers.text``."""
    column = unicodedata.normalize("NFC", column)
    if column in source:
        return source[column]
    value: Any = source
    for name in column.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(r"-?\d{1,9}", name):
            at = int(name)
            value = value[at] if -len(value) <= at < len(value) else None
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            value = [v.get(name) for v in value]
        else:
            names = [
                *source,
                *(f"{k}.{n}" for k, v in source.items() if isinstance(v, dict) for n in v),
            ]
            if what == "target":
                raise InputError(f"the target is missing: no {column!r}")
            message = unknown_name("field", column, names).message
            raise InputError(f"an input is missing: {message}")
    return value


def _plain(value: Any, column: str, what: str) -> str:
    """A text, or a number as it is written: 3 for 3.0."""
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{what} {column!r} holds half of a surrogate pair")
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or _is_nan(value):
        raise InputError(f"{what} {column!r} must be text or a number, got nothing (null or NaN)")
    if isinstance(value, float) and math.isinf(value):
        raise InputError(f"{what} {column!r} is an infinite number")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    if isinstance(value, int):
        return str(value)
    if hasattr(value, "isoformat"):  # dates of Excel, Parquet and pandas
        text = str(value.isoformat())
        return text.removesuffix("T00:00:00").replace("T", " ")
    if isinstance(value, dict):
        inside = ", ".join(f"{column}.{name}" for name in list(value)[:4])
        raise InputError(
            f"{what} {column!r} must be text or a number, got an object: name {inside}"
        )
    kind = "a list" if isinstance(value, list) else type(value).__name__
    raise InputError(f"{what} {column!r} must be text or a number, got {kind}")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
