"""What a finished run shows: no number is broken in a narrow terminal, and a verdict."""

from __future__ import annotations

import io
from dataclasses import fields

import pytest
from rich.console import Console

from tierwise.cli._results import fitting_table, verdict
from tierwise.schema.measured import CrossFittedScore, GateName, Measured, Paired, PointSummary
from tierwise.schema.result import TierSummary


def tier(low: float | None, gate: GateName) -> TierSummary:
    """As much of a tier's summary as the table and the sentence read."""
    baseline = Measured("test", "plain", 40, 0.5, (0.4, 0.6), 1e-4, (1e-4, 1e-4), 4.7, 1.0)
    point = PointSummary(
        **vars(baseline),
        gate=gate,
        trial=3,
        buckets=(),
        signal="none",
        thresholds=(),
        stuck_in_mode=None,
        validation=CrossFittedScore(90, 0.6, (0.5, 0.7), 1e-4, 0.1, (0.0, 0.2)),
        against_baseline=Paired(0.1, (low, 0.2), 23.9, (20.0, 30.0), 0.01),
        pooled_difference=0.1,
        pooled_difference_ci95=(low, 0.2),
    )
    unread = dict.fromkeys(field.name for field in fields(TierSummary))
    said = {"operating_point": "balanced", "gate": gate, "baseline": baseline}
    return TierSummary(**{**unread, **said, "operating_points": {"balanced": point}})


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_a_table_takes_one_line_a_tier_and_breaks_no_number(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    table = fitting_table(
        {"small": tier(0.05, "passed"), "mini": tier(0.05, "not passed")}, console
    )
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert len(lines) == 3
    assert "…" not in captured.get()
    assert all("+0.100 [+0.05, +0.20]" in line for line in lines[1:])
    assert ("baseline prompt" in lines[0]) == (width >= 100)


@pytest.mark.parametrize(
    ("low", "gate", "said"),
    [
        (0.05, "passed", "over the baseline prompt"),
        (-0.01, "passed", "as good as the baseline prompt"),
        (-0.01, "not passed", "the baseline prompt stays"),
        (0.05, "not passed", "once corrected for all comparisons"),
        (None, "not passed", "[?, +20.0]"),
    ],
)
def test_a_verdict_says_what_the_gate_decided(low: float | None, gate: GateName, said: str) -> None:
    assert said in verdict(tier(low, gate))
