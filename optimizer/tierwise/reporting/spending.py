"""What the run spent, by tier."""

from __future__ import annotations

from tierwise.reporting import numbers as n
from tierwise.reporting._base import Row, Section
from tierwise.reporting.purchases import spent
from tierwise.reporting.reading import RunFiles


def spending_rows(run: RunFiles) -> list[Row]:
    """A row a tier, from the pool's own book: it is there before a run has finished."""
    return [
        {"tier": s.tier, "calls": s.calls, "tokens": s.tokens, "usd": s.usd}
        for s in spent(run.run.pool, run.run.run)
    ]


def _cells(row: Row) -> tuple[str, ...]:
    return row["tier"], f"{row['calls']:,}", f"{row['tokens']:,}", n.usd(row["usd"])


SECTION = Section(
    "what the run spent", spending_rows, ("tier", "calls>", "tokens>", "dollars>"), _cells
)
