"""Rows of data sets that live in Python become items, or are named with what is wrong."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from tierwise.errors import InputError
from tierwise.tasks import Item, Task
from tierwise.tasks.items import Fields
from tierwise.tasks.rows import columns_in, items_in

ROWS = [{"q": "1 + 1", "a": 2}, {"q": "2 + 2", "a": 4}, {"q": "3 + 3", "a": 6}]


class Dataset:
    """As ``datasets.Dataset`` looks: rows are dicts, and it has features."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.features = rows, {}

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Example:
    """As a ``dspy.Example`` looks."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def toDict(self) -> dict[str, Any]:
        return self._fields


class Polars:
    """As a polars DataFrame looks."""

    def to_dicts(self) -> list[dict[str, Any]]:
        return ROWS


def items_of(data: Any, **more: Any) -> list[tuple[dict[str, str], str]]:
    task = Task.from_rows(data, inputs=["q"], target="a", **more)
    return [(dict(item.inputs), item.target) for item in task.items]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        tuple(ROWS),
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, index=["x", "y", "z"]),
        pd.DataFrame(ROWS).convert_dtypes(),
        Dataset(ROWS),
        Polars(),
        [Example(**row) for row in ROWS],
    ],
)
def test_every_kind_of_data_set_gives_the_same_items(data: Any) -> None:
    assert items_of(data) == [({"q": r["q"]}, str(r["a"])) for r in ROWS]
    assert columns_in(data) == ("q", "a")


@pytest.mark.parametrize("missing", [None, math.nan, np.nan, pd.NA, pd.NaT, np.float64("nan")])
def test_what_is_missing_is_missing_and_named_by_its_row(missing: Any) -> None:
    with pytest.raises(InputError, match="row 1: target 'a' must be text or a number, got nothing"):
        items_of([ROWS[0], {"q": "2 + 2", "a": missing}])
    frame = pd.DataFrame([ROWS[0], {"q": missing, "a": "4"}], index=[7, 9])
    with pytest.raises(InputError, match=r"row 1 \(index 9\): input 'q' must be text or a number"):
        items_of(frame)


def test_every_fault_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        items_of([{"q": "x"}, {"a": "1"}, *ROWS])
    assert "row 0: the target" in str(caught.value)
    assert "row 1: an input" in str(caught.value)


def test_equal_rows_are_one_item() -> None:
    assert len(items_of([*ROWS, *ROWS])) == 3


def test_two_rows_of_one_id_that_differ_are_named() -> None:
    with pytest.raises(InputError, match="row 1: item id '5' is here twice: first in row 0"):
        items_of([{"id": 5, **ROWS[0]}, {"id": 5, **ROWS[1]}])


def test_cells_of_other_types_are_plain_text() -> None:
    frame = pd.DataFrame(
        {
            "q": [dt.date(2026, 1, 2), pd.Timestamp("2026-01-02")],
            "a": [np.int64(3), np.bool_(True)],
        },
        dtype=object,
    )
    assert items_of(frame) == [({"q": "2026-01-02"}, "3"), ({"q": "2026-01-02"}, "true")]
    options = items_of([{"q": np.array(["x", "y"]), "a": "A"}])
    assert options == [({"q": "A. x\nB. y"}, "A")]


def test_items_with_their_inputs_by_name_are_read_too() -> None:
    task = Task.from_rows([{"id": "i", "inputs": {"q": "1"}, "target": "2"}], inputs=["q"])
    assert task.items == (Item("i", {"q": "1"}, "2"),)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("text", "rows of a str"),
        (3, "rows of a int"),
        ({"q": [1]}, "rows of a dict"),
        ({"train": Dataset(ROWS), "test": Dataset(ROWS)}, r"several data sets \('train', 'test'\)"),
        ([1, 2], "row 0 is a int"),
        ([], "no rows"),
        (pd.DataFrame(columns=["q", "a"]), "no rows"),
        (pd.DataFrame([[1, 2, 3]], columns=["q", "a", "q"]), "two columns of one name: q"),
    ],
)
def test_what_is_no_data_set_is_said(data: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        items_of(data)


def test_a_metric_is_a_function_of_answer_and_item() -> None:
    def near(answer: str, item: Item) -> float:
        return max(0.0, 1 - abs(float(answer) - float(item.target)))

    task = Task.from_rows(ROWS, inputs=["q"], target="a", metric=near)
    assert task.metric == "near"
    assert task.score("2", task.items[0]) == 1.0
    assert task.score(None, task.items[0]) == 0.0
    with pytest.raises(InputError, match=r"near failed on item .*: ValueError: could not convert"):
        task.score("two", task.items[0])


@pytest.mark.parametrize("value", [2, -1, math.nan, "high", None])
def test_a_score_that_is_none_is_named(value: object) -> None:
    task = Task.from_rows(ROWS, inputs=["q"], target="a", metric=lambda answer, item: value)
    with pytest.raises(InputError, match="a score is a number from 0 to 1"):
        task.score("2", task.items[0])


@dataclass
class Row:
    q: str
    a: object


class Sure(enum.Enum):
    YES = "yes"


class Classes:
    """As ``datasets`` has a column of classes: numbers beside their names."""

    features: ClassVar = {"a": SimpleNamespace(names=["neg", "pos"]), "q": SimpleNamespace()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([{"q": "x", "a": 1}])


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (pd.DataFrame({"q": ["x"], "a": pd.to_datetime(["2024-01-02"])}), "2024-01-02"),
        (
            pd.DataFrame({"q": ["x"], "a": pd.to_datetime(["2024-01-02 10:30"])}),
            "2024-01-02 10:30:00",
        ),
        (pd.DataFrame({"q": ["x"], "a": np.array([0.1], "float32")}), "0.1"),
        (pd.DataFrame({"q": ["x"], "a": pd.Categorical([7])}), "7"),
        (pd.DataFrame({"q": ["x"], "a": pd.array([7], "Int64")}), "7"),
        (pd.DataFrame({"q": ["x"], "a": pd.array([True], "boolean")}), "true"),
        (pd.DataFrame({"a": ["7"]}, index=pd.Index(["x"], name="q")), "7"),
        (pd.DataFrame({"q": ["x"], "a": [{"text": np.array(["7", "8"])}]}), "7"),
        ([Row("x", 7)], "7"),
        ([{"q": "x", "a": Sure.YES}], "yes"),
        ([{"q": "x", "a": {"8", "7"}}], "7"),
        (Classes(), "pos"),
    ],
)
def test_cells_of_every_kind_are_text(data: Any, target: str) -> None:
    [item] = items_in(data, ["q"], Fields({"q": "q"}, "a"))
    assert (item.inputs["q"], item.target) == ("x", target)


def test_cells_of_arrow_are_text() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="an extra: tierwise[tables]")
    table = pyarrow.table({"q": ["x"], "a": [["7"]]})
    for data in (table, table.to_pandas(types_mapper=pd.ArrowDtype)):
        [item] = items_in(data, ["q"], Fields({"q": "q"}, "a"))
        assert item.target == "7"


@pytest.mark.parametrize("value", [b"7", math.inf])
def test_cells_that_are_no_text_are_named(value: Any) -> None:
    with pytest.raises(InputError, match="row 0: target 'a'"):
        items_in([{"q": "x", "a": value}], ["q"], Fields({"q": "q"}, "a"))
