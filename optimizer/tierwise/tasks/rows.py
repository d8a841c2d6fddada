"""Rows of a data set that lives in Python: a DataFrame, a list of dicts, a ``datasets.Dataset`` …

Nothing of pandas, polars, datasets or DSPy is imported: each is known by the methods that it has.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tierwise.errors import InputError, raise_any
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.items import Fields, Item, items_of_rows


def items_in(
    data: Any, inputs: Sequence[str], fields: Fields, answer: AnswerSpec | None = None
) -> tuple[Item, ...]:
    """The items of a data set's rows; missing values are missing, and equal rows are one item.

    Raises:
        InputError: it is no data set, or every fault of its rows, by place (from 0) or index.
    """
    faults: list[InputError] = []
    rows = list(_rows(data))

    def fault(at: str, said: str) -> None:
        faults.append(InputError(f"row {at}: {said}"))

    items = items_of_rows(rows, inputs, fields, answer, fault, "row")
    raise_any(faults)
    if not items:
        raise InputError("there are no rows in the data")
    return items


def columns_in(data: Any) -> tuple[str, ...]:
    """The names of a data set's columns: those of its first row."""
    return tuple(next((row for _, row in _rows(data)), {}))


def _rows(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, row) for messages and for reading; a missing value is None."""
    for label, row in _labelled(data):
        if hasattr(row, "toDict"):  # a dspy.Example
            row = row.toDict()
        elif hasattr(row, "_asdict"):  # a named tuple
            row = row._asdict()
        elif dataclasses.is_dataclass(row) and not isinstance(row, type):
            row = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {label} is a {type(row).__name__}; a row is a mapping of column names to "
                'values, such as {"question": …, "target": …}'
            )
        yield label, {str(name): _plain(value) for name, value in row.items()}


def _labelled(data: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(data, str | bytes | Mapping):
        if (
            isinstance(data, Mapping)
            and data
            and all(hasattr(v, "features") for v in data.values())
        ):
            sets = ", ".join(map(repr, data))
            raise InputError(f"these are several data sets ({sets}): give one, such as data[…]")
        raise InputError(
            f"cannot read rows of a {type(data).__name__}: give a DataFrame, a list of dicts, a "
            "datasets.Dataset, or a path"
        )
    found: Any = data
    if hasattr(data, "to_dicts"):  # polars
        found = data.to_dicts()
    elif hasattr(data, "to_pylist"):  # pyarrow
        found = data.to_pylist()
    elif hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas
        repeated = sorted({str(c) for c in data.columns if list(data.columns).count(c) > 1})
        if repeated:
            raise InputError(f"the DataFrame has two columns of one name: {', '.join(repeated)}")
        labels = [f"{i}" if i == at else f"{at} (index {i!r})" for at, i in enumerate(data.index)]
        index = [n for n in data.index.names if n is not None and n not in data.columns]
        data = data.reset_index(level=index) if index else data
        names = list(data.columns)
        columns = [_column(data[name]) for name in names]
        for label, values in zip(labels, zip(*columns, strict=True), strict=False):
            yield label, dict(zip(names, values, strict=True))
        return
    if not isinstance(found, Iterable):
        raise InputError(
            f"cannot read rows of a {type(data).__name__}: give a DataFrame, a list of dicts, a "
            "datasets.Dataset, or a path"
        )
    named = {
        name: feature.names
        for name, feature in (getattr(data, "features", None) or {}).items()
        if isinstance(getattr(feature, "names", None), list)
    }  # classes of Hugging Face, which rows have by number
    for at, row in enumerate(found):
        yield (
            str(at),
            row
            if not named
            else {k: named[k][v] if k in named and _is_class(v) else v for k, v in row.items()},
        )


def _is_class(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _column(series: Any) -> list[Any]:
    """The values of a pandas column; 0.1 of single precision is 0.1."""
    values: list[Any] = series.tolist()
    if str(series.dtype) in ("float32", "float16"):
        return [float(str(short)) for short in series.to_numpy()]
    return values


def _plain(value: Any) -> Any:
    """A value of a cell as plain Python; None where it is missing (NaN, NaT, NA)."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, set | frozenset):
        return [_plain(inner) for inner in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    if isinstance(value, bytes) or hasattr(value, "isoformat"):
        return value  # dates are written as in files; bytes are no text
    return str(value)  # decimals, periods, intervals: as they are shown
