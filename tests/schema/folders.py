"""A small task on disk, to be spoilt by tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tierwise.errors import InputError, faults_of

TASK = r"""name: sums
version: 2
inputs: [question]
items: items.jsonl
answer: {extract: {regex: 'A: (-?\d+)', take: last}, normalise: integer}
metric: exact_match
prompts: prompts.yaml
instruction: "Add up. End with 'A: N'."
"""
PROMPTS = """- id: plain
  system: Add up.
  user: "{{ question }}"
  paraphrases: ["Find the sum."]
- id: steps
  family: step_by_step
  modes: [think]
  user: "{{ question }} Step by step."
"""
ITEMS = [
    {"id": f"i{k}", "inputs": {"question": f"{k} + 1"}, "target": str(k + 1)} for k in range(9)
]


def make_task(
    folder: Path, *, task: str = TASK, prompts: str = PROMPTS, items: object = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(task)
    (folder / "prompts.yaml").write_text(prompts)
    lines = items if isinstance(items, str) else "\n".join(map(json.dumps, items or ITEMS))
    (folder / "items.jsonl").write_text(lines)
    return folder


def faults(call, *args) -> list[str]:
    """All faults that a call raises, with paths cut to their last part."""
    with pytest.raises(InputError) as caught:
        call(*args)
    found = faults_of(caught.value)
    assert str(caught.value) == "\n".join(map(str, found))
    return [short(fault) for fault in found]


def short(fault: InputError) -> str:
    where = "" if fault.path is None else Path(str(fault.path)).name
    line = f":{fault.line}" if fault.line else ""
    return f"{where}{line}: {fault.message}"
