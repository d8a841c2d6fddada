"""A plan counts the proposer and what it may propose; nobody pays for one without being asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tierwise.cli import main

JOB = """task: arithmetic
space: quick
tiers:
  small: {model: embedded/small}
budget: {usd: 5}
proposals:
  model: {model: openai/some, price: {prompt_usd_per_mtok: 1, completion_usd_per_mtok: 4},
          modes: {direct: {max_tokens: 500}}}
  rounds: 2
  instructions: 4
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return str(path)


Planned = Callable[[str], dict[str, Any]]


@pytest.fixture
def planned(capsys: pytest.CaptureFixture[str]) -> Planned:
    def plan(path: str) -> dict[str, Any]:
        main(["plan", path, "--json"])
        return dict(json.loads(capsys.readouterr().out))

    return plan


def test_the_proposer_is_a_tier_of_the_plan_and_its_variants_are_counted(
    job: str, planned: Planned
) -> None:
    shown = planned(job)
    stages = {(s["tier"], s["stage"]): s for s in shown["stages"]}
    assert stages["proposer", "round 1"]["calls"] == 4
    assert stages["proposer/small", "round 2"]["calls"] == 4
    worst = [stages[book, "total"]["worst_usd"] for book in ("proposer", "proposer/small")]
    assert sum(worst) <= 0.5  # a tenth of the budget, half of it for the first round
    plain = Path(job).with_name("plain.yaml")
    plain.write_text(JOB[: JOB.index("proposals:")])
    without = next(s for s in planned(str(plain))["stages"] if s["stage"] == "screen")
    # Four prompts that may come, in two modes.
    assert stages["small", "screen"]["variants"] == without["variants"] + 4 * 2
    assert stages["small", "rounds"]["samples"] > 0
    assert shown["paid"] == ["proposer", "proposer/small"]


def test_a_paid_proposer_is_asked_about_even_where_the_tiers_cost_nothing(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tune", job, "--out", str(tmp_path / "run"), "--quiet"])
    assert end.value.code == 2
    assert "on proposer, proposer/small; add --yes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
