"""How much a score hangs on the paraphrase of the prompt: PSS, by tier."""

from __future__ import annotations

from tierwise.report._base import Row, Section, by_tier, interval
from tierwise.report.reading import RunFiles, TierFiles


def sensitivity_rows(tier: TierFiles) -> list[Row]:
    """A row a mode, temperature and family of paraphrases (``*``: all prompts)."""
    rows = []
    for found in tier.summary.prompt_sensitivity:
        low, high = found.pss_ci95
        rows.append(
            {
                "tier": tier.name,
                "family": found.family,
                "mode": found.mode,
                "temperature": found.temperature,
                "prompts": len(found.prompts),
                "pss": found.pss,
                "pss_low": low,
                "pss_high": high,
                "by_chance": found.by_chance,
                "spearman_with_confidence": found.spearman_with_confidence,
            }
        )
    return rows


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, sensitivity_rows)


def _cells(row: Row) -> tuple[str, ...]:
    family = "all prompts" if row["family"] == "*" else row["family"]
    return (
        row["tier"],
        f"{family}, {row['mode']}/{row['temperature']:g}",
        f"{row['prompts']}",
        interval(row, "pss"),
        _known(row["by_chance"], ".3f"),
        _known(row["spearman_with_confidence"], "+.2f"),
    )


def _known(value: float | None, form: str) -> str:
    return "" if value is None or value != value else format(value, form)


SECTION = Section(
    "how much the score hangs on the paraphrase (PSS; 0: not at all)",
    _rows,
    ("tier", "paraphrases", "prompts>", "PSS>", "by chance>", "with confidence>"),
    _cells,
)
