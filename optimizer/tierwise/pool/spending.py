"""What runs spent, as the pool's file says: settled, set aside, and perhaps on the provider's bill.

``spending`` has a row a chunk, at its worst case until it is settled. ``losses`` has a row an
attempt that brought no answer and may be billed all the same (a time-out, a cut connection, an
answer that could not be read), at its worst case. Together they bound the provider's bill from
above, and what is settled bounds it from below.
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, fields
from typing import NamedTuple

from tierwise.schema import Usage

COLUMNS = tuple(field.name for field in fields(Usage))
"""The columns of a table that hold a ``Usage``."""


class Billed(NamedTuple):
    """``confirmed`` came with answers; ``possibly`` is the most that may be billed beside it."""

    confirmed: Usage
    possibly: Usage

    @property
    def most(self) -> Usage:
        """What limits are held against."""
        return self.confirmed + self.possibly


def row_of(usage: Usage) -> tuple[float, ...]:
    """The values of ``COLUMNS``."""
    return astuple(usage)


def total(db: sqlite3.Connection, of: str, *values: str) -> Usage:
    """The sum over the rows of ``of``: a table, or a join, and its conditions."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in COLUMNS)
    return Usage(*db.execute(f"SELECT {sums} FROM {of}", values).fetchone())


def billed(db: sqlite3.Connection, run: str | None = None, tier: str | None = None) -> Billed:
    """What ``run`` (or all) spent on ``tier`` (or on all), over all starts.

    Reservations that were never settled (a run that was killed, or is under way) are possibly
    billed.
    """
    where = "".join(
        f" AND {name} = ?" for name, value in (("run", run), ("tier", tier)) if value is not None
    )
    values = [value for value in (run, tier) if value is not None]
    settled, reserved = (
        total(db, f"spending WHERE state = '{state}'{where}", *values)
        for state in ("settled", "reserved")
    )
    lost = total(db, f"losses WHERE purchase IN (SELECT id FROM spending WHERE 1{where})", *values)
    return Billed(settled, reserved + lost)
