"""Jobs over small recordings of prompts of known accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import Job, Price, TierSpec

Lines = list[dict[str, Any]]


def sample(item: str, prompt: str, at: int, **more: Any) -> dict[str, Any]:
    """A completion of prompt a (right in half of the cases), b (.75) or c (0)."""
    rng = np.random.default_rng([int(item[1:]), ord(prompt), at])
    right = rng.random() < {"a": 0.5, "b": 0.75, "c": 0.0}[prompt]
    line = {"item_id": item, "model": "m", "prompt_id": prompt, "mode": "direct"}
    line |= {"temperature": 0.7, "sample": at, "text": "1" if right else str(at % 2 + 2)}
    return line | {"score": float(right), "prompt_tokens": 10, "completion_tokens": 5} | more


def whole(*prompts: str, samples: int = 4, items: int = 60, **more: Any) -> Lines:
    every = [(f"i{i}", p, s) for i in range(items) for p in prompts for s in range(samples)]
    return [sample(*one, **more) for one in every]


def tuned(
    folder: Path,
    lines: Lines,
    items: int = 60,
    tier: Mapping[str, object] = MappingProxyType({}),
    **job: Any,
) -> TuneResult:
    """Tune on ``lines``, a tier a model; ``tier``: more of each tier, such as ``metered``."""
    given = [{"id": f"i{i}", "inputs": {"q": f"{i} ?"}, "target": "1"} for i in range(items)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in given))
    (folder / "task.yaml").write_text(
        "name: t\ninputs: [q]\nitems: items.jsonl\nmetric: recorded\n"
    )
    names = dict.fromkeys(line["model"] for line in lines)
    for name in names:
        own = [line for line in lines if line["model"] == name]
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in (*given, *own))
        )
    tiers = {
        name: TierSpec(
            f"recorded/{name}",
            Price(n + 1.0, n + 1.0),
            recordings=str(folder / f"{name}.jsonl"),
            **tier,  # type: ignore[arg-type]  # settings by name
        )
        for n, name in enumerate(names)
    }
    job = {"trials": 40, **job}
    return tune(Job(task=str(folder / "task.yaml"), tiers=tiers, **job), folder / "out")
