"""Jobs whose answers say how good they are, and judges of all kinds who read it, or do not.

An answer is ``grade 4 of q17, said 123``: its true grade on the scale of 1 to 5, so that what a
judge should say, and what a policy is worth, is known. A third of them are the same text again.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.scripted_job import TINY
from tierwise.llm import Completion, Failure, LanguageModel, Request, Result
from tierwise.llm.scripted import ScriptedModel, hash_uniform
from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import Price, Tier, load_job

TIERS = importlib.import_module("tierwise.runs.tiers")
PREPARE = importlib.import_module("tierwise.runs.prepare")

Says = Callable[[Request, int], str | None]
"""(the judge's request, the sample's seed) -> its reply; None: the call fails."""

TASK = """name: notes
inputs: [text]
items: items.jsonl
splits: {train: 0.05, validation: 0.55, test: 0.4}
answer: {normalise: none}
prompts: prompts.yaml
metric:
  judge:
    model: scripted/judge
    rubric: The grade that the answer has.
    scale: [1, 5]
"""
PROMPTS = """- {id: plain, user: "{{ text }}"}
- {id: careful, system: Take care., user: "{{ text }}"}
"""
SPACE = """temperature: [0.8]
modes: [direct]
strategies: {single: {}}
difficulty: {signals: [none], buckets: [1]}
"""
JOB = """task: task
space: space.yaml
seed: 3
trials: 8
tiers:
  weak: {model: scripted/weak}
"""


def write_job(
    folder: Path, *, labels: int = 40, items: int = 150, more: str = "", target: str = "the best"
) -> Path:
    """The job's file, its task and space; ``more``: keys of the judge."""
    task = folder / "task"
    task.mkdir(parents=True)
    rows = [{"id": f"q{k}", "inputs": {"text": f"q{k}"}, "target": target} for k in range(items)]
    (task / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = random.Random(5)
    graded = [(f"q{k % items}", rng.randint(1, 5)) for k in range(labels)]
    (task / "labels.jsonl").write_text(
        "".join(
            json.dumps({"id": of, "answer": f"grade {grade} of {of}, labelled", "score": grade})
            + "\n"
            for of, grade in graded
        )
    )
    keys = ("    labels: labels.jsonl\n" if labels else "") + more
    (task / "task.yaml").write_text(TASK + keys)
    (task / "prompts.yaml").write_text(PROMPTS)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


def answers(request: Request, seed: int) -> Result:
    """An answer whose grade is 4.2 on average with the careful prompt, else 2.6.

    Asked which of several agrees best with the others, it names one of the highest grade.
    """
    if "agrees best" in request.messages[-1].content:
        grades = re.findall(r"grade (\d)", request.messages[-1].content)
        return Completion(str(1 + grades.index(max(grades))), 60, 1)
    careful = len(request.messages) > 1
    steps = sum(hash_uniform(request, seed, str(i)) < (0.8 if careful else 0.4) for i in range(4))
    said = int(hash_uniform(request, seed, "said") * 12)
    return Completion(f"grade {1 + steps} of {request.messages[-1].content}, said {said}", 20, 12)


def shown(request: Request, tag: str) -> str:
    """A text that the judge is shown."""
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", request.messages[-1].content, re.DOTALL)
    return found[1] if found else ""


def grade(request: Request) -> int:
    """The true grade of the answer that the judge is shown."""
    return int(re.search(r"grade (\d)", shown(request, "answer"))[1])  # type: ignore[index]  # the scripted text has it


def honest(request: Request, seed: int) -> str:
    """The true grade."""
    return f"Score: {grade(request)}"


def noisy(share: float) -> Says:
    """The true grade, but any grade in this share of replies."""

    def says(request: Request, seed: int) -> str:
        if hash_uniform(request, seed, "noise") < share:
            return f"Score: {1 + int(5 * hash_uniform(request, seed, 'grade'))}"
        return honest(request, seed)

    return says


def by_position(request: Request, seed: int) -> str:
    """A point more where the reference comes last."""
    text = request.messages[-1].content
    last = text.find("<reference>") > text.find("<answer>")
    return f"Score: {min(5, grade(request) + last)}"


def by_length(request: Request, seed: int) -> str:
    """A point more for a long answer."""
    return f"Score: {min(5, grade(request) + (len(shown(request, 'answer')) > 40))}"


def down(share: float) -> Says:
    """Honest, but this share of replies fails, half of it as an error and half without a score."""

    def says(request: Request, seed: int) -> str | None:
        u = hash_uniform(request, seed, "down")
        if u < share:
            return None if u < share / 2 else "I would rather not say."
        return honest(request, seed)

    return says


def down_for_good(share: float) -> Says:
    """Honest, but of this share of answers never a word that can be read."""

    def says(request: Request, seed: int) -> str:
        lost = hash_uniform(request, 0, "lost") < share
        return "No." if lost else honest(request, seed)

    return says


def install(patch: pytest.MonkeyPatch, says: Says = honest) -> dict[str, ScriptedModel]:
    """Have ``tune`` open scripted models; those that it opened, by model string."""
    opened: dict[str, ScriptedModel] = {}

    asked: list[str] = []

    def judged(request: Request, seed: int) -> Result:
        asked.append(request.key)
        reply = says(request, seed)
        return Failure("Down", "no answer") if reply is None else Completion(reply, 60, 3)

    def open_scripted(tier: Tier, **more: object) -> LanguageModel:
        script = judged if tier.model.endswith(("judge", "verifier")) else answers
        opened[tier.model] = ScriptedModel(script)
        opened[tier.model].asked = asked  # type: ignore[attr-defined]  # keys, for tests
        return opened[tier.model]

    def scripted_tier(name: str, spec: object) -> Tier:
        model = str(getattr(spec, "model", spec))
        price = Price(10.0, 10.0) if model.endswith("judge") else Price(1.0, 5.0)
        return Tier(name, model, price, {"direct": {"max_tokens": 16}}, takes_n=False)

    patch.setattr(TIERS, "open_model", open_scripted)
    patch.setattr(PREPARE, "tier_of_spec", scripted_tier)
    for module in (TIERS, PREPARE, importlib.import_module("tierwise.runs.call_lengths")):
        patch.setattr(module, "address_of", lambda tier: "")
    return opened


def run(job: Path, out: Path, **more: object) -> TuneResult:
    """Tune it."""
    return tune(load_job(job), out, search_size=TINY, **more)  # type: ignore[arg-type]  # settings by name
