"""docs/tasks_by_example.md and docs/judge.md run as they stand, on the practice server."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_docs import run_blocks
from tests.test_docs_commands import blocks
from tierwise.runs import load_task
from tierwise.runs.verify import Terms, opened_judging, verify
from tierwise.serving import PolicyRuntime

ROOT = Path(__file__).parents[1]
LOG = logging.getLogger(__name__)
"""Seconds of each page: ``--log-cli-level=INFO``."""


@pytest.fixture
def practice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The practice server, and a new folder with the checkout on the path."""
    monkeypatch.syspath_prepend(str(ROOT))
    server = importlib.import_module("examples.tasks_by_example.practice_server")
    with ThreadingHTTPServer(("127.0.0.1", 0), server.Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        for name in [n for n in os.environ if n.upper().endswith("_PROXY")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{serving.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "practice")
        monkeypatch.chdir(tmp_path)
        yield
        serving.shutdown()


def ran(page: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    started_s = time.perf_counter()
    module = run_blocks(ROOT / "docs" / page, monkeypatch)
    LOG.info("%s: %.0f s", page, time.perf_counter() - started_s)
    return module


@pytest.mark.slow  # nine searches and a program of two: minutes
@pytest.mark.timeout(1200)
def test_ten_tasks_come_to_policies(practice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ran("tasks_by_example.md", monkeypatch)
    for name, run in made.runs.items():
        tier = run.summary.tiers["mini"]
        LOG.info("%s: %.2f -> %.2f, %s", name, tier.baseline.score, tier.chosen.score, tier.gate)
        assert tier.baseline.score < tier.chosen.score, name
        assert run.policies["mini"].deployable
    assert made.runs["summary"].summary.tiers["mini"].judge.faults == ()
    assert set(made.program.policies) == {"city", "country"}


@pytest.mark.timeout(240)
def test_a_judged_task_comes_to_a_policy_that_asks_a_judge(
    practice: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples" / "judged_task", tmp_path / "examples" / "judged_task")
    made = ran("judge.md", monkeypatch)
    assert made.judge.faults == ()
    assert made.judge.agreement > 0.8
    assert made.policy.policy.buckets[0].strategy.kind == "judged_best_of_n"
    assert made.policy.judge is not None
    file = made.policy.save(tmp_path / "policy.yaml")
    loaded = load_task("examples/judged_task/task.yaml")
    terms = Terms(margin=0.2, items=64, seed=3)
    with opened_judging(loaded.judge, 3) as judging, PolicyRuntime.load(file, seed=3) as runtime:
        found = verify(runtime, loaded.task, terms, judging=judging)
        judged_usd = judging.pool.billed("verify").most.usd
    assert found.verdict == "holds"
    assert found.score == pytest.approx(made.policy.expected.score, abs=0.15)
    assert found.usd > judged_usd > 0
    task = (ROOT / "examples" / "judged_task" / "task.yaml").read_text(encoding="utf-8")
    assert blocks(ROOT / "docs" / "judge.md", "yaml")[1] in task
