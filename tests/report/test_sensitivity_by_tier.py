"""Whether PSS falls with the tier is told within families of paraphrases, or not at all."""

from __future__ import annotations

from types import SimpleNamespace

from tierwise.report._base import NOTE
from tierwise.report.sensitivity_by_tier import by_tier_rows
from tierwise.schema.result import PromptSensitivity


def run(pss: dict[str, list[float]]) -> SimpleNamespace:
    """Tiers by place, each with its families' PSS; the stronger the tier, the higher its score."""
    tiers = {}
    for place in range(3):
        rows = [
            PromptSensitivity(
                family=family,
                mode="direct",
                temperature=0.8,
                prompts=(family,),
                pss=values[place],
                pss_ci95=(None, None),
                by_chance=None,
                spearman_with_confidence=None,
                mean_score=0.5 + 0.1 * place,
            )
            for family, values in pss.items()
        ]
        tiers[f"t{place}"] = SimpleNamespace(summary=SimpleNamespace(prompt_sensitivity=rows))
    return SimpleNamespace(tiers=tiers, seed=0)


def test_stronger_tiers_that_are_less_sensitive_are_seen_within_families() -> None:
    # Families differ much more than tiers do: over all points together nothing would be seen.
    falling = {f"f{i}": [i + 0.3, i + 0.2, i + 0.1] for i in range(4)}
    rows = {row["with"]: row for row in by_tier_rows(run(falling | {"*": [0.0, 5.0, 9.0]}))}
    assert set(rows) == {"place of the tier", "score"}
    for row in rows.values():
        assert row["spearman"] < -0.9
        assert row["spearman_high"] < -0.9
        assert (row["families"], row["points"]) == (4, 12)


def test_two_families_say_nothing() -> None:
    (row,) = by_tier_rows(run({"f": [0.3, 0.2, 0.1], "g": [0.3, 0.2, 0.1]}))
    assert "fewer than three" in row[NOTE]
