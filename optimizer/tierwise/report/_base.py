"""What a section of ``tierwise compare`` is: rows as plain data, and how a row is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from tierwise.errors import UnsupportedError
from tierwise.report.reading import RunFiles, TierFiles

Row = dict[str, Any]
T = TypeVar("T")
S = TypeVar("S")

NOTE = "note"
"""Key of a row that says, in place of numbers, why there are none."""


class Section(NamedTuple, Generic[S]):
    """A table of a comparison, made from ``S``: a run, or two of them.

    Attributes:
        title: the question that it answers.
        rows: the table as plain data, intervals as ``X``, ``X_low`` and ``X_high``; a row that
            the stored samples do not support has ``note`` in place of numbers.
        columns: what a terminal shows; a name that ends in ``>`` holds numbers.
        cells: a row's text, a cell a column; None leaves the row to ``--json`` and ``--csv``.
    """

    title: str
    rows: Callable[[S], list[Row]]
    columns: tuple[str, ...]
    cells: Callable[[Row], tuple[str, ...] | None]


def needed(part: T | None, file: str) -> T:
    """A part of a run directory without which there is nothing to say.

    Raises:
        UnsupportedError: it was not there, or could not be read.
    """
    if part is None:
        raise UnsupportedError(f"{file} is missing")
    return part


def by_tier(run: RunFiles, rows: Callable[[TierFiles], list[Row]]) -> list[Row]:
    """The rows of every tier; of one whose files do not have what it takes, a note."""
    found = []
    for tier in run.tiers.values():
        try:
            found += rows(tier)
        except UnsupportedError as error:
            found.append({"tier": tier.name, NOTE: f"not shown: {error}"})
    return found


def attempted(who: Row, row: Callable[[], Row]) -> Row:
    """``who`` with what ``row`` says of it, or with a note why it can say nothing."""
    try:
        return {**who, **row()}
    except UnsupportedError as error:
        return {**who, NOTE: f"not shown: {error}"}


def interval(row: Mapping[str, Any], name: str, sign: str = "") -> str:
    """``0.812 [0.782, 0.843]``."""
    values = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
    mean, low, high = ("?" if v is None or v != v else f"{v:{sign}.3f}" for v in values)
    return f"{mean} [{low}, {high}]"


def ratio(row: Mapping[str, Any]) -> str:
    """``×8.2``; nothing where the cost before was 0."""
    value = row["cost_ratio"]
    return "" if value is None or value != value else f"×{value:.2g}"


def usd(value: float) -> str:
    """``$0.0226``: dollars for 1,000 requests, of dollars for one."""
    from tierwise.report.numbers import usd_per

    return usd_per(value)
