"""Bad input: one clear message, exit code 2, no traceback, and nothing overwritten."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import Cli, Got

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "examples" / "serving" / "arithmetic-small.yaml"


def refused(got: Got, says: str, code: int = 2) -> None:
    assert got.code == code, got
    assert re.search(says, got.err), got.err
    assert got.err.count("error:") == 1
    assert len(got.err.strip().splitlines()) == 1, got.err
    assert "Traceback" not in got.err
    assert got.out == ""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def items(job: Path, change: Callable[[list[dict]], list[dict]]) -> None:
    path = job.parent / "task" / "items.jsonl"
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def without_target(rows: list[dict]) -> list[dict]:
    del rows[4]["target"]
    return rows


SPOILT = {
    "misspelt key in the job": (
        lambda j: edit(j, "trials:", "trails:"),
        r"job\.yaml:4: .*'trails'.*'trials'",
    ),
    "misspelt key in the task": (
        lambda j: edit(j.parent / "task/task.yaml", "metric:", "metrics:"),
        r"task\.yaml:7: .*'metrics'.*'metric'",
    ),
    "misspelt key in the space": (
        lambda j: edit(j.parent / "space.yaml", "modes:", "mode:"),
        r"space\.yaml:2: .*'mode'.*'modes'",
    ),
    "misspelt key in the prompts": (
        lambda j: edit(j.parent / "task/prompts.yaml", "user:", "usr:"),
        r"prompts\.yaml:2: .*'usr'.*'user'",
    ),
    "misspelt strategy": (
        lambda j: edit(j.parent / "space.yaml", "self_cons", "self_konz"),
        r"space\.yaml:5: .*'self_konzistency'.*'self_consistency'",
    ),
    "duplicate item ids": (
        lambda j: items(j, lambda rows: [*rows, rows[2]]),
        r"items\.jsonl:171: .*'i2' is here twice: first in line 3",
    ),
    "no items": (lambda j: items(j, lambda rows: []), r"items\.jsonl: there are no items"),
    "missing target": (
        lambda j: items(j, without_target),
        r"items\.jsonl:5: the target is missing",
    ),
    "a prompt that uses another field": (
        lambda j: edit(j.parent / "task/prompts.yaml", "{{ question }}", "{{ query }}"),
        r"prompts\.yaml:\d+: .*query.*question",
    ),
    "budget 0": (
        lambda j: edit(j, "trials:", "budget: {usd: 0}\ntrials:"),
        r"job\.yaml:4: .*budget\.usd.*",
    ),
    "no such task": (lambda j: edit(j, "task: task", "task: arithmetik"), "'arithmetic'"),
    "no such space": (lambda j: edit(j, "space: space.yaml", "space: defualt"), "'default'"),
    "no such operating point": (
        lambda j: edit(j, "trials:", "operating_point: balance\ntrials:"),
        r"job\.yaml:4: .*'balanced'",
    ),
    "no such baseline": (lambda j: edit(j, "trials:", "baseline: plane\ntrials:"), "'plain'"),
    "not YAML": (lambda j: j.write_text("task: [a"), r"job\.yaml:\d+"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_job_is_refused_and_the_run_that_is_there_stays(
    fault: str, cli: Cli, job: Path, models: list, tmp_path: Path
) -> None:
    spoil, says = SPOILT[fault]
    out = tmp_path / "run"
    (out / "policies").mkdir(parents=True)
    (out / "policies" / "weak.yaml").write_text("the policy of an earlier run")
    before = snapshot(out)
    spoil(job)
    got = cli("tune", job, "--yes", "--quiet", "--out", out)
    refused(got, says)
    assert snapshot(out) == before
    assert models == []
    got = cli("tune", job, "--yes", "--quiet", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists(), "nothing is begun either"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--task", "arithmetik"), "unknown task 'arithmetik'; did you mean 'arithmetic'"),
        (("--space", "quik"), "unknown search space 'quik'; did you mean 'quick'"),
        (("--budget-usd", "0"), "budget.usd must be above 0"),
        (("--max-calls", "0"), "budget.calls must be above 0"),
        (("--trials", "0"), "trials must be at least 1"),
        (("--tier", "a=embedded/smal"), r"'smal'; did you mean 'small'"),
        (("--tier", "a=embedded/"), "names no model"),
        (("--baseline", "plan"), "unknown prompt .*'plan'; did you mean 'plain'"),
        (("--min-score", "2"), "at most 1"),
        (("--min-score", ".5", "--usd-per-point", "1"), "one operating point"),
        (("nowhere.yaml",), "nowhere.yaml"),
    ],
)
def test_a_bad_option_is_refused(args: tuple, says: str, cli: Cli, tmp_path: Path) -> None:
    refused(cli("tune", *args, "--out", tmp_path / "run"), says)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "args", [("tune", "--tier", "small"), ("tune", "--trails", "3"), ("run",), ("pool", "stat")]
)
def test_a_bad_usage_shows_the_usage(args: tuple, cli: Cli) -> None:
    got = cli(*args)
    assert got.code == 2
    assert "Traceback" not in got.err
    assert got.err.count("Error:") == 1


def test_an_unknown_command_names_the_near_one(cli: Cli) -> None:
    refused(cli("tun"), "unknown command 'tun'; did you mean 'tune'")


def test_a_folder_with_something_else_in_it_is_left_alone(
    cli: Cli, job: Path, models: list, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    refused(cli("tune", job, "--yes", "--quiet", "--out", out), "is not a run directory")
    assert snapshot(out) == {str(out / "thesis.txt"): b"years"}


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_cannot_be_written_is_refused(
    mode: int, cli: Cli, job: Path, models: list, tmp_path: Path
) -> None:
    locked, other = tmp_path / "locked", tmp_path / "other"
    locked.mkdir()
    other.mkdir()
    (other / "x").touch()
    cli(
        "tune", job, "--yes", "--out", other
    )  # whatever is imported late: root's files may be nobody's
    root = os.geteuid() == 0
    if root:
        for path in (*tmp_path.rglob("*"), tmp_path, *tmp_path.parents):
            if "pytest" in str(path):
                path.chmod(path.stat().st_mode | 0o055)
    locked.chmod(mode)
    try:
        if root:
            os.seteuid(65534)
        got = cli("tune", job, "--yes", "--quiet", "--out", locked / "run")
    finally:
        if root:
            os.seteuid(0)
        locked.chmod(0o755)
    refused(got, f"{locked / 'run'}.*(denied|does not allow it)")
    assert not any(locked.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tierwise/policy/v1", "tierwise/policy/v2", r"p\.yaml:\d+: .*v2"),
        ("strategy:", "stratgey:", r"p\.yaml:\d+: .*'stratgey'.*'strategy'"),
        ("{{ question }}", "{{ query }}", r"p\.yaml:\d+: .*query"),
        ("embedded/small", "embedded/smal", "'smal'"),
    ],
)
def test_a_policy_that_cannot_be_run_is_refused(
    old: str, new: str, says: str, cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.read_text().replace(old, new, 1))
    assert path.read_text() != POLICY.read_text()
    refused(cli("run", path, "--input", "6 + 3"), says)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """In a copy of the package, which the workers' processes see too."""
    copy = tmp_path / "src" / "tierwise"
    shutil.copytree(
        ROOT / "optimizer" / "tierwise", copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    weights = copy / "llm" / "embedded" / "weights" / "small.npz"
    whole = weights.read_bytes()

    def cli(*args: object) -> Got:
        code = "import sys; from tierwise.cli import main; main(sys.argv[1:])"
        got = subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(copy.parent)},
            cwd=tmp_path,
        )
        return Got(got.returncode, got.stdout, got.stderr)

    weights.write_bytes(whole[:-50] + bytes(50))
    tune = (
        "tune",
        "--task",
        ROOT / "tasks/arithmetic",
        "--tier",
        "a=embedded/small",
        "--quiet",
        "--space",
        ROOT / "search_spaces/quick.yaml",
        "--out",
        tmp_path / "run",
    )
    for args in (("run", POLICY, "--input", "6 + 3"), tune):
        refused(cli(*args), r"small\.npz: the weights are damaged")
    assert not (tmp_path / "run" / "policies").exists()
    weights.unlink()
    refused(cli("run", POLICY, "--input", "6 + 3"), r"small\.npz: the weights are missing")


def test_a_policy_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    refused(cli("run", tmp_path / "nowhere.yaml", "--input", "6"), "nowhere.yaml")
