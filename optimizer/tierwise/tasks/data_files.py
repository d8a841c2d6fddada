"""Rows of a task's file: JSON lines, JSON, CSV and its relatives, Parquet or Excel."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tierwise.errors import InputError, raise_any
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.items import Fields, Item, items_of_rows

_Row = tuple[int, dict[str, Any]]
_Read = tuple[int | None, dict[str, Any] | str]
"""A line with its row, or with what is wrong there."""
_LONGEST_CELL = 2**31 - 1
_MISSING_TEXT = {
    *("nan", "NaN", "NAN", "<NA>", "NaT", "null", "NULL", "\\N"),
    *("#N/A", "#NUM!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?"),
}
"""What tables and data bases write for a missing cell where they are saved as text."""
_LISTS = ("data", "items", "examples", "instances", "questions", "rows")
"""Names under which exports have their items beside other lists."""
_NESTED = ("paragraphs", "qas", "qa_pairs")
"""Names under which SQuAD and DROP have the questions of a text, and the texts of a page."""
LARGEST_FILE, MOST_OBJECTS = 40_000_000, 300_000
"""Bytes of a file of items, unpacked, and objects and lists of its JSON: a file may come from
anybody, and a few megabytes of it unfold to gigabytes."""
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "is packed by Zstandard: unpack it first (zstd -d)",
    b"ARROW1": "is an Arrow file: save it as Parquet, CSV or JSON lines",
    b"SQLite format 3": "is an SQLite data base: save the table as CSV",
    b"%PDF": "is a PDF: save its table as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel file (.xls): save it as .xlsx or CSV",
}
"""How files begin that are no items, and what to do."""
_TABLES = "pip install 'tierwise[tables]'"


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
    wanted = None if fields is None else (*fields.inputs.values(), fields.target or "0")

    def fault(line: int, message: str) -> None:
        faults.append(InputError(message, path=path, line=line))

    items = items_of_rows(_rows(path, faults, wanted), inputs, fields, answer, fault)
    raise_any(sorted(faults, key=lambda fault: fault.line or 0))
    if not items:
        raise InputError("there are no items in it", path=path)
    return items


def columns_of(path: Path) -> tuple[str, ...]:
    """The names in the first row of a file of items.

    Raises:
        InputError: it cannot be read, or has no row.
    """
    faults: list[InputError] = []
    _, first = next(_rows(path, faults, None), (0, None))
    raise_any(faults)
    if first is None:
        raise InputError("there are no items in it", path=path)
    return tuple(first)


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


def _rows(path: Path, faults: list[InputError], wanted: Sequence[str] | None) -> Iterator[_Row]:
    """(line, row) of each row that can be read; the others are added to ``faults``.

    ``wanted`` are the columns that are asked for; numbers say that there is no header.
    """
    content = _content(path)
    kind = _kind(path, content)
    if kind in _BINARY:
        read = _BINARY[kind](content, wanted)
    else:
        text = _text(content, path)
        if kind in (".json", ".jsonl") and text.count("{") + text.count("[") > MOST_OBJECTS:
            raise InputError(
                f"holds more than {MOST_OBJECTS:,} objects and lists: give a part of its items",
                path=path,
            )
        if kind == ".json" or re.match(r"\s*\[\s*\{", text):
            read = _whole_json_rows(text, wanted)
        elif kind == ".jsonl":
            read = _json_rows(text)
        else:
            read = _csv_rows(text, wanted, "\t" if kind == ".tsv" else None)
    for line, row in read:
        if isinstance(row, str):
            faults.append(InputError(row, path=path, line=line))
        else:
            yield line or 0, row


# --- the content and its format ----------------------------------------------------------------


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    try:
        with path.open("rb") as file:
            content = _bounded(file, path)
        for begin, unpacking in _PACKED.items():
            if content.startswith(begin):
                with unpacking(io.BytesIO(content)) as file:
                    content = _bounded(file, path)
    except FileNotFoundError:
        raise InputError("no such file of items", path=path) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None
    if path.suffix == ".gz" and content and path.stat().st_size == len(content):
        raise InputError("cannot be read: it is not packed by gzip, whatever its name", path=path)
    return content


def _bounded(file: IO[bytes], path: Path) -> bytes:
    content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise _too_large(path)
    return content


def _too_large(path: Path | None = None) -> InputError:
    most = f"{LARGEST_FILE // 10**6} MB"
    return InputError(f"holds more than {most} unpacked: give a part of its items", path=path)


def _kind(path: Path, content: bytes) -> str:
    """The format of the content, by its first bytes, else by the name: ``.csv``, ``.jsonl`` …"""
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


# --- JSON --------------------------------------------------------------------------------------


class _KeyTwiceError(ValueError):
    """An object that has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _KeyTwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _json_fault(error: ValueError | RecursionError) -> str:
    match error:
        case _KeyTwiceError():
            return f"the key {str(error)!r} is here twice"
        case RecursionError():
            return "not JSON: nested too deep"
    return f"not JSON: {getattr(error, 'msg', 'not readable')}"


