"""Calibration calls: the first of the search, kept for it; and what smaller budgets give up."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.runs.test_tune import calls, samples
from tests.search.scripted_job import OPENING, TINY, install, make_job, run
from tierwise.cli import main
from tierwise.pool import SamplePool
from tierwise.runs import calibrate as calibrating
from tierwise.runs.plan import TierPlan, at_lengths_seen, plan, remaining, sizes
from tierwise.runs.prepare import prepare
from tierwise.schema import Budget, Job, TierSpec, default_job, load_job, override
from tierwise.search import RunDir


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch)
    monkeypatch.setattr(calibrating, "open_model", OPENING.open_model)
    return make_job(tmp_path / "job")


def test_nothing_of_a_calibration_is_wasted_or_bought_twice(job: Path, tmp_path: Path) -> None:
    out, plain = tmp_path / "calibrated", tmp_path / "plain"
    wanted = load_job(job)
    begun = RunDir.start(out, wanted)
    paces = calibrating.calibrate(prepare(wanted), begun, list(wanted.tiers), TINY)
    bought = samples(out)
    assert 0 < bought == sum(p.calls for p in paces.values()) * TINY.screen_samples
    again = calibrating.calibrate(prepare(wanted), begun, list(wanted.tiers), TINY)
    assert {p.calls for p in again.values()} == {0}
    run(job, out)
    run(job, plain)
    assert samples(out) == samples(plain)
    assert calls(out) == calls(plain)


def test_a_calibrated_plan_is_near_what_is_spent(job: Path, tmp_path: Path) -> None:
    wanted = load_job(job)
    begun = RunDir.start(tmp_path / "run", wanted)
    whole = plan(prepare(wanted), TINY)
    calibrating.calibrate(prepare(wanted), begun, list(wanted.tiers), TINY)
    seen = at_lengths_seen(whole, begun)
    left = remaining(whole, begun, wanted)
    result = run(job, tmp_path / "run")
    for name in result.found:
        screened = [tier.tiers[name].stages[0].expected for tier in (whole, seen, left)]
        assert screened[1].usd > 1.2 * screened[0].usd  # answers are longer than a sixth of the cap
        assert screened[2].calls < screened[1].calls
        with SamplePool.open(begun.pool, read_only=True) as pool:
            spent = pool.bought(begun.run, name)["screen"]
        assert screened[1].usd == pytest.approx(spent.usd, rel=0.25)


def test_minutes_come_from_the_pace_and_the_limits() -> None:
    prepared = prepare(Job(space="quick", tiers={"a": TierSpec("embedded/small")}))
    tier = plan(prepared).tiers["a"]
    assert tier.minutes is None
    paced = replace(tier, seconds_a_call=0.6)
    expected, worst = paced.minutes
    assert expected == pytest.approx(tier.expected.calls * 0.01)
    assert worst > expected
    limited = replace(paced, tier=replace(tier.tier, limits={"rpm": 10}))
    assert limited.minutes[0] == pytest.approx(tier.expected.calls / 10)
    assert isinstance(tier, TierPlan)


def test_smaller_budgets_tell_less_and_are_what_the_search_asks_for() -> None:
    prepared = prepare(override(default_job(), space="quick"))
    found = sizes(prepared, plan(prepared))
    assert len(found) > 2
    for larger, smaller in pairwise(found):
        assert smaller.budget_usd < larger.budget_usd
        assert smaller.expected_usd < larger.expected_usd
        assert smaller.tells >= larger.tells
    assert found[-1].tells > found[0].tells
    for size in found:
        job = replace(prepared.job, budget=Budget(usd=size.budget_usd * 1.001))
        for tier in plan(replace(prepared, job=job)).tiers.values():
            for stage in tier.stages:
                assert stage.items == pytest.approx(size.items[stage.stage], rel=0.01, abs=1)


def test_without_a_terminal_and_unasked_no_call_is_made(tmp_path, capsys):
    out = tmp_path / "run"
    main(["plan", "--space", "quick", "--tier", "a=embedded/small", "--out", str(out)])
    assert "What a smaller budget gives up" in capsys.readouterr().out
    assert not out.exists()


def test_calls_that_cost_money_need_a_yes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    job = tmp_path / "job.yaml"
    job.write_text(
        "space: quick\ntiers:\n  a:\n    model: openai/gpt-4o-mini\n"
        "    price: {prompt_usd_per_mtok: 0.15, completion_usd_per_mtok: 0.6}\n"
        "    modes: {direct: {max_tokens: 40}}\n"
    )
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(job), "--calibrate", "--out", str(out)])
    assert ended.value.code == 2
    assert "add --yes" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_calibrates_and_keeps_the_plan(tmp_path, capsys):
    out = tmp_path / "run"
    args = ["plan", "--space", "quick", "--tier", "a=embedded/small", "--out", str(out)]
    main([*args, "--calibrate", "--json"])
    found = json.loads(capsys.readouterr().out)
    total = found["stages"][-1]
    assert 0 < total["minutes"] <= total["worst_minutes"]
    kept = json.loads((out / "plan.json").read_text())["tiers"]["a"]
    assert kept["expected"]["usd"] >= total["usd"] > 0
    assert found["smaller"][0]["tells"] < found["smaller"][-1]["tells"]
