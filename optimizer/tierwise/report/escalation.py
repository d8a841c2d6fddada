"""Never handing a request to a stronger tier, always, and where a policy says that it pays."""

from __future__ import annotations

from tierwise.report._base import Row, Section, by_tier, interval, usd
from tierwise.report.reading import RunFiles, TierFiles


def escalation_rows(tier: TierFiles) -> list[Row]:
    """A row a policy of a tier that may hand requests on; none for the others.

    ``difference`` and ``cost_ratio`` are against the strongest tier's best prompt at one sample, on
    the same held-out items.
    """
    rows = []
    for found in tier.summary.escalation:
        low, high = found.score_ci95
        behind, ahead = found.compared.score_difference_ci95
        cheapest, dearest = found.compared.cost_ratio_ci95
        rows.append(
            {
                "tier": tier.name,
                "policy": found.name,
                "against": found.against,
                "score": found.score,
                "score_low": low,
                "score_high": high,
                "usd_per_item": found.usd_per_item,
                "samples": found.samples_per_item,
                "escalated": found.escalated,
                "difference": found.compared.score_difference,
                "difference_low": behind,
                "difference_high": ahead,
                "cost_ratio": found.compared.cost_ratio,
                "cost_ratio_low": cheapest,
                "cost_ratio_high": dearest,
            }
        )
    return rows


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, escalation_rows)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["tier"],
        row["policy"],
        interval(row, "score"),
        usd(row["usd_per_item"]),
        f"{row['samples']:.2f}",
        f"{row['escalated']:.0%}",
        interval(row, "difference", "+"),
        f"×{row['cost_ratio']:.3g}",
    )


SECTION = Section(
    "handing requests on: never, always, where it pays (against the strong tier, held out)",
    _rows,
    ("tier", "policy", "score>", "$/1,000>", "samples>", "escalated>", "to strong>", "cost>"),
    _cells,
)
