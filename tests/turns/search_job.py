"""A job that searches: chains of one to three facts, and a scripted model that reads what it finds.

One look in ten at what was found goes wrong; a question whose facts are not at hand is guessed.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from tierwise.llm import Request

NAMES = [f"n{i}" for i in range(30)]
RELATIONS = ["boss", "friend", "coach"]
TASK = r"""name: chains
version: 1
inputs: [question]
items: items.jsonl
splits: {train: 0.05, validation: 0.55, test: 0.4}
answer: {extract: {regex: 'A: (\w+)', take: last}}
metric: exact_match
prompts: prompts.yaml
corpus: corpus.jsonl
retriever: {name: facts, query: {regex: 'search: (\w+ of \w+)'}, usd_per_call: 0.000002}
"""
PROMPTS = """- id: plain
  user: "{{ question }}"
"""
SPACE = """temperature: [0.8]
modes: [direct]
strategies:
  single: {}
  self_consistency: {samples: [3]}
  retrieval: {passages: [1, 3], samples: [1, 3], stop_when_stale: [true]}
search_rounds: {low: 0, high: 4}
difficulty: {signals: [none, length], buckets: [1, 2]}
"""
JOB = """task: task
space: space.yaml
seed: 3
trials: 30
tiers:
  weak: {model: scripted/weak}
"""


def make_job(folder: Path, items: int = 180) -> Path:
    task, rng = folder / "task", random.Random(5)
    task.mkdir(parents=True)
    facts = {(r, n): rng.choice(NAMES) for r in RELATIONS for n in NAMES}
    rows: dict[str, dict[str, object]] = {}
    while len(rows) < items:
        name = first = rng.choice(NAMES)
        asked = [rng.choice(RELATIONS) for _ in range(rng.choice([1, 2, 3]))]
        for relation in asked:
            name = facts[relation, name]
        question = " of ".join([*reversed(asked), first])
        rows[question] = {"id": question, "inputs": {"question": question}, "target": name}
    corpus = [{"id": f"{r} {n}", "text": f"{r} of {n} is {v}"} for (r, n), v in facts.items()]
    for name, lines in (("items", rows.values()), ("corpus", corpus)):
        (task / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (task / "task.yaml").write_text(TASK)
    (task / "prompts.yaml").write_text(PROMPTS)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


def says(request: Request) -> dict[str, float]:
    """Ask for the next fact, or answer; nine times in ten as what was found says."""
    question = request.messages[0].content.split("\n\n")[0]
    *relations, name = question.split(" of ")
    found = dict(
        re.findall(r"(\w+ of \w+) is (\w+)", "\n".join(m.content for m in request.messages))
    )
    while relations and f"{relations[-1]} of {name}" in found:
        name = found[f"{relations.pop()} of {name}"]
    asked = request.messages[-1].content
    guesses = {f"A: {guess}": 1 / len(NAMES) for guess in NAMES}
    if not relations:
        return {f"A: {name}": 0.9, "A: nobody": 0.1}
    if "You may search" in asked:
        return {f"search: {relations[-1]} of {name}": 1.0}
    return guesses
