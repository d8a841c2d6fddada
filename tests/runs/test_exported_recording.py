"""What a run bought is a recording that a tier answers from, and goes back into a pool as it
was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Cli
from tests.search.scripted_job import TINY, install, make_job, run
from tierwise.llm.recorded import Recording
from tierwise.pool import SamplePool
from tierwise.runs.tune import tune
from tierwise.schema import load_job

RECORDED = """task: task
space: space.yaml
seed: 3
trials: 24
tiers:
  weak:
    model: recorded/scripted/weak
    recordings: out.jsonl.gz
    price: {prompt_usd_per_mtok: 1, completion_usd_per_mtok: 5}
"""


def test_an_exported_run_is_a_recording_and_is_imported_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli, out = Cli(capsys), tmp_path / "out.jsonl.gz"
    with monkeypatch.context() as patch:
        install(patch)
        bought = run(make_job(tmp_path), tmp_path / "run")
        got = cli("pool", "export", tmp_path / "run", out)
    with SamplePool.open(bought.run.pool) as pool:
        n = pool.counts("samples")
        keys = {key: range(100) for key, *_ in pool.requests()}
        assert got.code == 0
        assert f"{n:,} completions" in got.out
        assert cli("pool", "import", tmp_path / "other.sqlite", out).out.startswith(f"{n:,} ")
        assert f"0 completions are new, {n:,}" in cli("pool", "import", pool.path, out).out
        with SamplePool.open(tmp_path / "other.sqlite") as other:
            assert other.sha256(keys) == pool.sha256(keys)
    recording = Recording.load(out, "scripted/weak")
    lines = (tmp_path / "task" / "items.jsonl").read_text().splitlines()
    asked = {json.loads(line)["inputs"]["question"] for line in lines}
    assert {item.inputs["question"] for item in recording.items} == asked
    assert {variant.prompt for variant in recording.variants} == {"plain", "steps", "shout"}
    (tmp_path / "recorded.yaml").write_text(RECORDED)
    again = tune(load_job(tmp_path / "recorded.yaml"), tmp_path / "again", search_size=TINY)
    assert (list(again.policies), again.failed) == (["weak"], {})