def _row_of(value: Any) -> dict[str, Any] | str:
    return value if isinstance(value, dict) else "an item is a JSON object, {…}"


def _json_rows(text: str) -> Iterator[_Read]:
    if re.match(r"\s*\{\s*[\r\n]", text):
        yield from _json_after_json(text)
        return
    for line, content in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not content.strip():
            continue
        try:
            yield line, _row_of(json.loads(content, object_pairs_hook=_object))
        except (ValueError, RecursionError) as error:
            yield line, _json_fault(error)


def _json_after_json(text: str) -> Iterator[_Read]:
    """Objects that are written over several lines, one after another."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    at = 0
    while (begin := re.compile(r"\S").search(text, at)) is not None:
        line = text.count("\n", 0, begin.start()) + 1
        try:
            row, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError) as error:
            yield getattr(error, "lineno", line), _json_fault(error)
            return
        yield line, _row_of(row)


def _whole_json_rows(text: str, wanted: Sequence[str] | None) -> Iterator[_Read]:
    """Items of one JSON value; in messages an item's number stands for its line."""
    try:
        whole = json.loads(text, object_pairs_hook=_object)
    except _KeyTwiceError as error:
        yield None, f"an object has the key {str(error)!r} twice"
        return
    except (ValueError, RecursionError) as error:
        if getattr(error, "msg", "") == "Extra data":  # JSON lines under another name
            yield from _json_rows(text)
        else:
            yield getattr(error, "lineno", None), _json_fault(error)
        return
    if isinstance(whole, dict) and len(whole) > 1:
        splits = [k for k, v in whole.items() if _are_rows(v)]
        if len(splits) == len(whole) and not set(splits) & {*_LISTS, *(wanted or ())}:
            yield None, f"holds several lists of items ({', '.join(splits)}): save one as a file"
            return
    rows = _listed(whole, wanted)
    if rows is None:
        yield None, "must be a list of items, an object with one such list, or columns by name"
        return
    for number, row in enumerate(rows, start=1):
        if isinstance(row, list) and _numbers(wanted):
            row = {str(i): value for i, value in enumerate(row)}
        if not isinstance(row, dict):
            yield None, f"item {number} is not a JSON object, {{…}}"
            continue
        if isinstance(row.get("row"), dict) and "row_idx" in row:
            row = row["row"]  # the viewer of Hugging Face
        for each in _questions_of(row):
            yield number, each


def _numbers(wanted: Sequence[str] | None) -> bool:
    """Whether columns are asked for by number."""
    return bool(wanted) and all(name.isdigit() for name in wanted or ())


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
    if len(lists) == 1:
        return next(iter(lists.values()))
    of_objects = [value for value in lists.values() if _are_rows(value)]
    if len(of_objects) == 1 and len(lists) < len(whole):
        return of_objects[0]
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


