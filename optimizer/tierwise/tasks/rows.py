"""Rows of a data set that lives in Python: a DataFrame, a list of dicts, a ``datasets.Dataset`` …

Nothing of pandas, polars, datasets or DSPy is imported: each is known by the methods that it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tierwise.errors import InputError, raise_any
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.data_files import Fields, items_of_rows
from tierwise.tasks.item import Item


def items_in(
    data: Any, inputs: Sequence[str], fields: Fields, answer: AnswerSpec | None = None
) -> tuple[Item, ...]:
    """The items of a data set's rows; missing values are missing, and equal rows are one item.

    Raises:
        InputError: it is no data set, or every fault of its rows, by place (from 0) or index.
    """
    flat = None if fields == Fields() else fields  # else a row may hold {"inputs": {…}}
    faults: list[InputError] = []
    rows = list(_rows(data))

    def fault(at: str, said: str) -> None:
        faults.append(InputError(f"row {at}: {said}"))

    items = items_of_rows(rows, inputs, flat, answer, fault, "row")
    raise_any(faults)
    if not items:
        raise InputError("there are no rows in the data")
    return items


def columns_in(data: Any) -> tuple[str, ...]:
    """The names of a data set's columns: those of its first row."""
    return tuple(next((row for _, row in _rows(data)), {}))


def _rows(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, row) for messages and for reading; a missing value is no key."""
    for label, row in _labelled(data):
        if hasattr(row, "toDict"):  # a dspy.Example
            row = row.toDict()
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {label} is a {type(row).__name__}; a row is a mapping of column names to "
                'values, such as {"question": …, "target": …}'
            )
        plain = {str(name): _plain(value) for name, value in row.items()}
        yield label, {name: value for name, value in plain.items() if value is not None}


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
    elif hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas
        repeated = sorted({str(c) for c in data.columns if list(data.columns).count(c) > 1})
        if repeated:
            raise InputError(f"the DataFrame has two columns of one name: {', '.join(repeated)}")
        labels = [f"{i}" if i == at else f"{at} (index {i!r})" for at, i in enumerate(data.index)]
        names = list(data.columns)
        columns = [data[name].tolist() for name in names]
        for label, values in zip(labels, zip(*columns, strict=True), strict=False):
            yield label, dict(zip(names, values, strict=True))
        return
    if not isinstance(found, Iterable):
        raise InputError(
            f"cannot read rows of a {type(data).__name__}: give a DataFrame, a list of dicts, a "
            "datasets.Dataset, or a path"
        )
    for at, row in enumerate(found):
        yield str(at), row


def _plain(value: Any) -> Any:
    """A value of a cell as plain Python; None where it is missing (NaN, NaT, NA)."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    return str(value)  # dates, decimals, enumerations: as they are shown
