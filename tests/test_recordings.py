"""Tuning on recorded answers of real models, where there are any beside, and
benchmarks/recordings.py."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tierwise.report.html import write_report
from tierwise.runs.tune import tune
from tierwise.schema import load_job

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT.parent / "shared" / "recordings"

pytestmark = [
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings of real models here"),
    pytest.mark.timeout(1800),
]


def game(folder: Path, *, verifier: bool) -> Path:
    """A finished run on the game of 24, with or without its verifier, which the space does not
    name."""
    stem = RECORDINGS / "game24_gpt4_100_draws"
    items = gzip.decompress(stem.with_suffix(".items.jsonl.gz").read_bytes())
    (folder / "items.jsonl").write_bytes(items)
    fields = sorted(json.loads(items.splitlines()[0])["inputs"])
    (folder / "rec.jsonl.gz").write_bytes(stem.with_suffix(".jsonl.gz").read_bytes())
    (folder / "rec.items.jsonl").write_bytes(items)
    told = {"name": "game24", "inputs": fields, "items": "items.jsonl", "metric": "recorded"}
    told |= {"verifiers": ["game24"]} if verifier else {}
    (folder / "task.yaml").write_text(json.dumps(told))
    price = {"prompt_usd_per_mtok": 30, "completion_usd_per_mtok": 60}
    tier = {"model": "recorded/gpt-4", "recordings": "rec.jsonl.gz", "price": price}
    job = {"task": "task.yaml", "tiers": {"gpt-4": tier}, "operating_point": "quality"}
    (folder / "job.yaml").write_text(json.dumps({**job, "baseline": "io", "trials": 60}))
    tune(load_job(folder / "job.yaml"), folder / "run")
    return folder / "run"


def test_with_a_verifier_many_samples_of_the_worse_prompt_win_and_without_it_they_do_not(
    tmp_path: Path,
) -> None:
    told = {}
    for how in ("with", "without"):
        (tmp_path / how).mkdir()
        run = game(tmp_path / how, verifier=how == "with")
        tier = json.loads((run / "summary.json").read_text())["tiers"]["gpt-4"]
        told[how] = (tier["gate"], (run / "policies" / "gpt-4.yaml").read_text())
        assert write_report(run).is_file()
    gate, policy = told["with"]
    assert gate == "passed"
    assert "kind: best_of_n" in policy
    assert "prompt: cot" in policy
    gate, policy = told["without"]
    assert gate != "passed"
    assert "prompt: cot" not in policy


@pytest.mark.slow
def test_the_benchmark_judges_a_split(tmp_path: Path) -> None:
    script = [sys.executable, ROOT / "benchmarks" / "recordings.py", RECORDINGS]
    out = ["--out", tmp_path / "splits.jsonl"]
    subprocess.run([*script, *out, "--pools", "support", "--splits", "0"], check=True)
    shown = subprocess.run([*script, *out, "--show"], check=True, capture_output=True, text=True)
    assert "support" in shown.stdout
