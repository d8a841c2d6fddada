"""What the commands print, where, and how they exit."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import click
import pytest

from tests.cli.running import Cli, install_small
from tests.schema.folders import make_task
from tests.search.scripted_job import make_job
from tierwise.cli import COMMANDS, main
from tierwise.cli.tune import command as tune_command
from tierwise.pool import SamplePool
from tierwise.pool.store import Book, Settlement
from tierwise.runs.prepare import prepare
from tierwise.schema import Usage, UsageLimits, default_job
from tierwise.schema.files import names_of, shipped
from tierwise.schema.job import LEVEL, OPERATING_POINTS, GateMode
from tierwise.search import RunDir

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "examples" / "serving" / "arithmetic-small.yaml"
STAGES = ["screen", "race", "study", "test"]


def test_help_lists_every_command(cli: Cli) -> None:
    got = cli("--help")
    assert got.code == 0
    for name in COMMANDS:
        assert f"  {name} " in got.out
        assert cli(name, "--help").code == 0


def test_an_option_of_the_job_offers_what_the_job_takes() -> None:
    offered = {
        option.name: tuple(option.type.choices)
        for option in tune_command.params
        if isinstance(option.type, click.Choice)
    }
    assert offered == {"operating_point": (*OPERATING_POINTS, LEVEL), "gate": get_args(GateMode)}


def test_version(cli: Cli) -> None:
    assert version("tierwise") in cli("--version").out


def test_a_job_that_names_no_space_goes_on_with_its_own_run(cli: Cli, tmp_path: Path) -> None:
    job = prepare(default_job()).job
    RunDir.start(tmp_path / "run", job)
    got = cli("tune", "--yes", "--max-calls", "1", "--out", tmp_path / "run")
    assert "holds another job" not in got.err
    assert got.code == 3, "the folder is its own; the budget is too small"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A job and its run, made once."""
    folder = tmp_path_factory.mktemp("finished")
    job = make_job(folder / "job")
    with pytest.MonkeyPatch.context() as patch:
        install_small(patch)
        main(["tune", str(job), "--yes", "--quiet", "--out", str(folder / "run")])
    return job, folder / "run"


@pytest.fixture
def job(finished: tuple[Path, Path]) -> Path:
    return finished[0]


@pytest.fixture
def tuned(finished: tuple[Path, Path], models: list, tmp_path: Path) -> Path:
    """The run, in a copy of the test's own."""
    return shutil.copytree(finished[1], tmp_path / "run")


def test_quiet_prints_the_paths_of_the_policies_alone(cli: Cli, job: Path, tuned: Path) -> None:
    got = cli("tune", job, "--yes", "--quiet", "--out", tuned)
    assert got.out.splitlines() == [
        str(tuned / "policies" / f"{t}.yaml") for t in ("weak", "strong")
    ]
    assert got.err == ""
    assert cli("replay", "--quiet", tuned) == got


def test_json_is_the_summary(cli: Cli, job: Path, tuned: Path) -> None:
    got = cli("tune", job, "--yes", "--json", "--out", tuned)
    assert json.loads(got.out) == json.loads((tuned / "summary.json").read_text())
    assert cli("replay", "--json", tuned).out == got.out


def test_the_table_names_tiers_gate_and_files(cli: Cli, job: Path, tuned: Path) -> None:
    got = cli("tune", job, "--yes", "--out", tuned)
    for text in ("weak", "strong", "gate", "passed", str(tuned / "policies")):
        assert text in got.out.replace("\n", ""), text


def test_log_json_is_a_line_an_event(cli: Cli, job: Path, models: list, tmp_path: Path) -> None:
    got = cli("tune", job, "--yes", "--quiet", "--log-json", "--out", tmp_path / "run")
    events = [json.loads(line) for line in got.err.splitlines()]
    for tier in ("weak", "strong"):
        mine = [e for e in events if e["tier"] == tier]
        assert [e["stage"] for e in mine if e["event"] == "started"] == STAGES
        assert mine[-1] == {**mine[-1], "event": "finished", "ok": True}
        bought = [e for e in mine if e["event"] == "bought"]
        assert [e["calls"] for e in bought] == sorted(e["calls"] for e in bought)
        assert set(bought[0]["progress"]) == {"done", "planned", "calls", "usd", "waiting"}


def test_another_job_in_the_folder_is_refused_and_fresh_begins_beside_it(
    cli: Cli, job: Path, tuned: Path
) -> None:
    before = {p: p.read_bytes() for p in tuned.rglob("*") if p.is_file()}
    again = ("tune", job, "--yes", "--quiet", "--seed", 5, "--out", tuned)
    got = cli(*again)
    assert got.code == 2
    assert "holds another job" in got.err
    assert cli(*again, "--fresh").code == 0
    assert (tuned.parent / "run-2" / "summary.json").exists()
    assert {p: p.read_bytes() for p in tuned.rglob("*") if p.is_file()} == before


def test_a_budget_that_is_too_small_exits_with_3(
    cli: Cli, job: Path, models: list, tmp_path: Path
) -> None:
    got = cli("tune", job, "--yes", "--quiet", "--max-calls", 30, "--out", tmp_path / "run")
    assert got.code == 3
    assert got.err.count("error:") == 1
    assert "the budget is too small for tier 'weak'" in got.err
    assert sum(m.calls for m in models) == 0


