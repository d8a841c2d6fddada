"""docs/first_task.md, as a newcomer would follow it: every command, in order, in a new folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_docs_commands import MAIN, blocks, commands
from tierwise.schema.policy_file import PolicyFile

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first_task.md"
LOG = logging.getLogger(__name__)
"""Seconds of each command: ``--log-cli-level=INFO``."""


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow  # most of a minute; .ci/run runs it
@pytest.mark.timeout(300)
def test_the_page_works_as_shown(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "first_task", tmp_path / "examples" / "first_task")
    port = str(a_free_port())
    said = [line.replace("8765", port) for line in commands(PAGE)]
    assert len(said) == 10
    timed = [f'{line}\necho "took $SECONDS {line.split(">")[0][:40]!r}" >&2' for line in said]
    prelude = (
        f'set -eu\ntierwise() {{ "{sys.executable}" -c "{MAIN}" "$@"; }}\n'
        f'python() {{ exec "{sys.executable}" "$@"; }}\n'
    )
    kept = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
    started_s = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", prelude + "\n".join(timed)],
        cwd=tmp_path,
        env={**kept, "NO_PROXY": "127.0.0.1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    LOG.info(
        "%.0f s in all; %s",
        time.perf_counter() - started_s,
        [line for line in done.stderr.splitlines() if line.startswith("took")],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate" in done.stdout
    assert "answered" in done.stdout
    run = tmp_path / "runs" / "bills"
    (tier,) = json.loads((run / "summary.json").read_text())["tiers"].values()
    assert 0 < tier["spending"]["usd"] <= 0.30
    assert tier["gate"] == "not passed", "the page says so"
    file = PolicyFile.load(run / "policies" / "small.yaml")
    assert file.tier.model == "openai/practice"
    assert (run / "report.html").stat().st_size > 10_000


def test_what_the_page_shows_of_its_files_is_in_them() -> None:
    (shown,) = blocks(PAGE, "yaml")
    assert shown in (ROOT / "examples" / "first_task" / "job.yaml").read_text(encoding="utf-8")
    (rows,) = blocks(PAGE, "text")
    assert (ROOT / "examples" / "first_task" / "bills.csv").read_text().startswith(rows)
