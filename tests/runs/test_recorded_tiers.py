"""Recorded tiers in a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.runs.prepare import prepare
from tierwise.schema import Job, Price, TierSpec


def recording(path: Path, model: str, target: str) -> str:
    items = [{"id": str(i), "inputs": {"q": f"{i}?"}, "target": target} for i in range(40)]
    samples = [
        {
            "item_id": str(i),
            "model": model,
            "prompt_id": "p",
            "mode": "direct",
            "temperature": 0.0,
            "sample": 0,
            "text": "1",
            "prompt_tokens": 3,
            "completion_tokens": 1,
        }
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, [*items, *samples])))
    return str(path)


def test_recordings_that_disagree_on_an_item_are_refused(tmp_path: Path) -> None:
    files = [recording(tmp_path / f"{m}.jsonl", m, t) for m, t in (("a", "1"), ("b", "2"))]
    (tmp_path / "items.jsonl").write_text(
        "\n".join(
            json.dumps({"id": str(i), "inputs": {"q": f"{i}?"}, "target": "1"}) for i in range(40)
        )
    )
    (tmp_path / "task.yaml").write_text("name: t\ninputs: [q]\nitems: items.jsonl\n")
    tiers = {
        name: TierSpec(f"recorded/{name}", Price(1.0, 1.0), recordings=file)
        for name, file in zip("ab", files, strict=True)
    }
    job = Job(task=str(tmp_path / "task.yaml"), tiers=tiers)
    with pytest.raises(InputError, match="disagree on item '0'"):
        prepare(job)
    recording(tmp_path / "b.jsonl", "b", "1")  # mended: the file is read anew
    assert set(prepare(job).tiers) == {"a", "b"}
