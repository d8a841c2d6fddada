"""A job whose models are scripted, small enough to be tuned in a second.

``python -m tests.search.scripted_job JOB.yaml OUT [SECONDS]`` tunes it in a process of its own that
waits SECONDS for each chunk of samples, to be killed.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tierwise.llm import LanguageModel, Request
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import Price, Tier, load_job
from tierwise.search import SearchSize

PREPARE = importlib.import_module("tierwise.runs.prepare")
CHECK = importlib.import_module("tierwise.runs.check")
OPENING = importlib.import_module("tierwise.runs.tiers")
PROBLEM = importlib.import_module("tierwise.search.problem")

TINY = SearchSize(
    screen_items=16,
    screen_samples=5,
    race_items=20,
    race_samples=5,
    study_items=32,
    study_variants=3,
    test_items=60,
    permutations=4,
)

TASK = r"""name: sums
version: 1
inputs: [question]
items: items.jsonl
splits: {train: 0.05, validation: 0.55, test: 0.4}
answer: {extract: {regex: 'A: (-?\d+)', take: last}, normalise: integer}
metric: exact_match
prompts: prompts.yaml
"""
PROMPTS = """- id: plain
  user: "{{ question }}"
- id: steps
  system: Think it through.
  user: "{{ question }}"
- id: shout
  system: Be quick.
  user: "{{ question }}"
"""
SPACE = """temperature: [0.8]
modes: [direct]
strategies:
  single: {}
  self_consistency: {samples: [3, 5]}
  adaptive_consistency: {threshold: {low: 0.7, high: 0.97}, max_samples: [5]}
difficulty: {signals: [none, length, probe_agreement], buckets: [1, 2], probe_samples: 2}
"""
JOB = """task: task
space: space.yaml
seed: 3
trials: 24
tiers:
  weak: {model: scripted/weak}
  strong: {model: scripted/strong}
"""


def make_job(folder: Path, *, items: int = 170, job: str = JOB) -> Path:
    """The job's file, with its task and space beside it."""
    task = folder / "task"
    task.mkdir(parents=True)
    rng = random.Random(7)
    rows = []
    for k in range(items):
        terms = [rng.randint(1, 40) for _ in range(rng.choice([2, 2, 3, 5]))]
        question = " + ".join(map(str, terms))
        rows.append({"id": f"i{k}", "inputs": {"question": question}, "target": str(sum(terms))})
    (task / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task / "task.yaml").write_text(TASK)
    (task / "prompts.yaml").write_text(PROMPTS)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "job.yaml").write_text(job)
    return folder / "job.yaml"


def says(request: Request) -> dict[str, float]:
    """Right more often on short sums, in steps, and by the strong model."""
    terms = [int(t) for t in request.messages[-1].content.split(" + ")]
    first = request.messages[0].content
    p = 0.85 if request.model.endswith("strong") else 0.55
    p += 0.12 if first.startswith("Think") else -0.25 if first.startswith("Be") else 0.0
    p -= 0.06 * (len(terms) - 2)
    right = sum(terms)
    words = "well " * (6 if first.startswith("Think") else 0)
    wrong = {f"{words}A: {right + d}": (1 - p) / 3 for d in (1, -1, 10)}
    return {f"{words}A: {right}": p, **wrong}


def scripted_tier(name: str, model: str, **more: object) -> Tier:
    """As ``tier_of_spec`` would give it."""
    return Tier(name, model, Price(1.0, 5.0, as_of="2026-01"), {"direct": {"max_tokens": 16}})


def install(
    patch: pytest.MonkeyPatch,
    *,
    chunk: int = 64,
    delay_s: float = 0.0,
    says: Callable[[Request], dict[str, float]] = says,
) -> list[ScriptedModel]:
    """Have ``tune`` open scripted models; every one that it opened."""
    opened: list[ScriptedModel] = []

    def open_scripted(tier: Tier, **more: object) -> LanguageModel:
        opened.append(ScriptedModel(answering(says), chunk=chunk, delay_s=delay_s))
        return opened[-1]

    patch.setattr(OPENING, "open_model", open_scripted)
    for module in (PREPARE, CHECK):
        patch.setattr(module, "tier_of_spec", lambda name, spec: scripted_tier(name, spec.model))
    for module in (OPENING, PREPARE, importlib.import_module("tierwise.runs.call_lengths")):
        patch.setattr(module, "address_of", lambda tier: "")
    # No provider is asked which temperatures it takes: a process would import LiteLLM for it.
    patch.setattr(PROBLEM, "temperatures_of", lambda tier, mode, wanted: wanted)
    return opened


def run(job: Path, out: Path, **more: object) -> TuneResult:
    """Tune it."""
    return tune(load_job(job), out, search_size=TINY, **more)


def main() -> None:
    job, out, *delay = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        install(patch, delay_s=float(delay[0]) if delay else 0.0)
        run(Path(job), Path(out))


if __name__ == "__main__":
    main()
