"""A whole run on scripted models: what it writes, again, replayed, interrupted and killed."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.search.scripted_job import JOB, OPENING, TINY, install, make_job, run
from tierwise.errors import BudgetError, InputError, ProviderError
from tierwise.evaluation import SampleTable
from tierwise.pool import SamplePool
from tierwise.runs.artifacts import read_run, stage_usage
from tierwise.runs.tune import replay, tune
from tierwise.schema import load_job, override
from tierwise.schema.policy_file import PolicyFile
from tierwise.search import Best, Bought, Event, Finished, RunDir, Started

TIERS = ("weak", "strong")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def whole(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody interrupted; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        run(job, out)
    return out


def files(out: Path) -> dict[str, bytes]:
    """Everything derived from the pool, but the study's own times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(("pool.", "study.journal"))
    }


def policies(out: Path) -> dict[str, str]:
    """Policy files but for when the run began."""
    return {
        path.name: re.sub(r"created: \S+( \S+)?", "created: then", path.read_text())
        for path in sorted((out / "policies").iterdir())
    }


def samples(out: Path) -> int:
    with SamplePool.open(out / "pool.sqlite", read_only=True) as pool:
        return pool.counts("samples")


def calls(out: Path) -> int:
    with SamplePool.open(out / "pool.sqlite", read_only=True) as pool:
        return pool.spent(RunDir.open(out).run).calls


