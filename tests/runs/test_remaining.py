"""What is left to buy of a run that has begun, and what nobody is asked about a second time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.scripted_job import TINY, install, make_job, run
from tierwise.cli import main
from tierwise.pool import SamplePool
from tierwise.runs.plan import Plan, TierPlan, plan, remaining
from tierwise.runs.prepare import prepare
from tierwise.schema import Job, Usage, UsageLimits, load_job, override
from tierwise.search import Event, RunDir, Started

ORDER = ("screen", "race", "study", "test")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = make_job(tmp_path_factory.mktemp("job"))
    path.write_text(path.read_text().replace("  strong: {model: scripted/strong}\n", ""))
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        yield path


@pytest.fixture(scope="module")
def at_test(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended where the test begins; not to be gone on with."""
    out = tmp_path_factory.mktemp("begun") / "run"
    begun(job, out, "test")
    return out


class Stop(Exception):
    pass


def until(stage: str):
    def listener(event: Event) -> None:
        if isinstance(event, Started) and event.stage == stage:
            raise Stop

    return listener


def begun(job: Path, out: Path, stage: str) -> None:
    """Run it until a stage begins."""
    with pytest.raises(Stop):
        run(job, out, listener=until(stage))


def left(job: Job, out: Path) -> tuple[Plan, TierPlan]:
    whole = plan(prepare(job), TINY)
    return whole, remaining(whole, RunDir.open(out), job).tiers["weak"]


def spent(out: Path) -> Usage:
    with SamplePool.open(out / "pool.sqlite", read_only=True) as pool:
        return pool.spent(RunDir.open(out).run)


@pytest.mark.parametrize("stage", ["race", "study", "test"])
def test_stages_that_are_bought_are_not_planned_again(
    stage: str, job: Path, tmp_path: Path
) -> None:
    begun(job, tmp_path / "run", stage)
    before = spent(tmp_path / "run")
    whole, tier = left(load_job(job), tmp_path / "run")
    fresh = whole.tiers["weak"]
    by = {s.stage: s for s in tier.stages}
    last = ORDER[ORDER.index(stage) - 1]  # whose end nobody can see
    assert all(by[s].samples == 0 for s in ORDER[: ORDER.index(last)])
    there = {s.stage: s for s in fresh.stages}[last]
    assert by[last].expected.calls <= 3 + 0.25 * there.expected.calls
    assert all(
        by[s].samples == f.samples
        for s, f in zip(ORDER, fresh.stages, strict=True)
        if ORDER.index(s) >= ORDER.index(stage)
    )
    assert tier.bought is not None
    assert tier.bought.totals() == before.totals()
    run(job, tmp_path / "run")
    more = spent(tmp_path / "run").usd - before.usd
    assert 0 < more <= tier.worst.usd < fresh.worst.usd
    with SamplePool.open(tmp_path / "run" / "pool.sqlite", read_only=True) as pool:
        bought = pool.bought(RunDir.open(tmp_path / "run").run, "weak")
    for name in ("race", "study")[("race", "study", "test").index(stage) :]:
        assert by[name].expected.usd == pytest.approx(bought[name].usd, rel=0.3)


def test_what_is_expected_goes_by_what_samples_turned_out_to_cost(job: Path, at_test: Path) -> None:
    """Answers of the scripted model are shorter than half of their cap."""
    whole, tier = left(load_job(job), at_test)
    measured = spent(at_test).usd / sum(s.expected.usd for s in whole.tiers["weak"].stages[:3])
    for now, before in zip(tier.stages[3:], whole.tiers["weak"].stages[3:], strict=True):
        assert now.expected.usd == pytest.approx(before.expected.usd * measured, rel=0.25)


def test_a_run_that_has_finished_buys_nothing_more(job: Path, tmp_path: Path) -> None:
    run(job, tmp_path / "run")
    wanted = load_job(job)
    _, tier = left(wanted, tmp_path / "run")
    assert tier.expected.usd == tier.worst.usd == 0
    richer = override(wanted, budget_usd=1000.0)
    assert left(richer, tmp_path / "run")[1].worst.usd > 0


def test_what_is_left_is_within_what_is_left_of_a_budget(job: Path, at_test: Path) -> None:
    before = spent(at_test)
    wanted = load_job(job)
    whole = plan(prepare(wanted), TINY)
    capped = replace(
        whole.tiers["weak"], cap=UsageLimits(calls=before.calls + 7, usd=before.usd + 1e-6)
    )
    tier = remaining(Plan({"weak": capped}), RunDir.open(at_test), wanted).tiers["weak"]
    assert tier.worst.calls == 7
    assert tier.worst.usd == pytest.approx(1e-6)


def test_the_command_says_what_is_left(
    job: Path, at_test: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", str(job), "--out", str(at_test), "--json"])
    told = json.loads(capsys.readouterr().out)
    samples = {row["stage"]: row["samples"] for row in told["stages"]}
    assert samples["screen"] == 0 < samples["test"]
    assert "samples are there already" in " ".join(told["remarks"])
    main(["plan", str(job), "--out", str(at_test), "--fresh", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["stages"][0]["samples"] > 0
    assert "there already" not in " ".join(told["remarks"])
