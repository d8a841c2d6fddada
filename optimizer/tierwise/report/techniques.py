"""Does a technique help on this tier? Every prompt against the baseline prompt in its mode."""

from __future__ import annotations

from tierwise.report._base import Row, Section, by_tier, interval
from tierwise.report.reading import RunFiles, TierFiles

MOST_SHOWN = 12
"""Techniques of a tier in a terminal; --csv has all."""


def technique_rows(tier: TierFiles) -> list[Row]:
    """A row a prompt and mode, all its paraphrases together, the largest gain first."""
    rows = []
    for rank, found in enumerate(tier.summary.techniques, start=1):
        low, high = found.difference_ci95
        rows.append(
            {
                "tier": tier.name,
                "prompt": found.prompt,
                "family": found.family,
                "mode": found.mode,
                "paraphrases": len(found.paraphrases),
                "against": found.against,
                "items": found.items,
                "score": found.score,
                "difference": found.difference,
                "difference_low": low,
                "difference_high": high,
                "worst_paraphrase": found.worst_paraphrase,
                "best_paraphrase": found.best_paraphrase,
                "cost_ratio": found.cost_ratio,
                "p": found.p,
                "adjusted_p": found.adjusted_p,
                "verdict": found.verdict,
                "rank": rank,
            }
        )
    return rows


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, technique_rows)


def _cells(row: Row) -> tuple[str, ...] | None:
    if row["rank"] > MOST_SHOWN and row["verdict"] == "not shown":
        return None
    spread = (
        f"{row['worst_paraphrase']:.3f}–{row['best_paraphrase']:.3f}"
        if row["paraphrases"] > 1
        else ""
    )
    return (
        row["tier"],
        f"{row['prompt']}/{row['mode']}",
        row["family"],
        row["against"],
        interval(row, "difference", "+"),
        spread,
        f"×{row['cost_ratio']:.2g}",
        row["verdict"],
    )


SECTION = Section(
    "does a technique help here? (all paraphrases together, Holm over a tier's table)",
    _rows,
    ("tier", "technique", "family", "against", "difference>", "by paraphrase>", "cost>", ""),
    _cells,
)
