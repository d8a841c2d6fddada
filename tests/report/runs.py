"""A small finished run over made-up recordings, whose answers are known to be right or wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tierwise.report.between import comparison_tables
from tierwise.report.compare import Row, plain_rows
from tierwise.runs.artifacts import RunFiles, read_run
from tierwise.runs.tune import tune
from tierwise.schema import load_job

RIGHT = {
    ("cheap", "plain"): 0.35,
    ("cheap", "steps"): 0.75,
    ("dear", "plain"): 0.9,
    ("dear", "steps"): 0.6,
    ("dear", "only"): 0.5,
}

N_ITEMS, N_SAMPLES = 160, 3
JOB = """task: task
space: space.yaml
trials: 12
tiers:
  cheap: {model: recorded/cheap, recordings: rec.jsonl,
          price: {prompt_usd_per_mtok: 1, completion_usd_per_mtok: 1}}
  dear: {model: recorded/dear, recordings: rec.jsonl,
         price: {prompt_usd_per_mtok: 30, completion_usd_per_mtok: 30}}
"""
SPACE = """temperature: [0.5]
modes: [direct, think]
strategies: {single: {}, self_consistency: {samples: [2, 3]}}
"""
TASK = """name: made
version: 1
inputs: [question]
items: ../items.jsonl
answer: {normalise: none}
metric: recorded
"""


def compared(run: RunFiles, names: Sequence[str] = ()) -> dict[str, list[Row]]:
    """The rows of `tierwise compare --json` of one run."""
    return plain_rows(comparison_tables([run], names))


def changed(*paths: Path) -> dict[str, list[Row]]:
    """Those of several runs."""
    return plain_rows(comparison_tables([read_run(path) for path in paths]))


def only(rows: Sequence[Row], **wanted: object) -> Row:
    """The one row that has these values."""
    (row,) = [row for row in rows if all(row.get(k) == v for k, v in wanted.items())]
    return row


def make_run(folder: Path) -> tuple[Path, dict[tuple[str, str], float]]:
    """The run's directory, and the accuracy of each (model, prompt) over all that is recorded."""
    rng = np.random.default_rng(4)
    items = [{"id": str(i), "inputs": {"question": f"q{i}"}, "target": "1"} for i in range(N_ITEMS)]
    hard = rng.normal(0, 0.15, N_ITEMS)
    rows, scores = [], {}
    for (model, prompt), p in RIGHT.items():
        right = (rng.random((N_ITEMS, N_SAMPLES)) < (p + hard)[:, None]).astype(int)
        scores[model, prompt] = float(right.mean())
        mode = "think" if prompt == "steps" else "direct"
        rows += [
            {
                "item_id": str(i),
                "model": model,
                "prompt_id": prompt,
                "mode": mode,
                "temperature": 0.5,
                "sample": d,
                "text": str(right[i, d]),
                "answer": str(right[i, d]),
                "score": float(right[i, d]),
                "prompt_tokens": 20,
                "completion_tokens": 10,
            }
            for i in range(N_ITEMS)
            for d in range(N_SAMPLES)
        ]
    (folder / "task").mkdir(parents=True)
    (folder / "task/task.yaml").write_text(TASK)
    (folder / "job.yaml").write_text(JOB)
    (folder / "space.yaml").write_text(SPACE)
    for name, lines in (("items.jsonl", items), ("rec.jsonl", rows), ("rec.items.jsonl", items)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    tune(load_job(folder / "job.yaml"), folder / "run")
    return folder / "run", scores
