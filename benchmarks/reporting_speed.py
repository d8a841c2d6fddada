"""What ``compare`` and ``report`` take on a large run: CPU seconds and peak memory, each.

    python benchmarks/reporting_speed.py [FOLDER]

3 tiers x 20 prompts x 1,000 items x 40 samples. The run is made once in FOLDER (left out: a
temporary one) by ``tune`` on made-up recordings of four samples, whose tables are then widened to
forty; each command runs in a process of its own, imports and all.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.evaluation import SampleTable
from tierwise.runs.tune import tune
from tierwise.schema import load_job

TIERS = {"small": (-0.6, 0.2), "medium": (0.3, 1.0), "large": (1.2, 5.0)}
"""Ability, and dollars for a million tokens."""

N_PROMPTS, N_ITEMS, RECORDED, N_SAMPLES = 20, 1000, 4, 40
SPACE = """temperature: [0.7]
modes: [direct, think]
strategies: {single: {}, self_consistency: {samples: [2, 4]},
             adaptive_consistency: {threshold: {low: 0.7, high: 0.99}, max_samples: [3, 4]}}
difficulty: {signals: [none, length], buckets: [1, 2, 3]}
"""
TASK = """name: made
version: 1
inputs: [question]
items: ../items.jsonl
answer: {normalise: none}
metric: recorded
"""


def made(folder: Path) -> Path:
    """The run's directory, made where it is not there."""
    run = folder / "run"
    if (run / "summary.json").exists():
        return run
    rng = np.random.default_rng(0)
    hard = rng.normal(size=N_ITEMS)
    (folder / "task").mkdir(parents=True, exist_ok=True)
    (folder / "task/task.yaml").write_text(TASK)
    (folder / "space.yaml").write_text(SPACE)
    items = [
        {"id": str(i), "inputs": {"question": "word " * int(20 + 6 * h)}, "target": "0"}
        for i, h in enumerate(hard)
    ]
    _lines(folder / "items.jsonl", items)
    job = ["task: task", "space: space.yaml", "tiers:"]
    for name, (ability, price) in TIERS.items():
        _lines(folder / f"{name}.jsonl.gz", _recorded(rng, name, ability - hard))
        _lines(folder / f"{name}.items.jsonl.gz", items)
        job.append(
            f"  {name}: {{model: recorded/{name}, recordings: {name}.jsonl.gz, price: "
            f"{{prompt_usd_per_mtok: {price}, completion_usd_per_mtok: {4 * price}}}}}"
        )
    (folder / "job.yaml").write_text("\n".join(job) + "\n")
    tune(load_job(folder / "job.yaml"), run)
    for path in run.glob("tables.*.npz"):
        _widen(path)
    return run


def _recorded(rng: np.random.Generator, model: str, ease: np.ndarray) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for p in range(N_PROMPTS):
        mode = "think" if p % 2 else "direct"
        right = rng.random((RECORDED, N_ITEMS)) < 1 / (1 + np.exp(-ease - 0.6 * rng.normal()))
        answers = np.where(right, 0, rng.geometric(0.1, right.shape))
        tokens = rng.lognormal(5 if p % 2 else 2, 0.4, right.shape).astype(int)
        rows += [
            {
                "item_id": str(i),
                "model": model,
                "prompt_id": f"prompt{p}",
                "mode": mode,
                "temperature": 0.7,
                "sample": d,
                "text": str(answers[d, i]),
                "answer": str(answers[d, i]),
                "score": float(right[d, i]),
                "prompt_tokens": 40,
                "completion_tokens": int(tokens[d, i]),
                "latency_s": 1.0,
            }
            for i in range(N_ITEMS)
            for d in range(RECORDED)
        ]
    return rows


def _lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)


def _widen(path: Path) -> None:
    """Forty samples in place of four, picked from them item by item."""
    table = SampleTable.load(path)
    rng = np.random.default_rng(1)
    at = rng.integers(RECORDED, size=(table.n_items, N_SAMPLES))
    wide = {
        variant: rows._map(lambda values: np.take_along_axis(values, at, axis=1))
        for variant, rows in table.variants.items()
    }
    replace(table, variants=wide).save(path)


def measure(*command: str) -> tuple[float, float]:
    """CPU seconds (user and system), and the peak of memory in MB."""
    code = (
        "import resource, sys; from tierwise.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, int(done.stderr.split()[-1]) / 1024


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    # In a process of its own: a child's peak of memory begins at that of its parent.
    maker = multiprocessing.get_context("spawn").Process(target=made, args=(folder,))
    maker.start()
    maker.join()
    run = str(folder / "run")
    for command in (["compare", run], ["report", run, "--out", str(folder / "report.html")]):
        cpu, peak = measure(*command)
        print(f"{command[0]:8} {cpu:5.1f} s CPU, {peak:4.0f} MB at the peak")
    page = folder / "report.html"
    print(f"report.html {page.stat().st_size / 1e6:.2f} MB")
    if "Not complete." in page.read_text():
        sys.exit(f"{run} is of another version and was read in part: give another folder")


if __name__ == "__main__":
    main()