# --- tables ------------------------------------------------------------------------------------


def _csv_rows(text: str, wanted: Sequence[str] | None, delimiter: str | None) -> Iterator[_Read]:
    said = re.match(r"sep=(.)\r?\n", text)  # Excel's first line
    delimiter = said[1] if said else delimiter or _delimiter(text)
    limit = csv.field_size_limit(_LONGEST_CELL)  # of the whole process: put back when done
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    fault: _Read | None = None
    before = 0  # a quoted field may run over lines: a row begins after the one before
    try:
        for cells in reader:
            if cells and not (said and reader.line_num == 1):
                records.append((before + 1, list[Any](cells)))
            before = reader.line_num
    except csv.Error as error:
        remedy = 'a quote inside of a quoted cell is written twice ("")'
        fault = min(reader.line_num, before + 1), f"not CSV: {error}: {remedy}"
    finally:
        csv.field_size_limit(limit)
    if fault is not None:
        yield fault
    for line, row in _under_header(records, wanted):
        if not isinstance(row, str):
            row = {name: None if cell in _MISSING_TEXT else cell for name, cell in row.items()}
        yield line, row


def _delimiter(text: str) -> str:
    """What stands most often between the names of the first line, quoted ones aside."""
    header = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    return max(",;\t|", key=header.count)


def _under_header(
    records: Sequence[tuple[int, Sequence[Any]]], wanted: Sequence[str] | None
) -> Iterator[_Read]:
    """Rows of a table by the names in its first record, or by number where there are no names."""
    if not records:
        return
    names = ["" if n is None else str(n).strip("\u200b\u2060\ufeff \t\xa0") for n in records[0][1]]
    if _numbers(wanted) and not set(wanted or ()) <= set(names):
        names = [str(i) for i in range(max(len(cells) for _, cells in records))]
    else:
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            yield records[0][0], f"the column {twice[0]!r} is here twice: which one counts?"
            return
        records = records[1:]
    for line, cells in records:
        if any(cell not in (None, "") for cell in cells[len(names) :]):
            yield line, "more fields than there are columns in the first line"
        else:
            yield line, dict(zip(names, cells, strict=False))


def _parquet_rows(content: bytes, wanted: Sequence[str] | None) -> Iterator[_Read]:
    try:
        import pyarrow  # an extra
        import pyarrow.parquet
    except ImportError:
        yield None, f"is a Parquet file, which needs pyarrow: {_TABLES}; or save it as JSON lines"
        return
    try:
        rows, size = list[dict[str, Any]](), 0
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(content)).iter_batches(64):
            size += batch.nbytes
            if size > LARGEST_FILE:
                raise _too_large()
            rows += batch.to_pylist()
    except InputError as error:
        yield None, str(error)
        return
    except (pyarrow.ArrowException, OSError) as error:
        yield None, f"is no readable Parquet file: {error}"
        return
    yield from enumerate(rows, start=1)


def _excel_rows(content: bytes, wanted: Sequence[str] | None) -> Iterator[_Read]:
    try:
        import openpyxl  # an extra
    except ImportError:
        yield None, f"is an Excel file, which needs openpyxl: {_TABLES}; or save it as CSV"
        return
    try:
        if sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(content)).infolist()) > (
            LARGEST_FILE
        ):
            raise _too_large()
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        cells = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except InputError as error:
        yield None, str(error)
        return
    except Exception as error:  # noqa: BLE001  zip, XML and openpyxl's own: all say "not Excel"
        yield None, f"is no readable Excel file (.xlsx): {error}"
        return
    records = [(i, row) for i, row in enumerate(cells, 1) if any(c is not None for c in row)]
    yield from _under_header(records, wanted)


_BINARY = {".parquet": _parquet_rows, ".xlsx": _excel_rows}