def test_pool_stats_counts_the_samples(cli: Cli, tuned: Path) -> None:
    rows = json.loads(cli("pool", "stats", tuned, "--json").out)
    with sqlite3.connect(tuned / "pool.sqlite") as db:
        samples = db.execute("SELECT count(*) FROM samples").fetchone()[0]
    db.close()
    assert sum(row["samples"] for row in rows["models"]) == samples
    assert {row["model"] for row in rows["models"]} == {"scripted/weak", "scripted/strong"}
    assert rows["looks"] == 2
    assert f"{rows['models'][0]['samples']:,}" in cli("pool", "stats", tuned / "pool.sqlite").out
    assert cli("pool", "stats", tuned / "policies").code == 2


def test_pool_stats_says_what_may_be_billed_without_an_answer(cli: Cli, tmp_path: Path) -> None:
    book, worst = Book("r", "small"), Usage(calls=1, completion_tokens=20, usd=2.0)
    with SamplePool.open(tmp_path / "pool.sqlite") as pool:
        purchase = pool.reserve(book, worst)
        assert isinstance(purchase, int)
        pool.lose(purchase, worst, "timeout", book, UsageLimits())
        pool.exchange(book, [Settlement(purchase, (), Usage())])
    said = " ".join(cli("pool", "stats", tmp_path / "pool.sqlite").out.split())
    assert "possibly billed beside: 1 call without an answer" in said
    assert "at most 20 tokens, $2" in said


@pytest.mark.parametrize("kind", ["tasks", "search_spaces"])
def test_check_finds_no_fault_in_shipped_content(kind: str, cli: Cli) -> None:
    for name in names_of(kind):
        path = shipped(kind) / (name if kind == "tasks" else f"{name}.yaml")
        got = cli("check", path)
        if got.code == 0:
            assert "no faults" in got.out
            assert got.err == ""
        else:  # the only faults: items that must be fetched, a metric that is an extra
            absent = r"\S+: (no such file: .* says where it comes from\)|.* is not installed: .*)"
            assert all(re.fullmatch(absent, line) for line in got.err.splitlines()), got.err
    assert cli("check", shipped("tasks") / "arithmetic").code == 0


def test_check_finds_no_fault_in_what_a_run_wrote(cli: Cli, tuned: Path) -> None:
    for path in (tuned / "job.yaml", tuned / "policies" / "weak.yaml", POLICY):
        assert cli("check", path).code == 0


def test_check_shows_every_fault_with_its_line(cli: Cli, tmp_path: Path) -> None:
    task = make_task(tmp_path / "sums")
    text = (task / "task.yaml").read_text()
    (task / "task.yaml").write_text(text.replace("metric:", "metrik:").replace("inputs:", "input:"))
    got = cli("check", task)
    assert got.code == 2
    assert {line.split(": ")[0] for line in got.err.splitlines()} >= {
        f"{task / 'task.yaml'}:3",
        f"{task / 'task.yaml'}:6",
    }
    rows = json.loads(cli("check", task, "--json").out)
    assert [f"{r['path']}:{r['line']}: {r['message']}" for r in rows if r["line"]] == [
        line for line in got.err.splitlines() if f"{task / 'task.yaml'}:" in line
    ]


SCRIPTED = """
import sys, pytest
from tests.cli.running import install_small
from tierwise.cli import main
with pytest.MonkeyPatch.context() as patch:
    install_small(patch, float(sys.argv[1]))
    main(sys.argv[2:])
"""


def started(job: Path, out: Path, delay_s: float, *more: str) -> subprocess.Popen[str]:
    """``tierwise tune`` over scripted models, as a process of its own."""
    words = [sys.executable, "-c", SCRIPTED, str(delay_s), "tune", job, "--yes", "--out", out]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*words, *more], stdout=pipe, stderr=pipe, text=True, cwd=ROOT, start_new_session=True
    )


def started_and_busy(job: Path, out: Path) -> subprocess.Popen[str]:
    """The same, in the middle of a purchase that takes seconds."""
    process = started(job, out, 1.0, "--log-json")
    assert process.stderr is not None
    for line in process.stderr:
        if '"bought"' in line:
            break
    return process


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What it said until it was gone, once the signal was sent as a terminal sends it."""
    os.killpg(process.pid, number)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    words = [line for line in err.splitlines() if not line.startswith("{")]
    assert "Traceback" not in err
    return " ".join(words)


GOES_ON = "the same command goes on where this stopped"


def test_a_second_process_is_told_of_the_first_which_goes_on_after_an_interrupt(
    job: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with started_and_busy(job, out) as first:
        with started(job, out, 0.0) as second:
            _, err = second.communicate()
        assert second.returncode == 2
        assert f"{out} is in use by process {first.pid} on " in err
        assert GOES_ON in stopped(first, signal.SIGINT)
    assert not (out / "summary.json").exists()
    with started(job, out, 0.0, "--quiet") as again:
        said, err = again.communicate()
    assert (again.returncode, err) == (0, "")
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_exits_with_130_and_says_how_to_go_on(
    number: signal.Signals, job: Path, tmp_path: Path
) -> None:
    with started_and_busy(job, tmp_path / "run") as process:
        assert GOES_ON in stopped(process, number)


def test_a_run_goes_on_when_nobody_reads_what_it_says(job: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(job, out, 0.05, "--log-json") as process:
        process.stderr.readline()
        process.stderr.close()
        process.stdout.close()
        process.wait()
    assert (out / "summary.json").exists()
    assert sorted(p.name for p in (out / "policies").iterdir()) == ["strong.yaml", "weak.yaml"]


def test_an_interrupted_command_whose_terminal_is_gone_ends_as_interrupted(monkeypatch) -> None:
    """SIGHUP: click cannot write its line to a terminal that was closed."""

    def interrupted(*args: object, **more: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise OSError(errno.EIO, os.strerror(errno.EIO))  # noqa: B904  as click raises it

    monkeypatch.setattr("tierwise.cli.cli.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["tasks"])
    assert ended.value.code == 130
