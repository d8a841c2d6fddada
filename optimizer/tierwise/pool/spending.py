"""What runs spent, as the pool's file says: settled, set aside, and perhaps on the provider's bill.

``spending`` has a row a chunk, at its worst case until it is settled. ``losses`` has a row an
attempt that brought no answer and may be billed all the same (a time-out, a cut connection, an
answer that could not be read), at its worst case. Together they bound the provider's bill from
above, and what is settled bounds it from below.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple


class Spent(NamedTuple):
    """Dollars, calls and tokens."""

    usd: float
    calls: int
    tokens: int

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(self.usd + other.usd, self.calls + other.calls, self.tokens + other.tokens)


class Limit(NamedTuple):
    """The most that may be spent; None is no limit."""

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None

    def passed_by(self, spent: Spent) -> str:
        """The name of the first limit that ``spent`` passes, or nothing."""
        for name, most, value in zip(self._fields, self, spent, strict=True):
            if most is not None and value > most:
                return name
        return ""


class Bought(NamedTuple):
    """Samples that are there, and what they cost."""

    samples: int
    spent: Spent


class Billed(NamedTuple):
    """``confirmed`` came with answers; ``possibly`` is the most that may be billed beside it."""

    confirmed: Spent
    possibly: Spent

    @property
    def most(self) -> Spent:
        """What a limit is held against."""
        return self.confirmed.plus(self.possibly)


def billed(db: sqlite3.Connection, run: str | None = None, tier: str | None = None) -> Billed:
    """What ``run`` (or all) spent on ``tier`` (or on all), over all starts.

    Reservations that were never settled (a run that was killed, or is under way) are possibly
    billed. A file of before there were losses has none.
    """
    where = "".join(
        f" AND {name} = ?" for name, value in (("run", run), ("tier", tier)) if value is not None
    )
    values = [value for value in (run, tier) if value is not None]
    columns = "total({}), coalesce(sum({}calls), 0), coalesce(sum({}tokens), 0)"
    of = {
        state: Spent(
            *db.execute(
                f"SELECT {columns.format(f'{state}_usd', '', '')} FROM spending"
                f" WHERE state = '{state}'{where}",
                values,
            ).fetchone()
        )
        for state in ("settled", "reserved")
    }
    lost = Spent(0.0, 0, 0)
    if has_losses(db):
        lost = Spent(
            *db.execute(
                f"SELECT {columns.format('l.usd', 'l.', 'l.')} FROM losses AS l"
                f" JOIN spending ON spending.id = l.purchase WHERE 1{where}",
                values,
            ).fetchone()
        )
    return Billed(of["settled"], of["reserved"].plus(lost))


def has_losses(db: sqlite3.Connection) -> bool:
    """Whether the file is of a version that keeps losses."""
    return int(db.execute("PRAGMA user_version").fetchone()[0]) >= 2
