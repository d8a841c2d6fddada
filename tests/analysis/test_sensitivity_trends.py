"""Whether PSS falls with the tier is told within families of paraphrases, or not at all."""

from __future__ import annotations

from tierwise.analysis.prompts import sensitivity_trends
from tierwise.analysis.tier_files import NotShown
from tierwise.schema.result import PromptSensitivity


def tiers(pss: dict[str, list[float]]) -> list[list[PromptSensitivity]]:
    """Tiers by place, each with its families' PSS; the stronger the tier, the higher its score."""
    return [
        [
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
        for place in range(3)
    ]


def test_stronger_tiers_that_are_less_sensitive_are_seen_within_families() -> None:
    # Families differ much more than tiers do: over all points together nothing would be seen.
    falling = {f"f{i}": [i + 0.3, i + 0.2, i + 0.1] for i in range(4)}
    rows = sensitivity_trends(tiers(falling | {"*": [0.0, 5.0, 9.0]}), seed=0)
    assert [row.with_ for row in rows] == ["place of the tier", "score"]
    for row in rows:
        assert row.spearman.mean < -0.9
        assert row.spearman.high < -0.9
        assert (row.families, row.points) == (4, 12)


def test_two_families_say_nothing() -> None:
    (row,) = sensitivity_trends(tiers({"f": [0.3, 0.2, 0.1], "g": [0.3, 0.2, 0.1]}), seed=0)
    assert isinstance(row, NotShown)
    assert "fewer than three" in row.note
