"""Each tier's recipe, bucket by bucket."""

from __future__ import annotations

from tierwise.report import numbers as n
from tierwise.report._base import Row, Section, by_tier, needed, usd
from tierwise.report.reading import RunFiles, TierFiles
from tierwise.report.words import bucket_names, recipe_in_words


def recipe_rows(tier: TierFiles) -> list[Row]:
    """A row a bucket of the policy that was exported, easiest first."""
    file = needed(tier.policy, f"policies/{tier.name}.yaml")
    expected, difficulty = file.expected, file.policy.difficulty
    measured = expected.get("buckets") or [{}] * len(file.policy.buckets)
    names = bucket_names(len(file.policy.buckets))
    rows = []
    for i, recipe in enumerate(file.policy.buckets):
        low, high = measured[i].get("score_ci95") or (None, None)
        rows.append(
            {
                "tier": tier.name,
                "model": file.tier.model,
                "operating_point": tier.summary.operating_point,
                "gate": tier.summary.gate,
                "bucket": names[i],
                "share": file.shares[i] if file.shares else None,
                "variants": " + ".join(variant.label for variant in recipe.variants),
                "strategy": str(recipe.strategy),
                "in_words": recipe_in_words(recipe),
                "signal": difficulty.signal,
                "thresholds": ", ".join(f"{cut:g}" for cut in difficulty.thresholds),
                "bucket_score": measured[i].get("score"),
                "bucket_score_low": low,
                "bucket_score_high": high,
                "score": expected.get("score"),
                "usd_per_item": expected.get("usd_per_item"),
            }
        )
    return rows


def _rows(run: RunFiles) -> list[Row]:
    return by_tier(run, recipe_rows)


def _cells(row: Row) -> tuple[str, ...]:
    first = row["bucket"] in ("all", "easy", "b1")
    return (
        row["tier"] if first else "",
        row["bucket"],
        n.share(row["share"]),
        row["in_words"],
        n.score(row["bucket_score"]),
        usd(row["usd_per_item"]) if first else "",
        (f"{row['signal']} at {row['thresholds']}" if row["thresholds"] else "") if first else "",
        row["gate"] if first else "",
    )


SECTION = Section(
    "the policy of each tier, bucket by bucket",
    _rows,
    ("tier", "bucket", "share>", "what is done", "score>", "$/1,000>", "told apart by", "gate"),
    _cells,
)