def test_a_run_writes_policies_summary_trials_tables_and_study(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert list(summary["tiers"]) == list(TIERS)
    assert summary["failed"] == {}
    for name in TIERS:
        tier = summary["tiers"][name]
        file = PolicyFile.load(whole / "policies" / f"{name}.yaml")
        assert file.evidence.gate == tier["gate"]
        assert file.expected.score == pytest.approx(
            tier["operating_points"]["balanced"]["score"]
            if tier["gate"] == "passed"
            else tier["baseline"]["score"]
        )
        assert list(tier["ablation"]) == [
            "baseline_prompt_one_sample",
            "best_prompt_one_sample",
            "baseline_prompt_best_strategy",
            "disjoint",
            "joint_fixed_n",
            "joint_adaptive_stop",
            "full_policy",
        ]
        for step in [*tier["ablation"].values(), tier["oracle_bound"]]:
            low, high = step["score_ci95"]
            assert low <= step["score"] <= high
        table = SampleTable.load(whole / f"tables.{name}.npz")
        assert table.n_items == tier["items"]["validation"] == TINY.study_items
    with (whole / "trials.csv").open() as lines:
        trials = list(csv.DictReader(lines))
    assert {t["study"] for t in trials} == {f"sums/{t}/g{g}" for t in TIERS for g in (1, 2)}
    storage = JournalStorage(JournalFileBackend(str(whole / "study.journal")))
    for name in TIERS:
        study = optuna.load_study(study_name=f"sums/{name}/g2", storage=storage)
        told = {t.number: t.values for t in study.trials if t.values}
        for row in trials:
            if row["study"] == study.study_name:
                score, usd = told[int(row["trial"])]
                assert float(row["score"]) == pytest.approx(score, abs=1e-6)
                assert float(row["usd_per_item"]) == pytest.approx(usd)


def test_what_each_stage_bought_adds_up_and_stands_beside_the_plan(whole: Path) -> None:
    rows = stage_usage(read_run(whole))
    summary = json.loads((whole / "summary.json").read_text())
    for name in TIERS:
        own = [row for row in rows if row.tier == name]
        assert [row.stage for row in own] == ["screen", "race", "study", "test"]
        assert sum(row.spent.calls for row in own) == summary["tiers"][name]["spending"]["calls"]
        for row in own:
            assert row.spent.calls <= row.worst.calls
            assert row.spent.usd <= row.worst.usd


def test_the_summary_counts_what_the_pool_bought(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert sum(tier["spending"]["calls"] for tier in summary["tiers"].values()) == calls(whole)


def test_steps_are_found_to_be_better(whole: Path) -> None:
    weak = PolicyFile.load(whole / "policies" / "weak.yaml")
    assert weak.evidence.gate == "passed"
    assert "steps" in {variant.prompt for variant in weak.policy.variants}


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_the_same_command_again_buys_nothing_and_writes_the_same_bytes(
    job: Path, copied: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = install(monkeypatch)
    run(job, copied)
    assert sum(model.calls for model in opened) == 0
    assert files(copied) == files(whole)


def exploding(*args: object, **more: object) -> None:
    raise AssertionError("a replay opens no model")


def test_a_replay_writes_the_same_bytes_without_a_call(
    copied: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    monkeypatch.setattr(OPENING, "open_model", exploding)
    for name in ("summary.json", "trials.csv", "policies/weak.yaml"):
        (copied / name).write_bytes(b"" if name != "summary.json" else b"{}")
    replay(copied, search_size=TINY)
    assert files(copied) == files(whole)
    assert samples(copied) == samples(whole)


def test_what_did_not_finish_cannot_be_replayed(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path / "run", listener=interrupting(lambda e: isinstance(e, Bought)))
    with pytest.raises(InputError, match="did not finish"):
        replay(tmp_path / "run", search_size=TINY)
    with pytest.raises(InputError, match="not a run directory"):
        replay(tmp_path / "nowhere")


def interrupting(when: Callable[[Event], bool], nth: int = 1) -> Callable[[Event], None]:
    seen = 0

    def listener(event: Event) -> None:
        nonlocal seen
        seen += when(event)
        if seen == nth and when(event):
            raise KeyboardInterrupt

    return listener


def at(stage: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Started) and event.stage == stage


INTERRUPTIONS = {
    "screening": (lambda e: isinstance(e, Bought), 5),
    "study": (at("study"), 2),
    "a tier is done": (lambda e: isinstance(e, Finished), 1),
}
SLOW = {
    "first purchase": (lambda e: isinstance(e, Bought), 1),
    "race": (at("race"), 1),
    "a best policy": (lambda e: isinstance(e, Best), 4),
    "buying for study": (lambda e: isinstance(e, Bought) and e.stage == "study", 1),
    "test": (at("test"), 1),
}


@pytest.mark.parametrize(
    "moment", [*INTERRUPTIONS, *(pytest.param(m, marks=pytest.mark.slow) for m in SLOW)]
)
def test_an_interrupted_run_goes_on_to_the_same_policies(
    moment: str, job: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    install(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(job, out, listener=interrupting(*{**INTERRUPTIONS, **SLOW}[moment]))
    assert not (out / "summary.json").exists()
    before = samples(out)
    opened = install(monkeypatch)
    run(job, out)
    assert policies(out) == policies(whole)
    assert samples(out) == samples(whole)
    assert before + sum(model.samples for model in opened) == samples(out), (
        "nothing is bought twice"
    )


def killed(job: Path, out: Path, after: Callable[[], bool]) -> None:
    """Tune in a process of its own and kill it at a moment; it need not come to it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.search.scripted_job", job, out, "0.02"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while process.poll() is None and not after():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        errors = process.stderr.read()
        process.wait()
        process.stderr.close()
    assert process.returncode == -signal.SIGKILL, errors


def bought(out: Path) -> int:
    try:
        return samples(out)
    except (InputError, OSError):
        return 0


def finishes_as(whole: Path, job: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The same command after a kill; samples that were there before."""
    before = bought(out)
    opened = install(monkeypatch)
    run(job, out)
    assert policies(out) == policies(whole)
    assert samples(out) == samples(whole)
    assert before + sum(model.samples for model in opened) == samples(out)
    # What was in flight stays on the bill at its worst case: a chunk a tier, no more.
    assert calls(whole) <= calls(out) <= calls(whole) + 64 * len(TIERS)
    return before


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.slow), 0.7])
def test_a_killed_run_goes_on_to_the_same_policies(
    share: float, job: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, wanted = tmp_path / "run", share * samples(whole)
    killed(job, out, lambda: bought(out) >= wanted)
    before = finishes_as(whole, job, out, monkeypatch)
    assert wanted <= before < samples(whole)


@pytest.mark.slow
def test_ten_kills_at_random_moments(
    job: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    for k in range(10):
        out, wanted = tmp_path / f"run{k}", rng.random() * samples(whole) * 0.98
        pause = rng.random() * 0.05

        def moment(out: Path = out, wanted: float = wanted, pause: float = pause) -> bool:
            there = bought(out) >= wanted
            if there:
                time.sleep(pause)
            return there

        killed(job, out, moment)
        finishes_as(whole, job, out, monkeypatch)


def test_the_budget_is_kept_and_one_too_small_says_so(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    small = override(load_job(job), max_calls=40)
    with pytest.raises(BudgetError, match=r"too small for tier 'weak'.* needs about .* calls"):
        tune(small, tmp_path / "run", search_size=TINY)
    assert samples(tmp_path / "run") == 0


def test_one_tier_that_fails_leaves_the_other_its_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    opening = OPENING.open_model

    def half(tier, **more):
        if tier.name == "weak":
            raise ProviderError("the key is wrong")
        return opening(tier, **more)

    monkeypatch.setattr(OPENING, "open_model", half)
    result = run(make_job(tmp_path / "job", job=JOB), tmp_path / "run")
    assert list(result.policies) == ["strong"]
    assert result.summary.failed == {"weak": "the key is wrong"}
    assert not (tmp_path / "run" / "policies" / "weak.yaml").exists()
