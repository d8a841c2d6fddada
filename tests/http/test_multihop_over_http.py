"""The template for one's own corpus: tuned over real LiteLLM, served over both retrievers."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback, Said
from tests.retrieval.server import serving
from tierwise.retrieval.bm25 import Bm25Retriever
from tierwise.runs.plan import plan
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import tune
from tierwise.schema import Job, PolicyFile, Price, TierSpec
from tierwise.search import SearchSize
from tierwise.serving import PolicyRuntime

pytestmark = pytest.mark.timeout(240)
TEMPLATE = Path(__file__).parents[2] / "tasks" / "multihop_template"
NAMES = [f"{a}{b}" for a in ("Bel", "Cor", "Dan", "Fen", "Gar", "Hol") for b in ("an", "is", "or")]
RELATIONS = ("boss", "mentor", "doctor")
TINY = SearchSize(
    screen_items=12, race_items=16, study_items=16, test_items=24, study_variants=2, permutations=2
)
SPACE = """temperature: [0.8]
variants: [1]
modes: [direct]
strategies:
  single: {}
  retrieval: {passages: [2], samples: [1], least_match: [0.0, 1.0]}
search_rounds: {low: 0, high: 2}
difficulty: {signals: [none], buckets: [1]}
"""


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Looks up one fact after the other and reads what it finds; guesses when it is cut short."""
    question = next(m["content"] for m in messages if m["content"].startswith("Question:"))
    asked = re.search(r"Who is the (.*)\?", question)
    assert asked
    *relations, name = asked[1].split(" of ")
    found = dict(
        re.findall(r"The (\w+ of \w+) is (\w+)\.", "\n".join(m["content"] for m in messages))
    )
    while relations and f"{relations[-1]} of {name}" in found:
        name = found[f"{relations.pop()} of {name}"]
    if not relations:
        return Said(f"answer: {name}")
    if "Reply with one line" in messages[-1]["content"]:
        return Said(f"search: {relations[-1]} of {name}")
    return Said(f"answer: {random.Random(f'{seed}:{question}').choice(NAMES)}")


def copied(folder: Path) -> Path:
    """The template with a corpus and questions of one's own, as its README says to do."""
    shutil.copytree(TEMPLATE, folder)
    rng = random.Random(3)
    facts = {(r, n): rng.choice([m for m in NAMES if m != n]) for r in RELATIONS for n in NAMES}
    rows = []
    for (relation, name), value in facts.items():
        rows.append((f"Who is the {relation} of {name}?", value))
        second = RELATIONS[len(rows) % 3]
        rows.append((f"Who is the {second} of {relation} of {name}?", facts[second, value]))
    corpus = [
        {"id": f"{r} {n}", "text": f"The {r} of {n} is {value}."} for (r, n), value in facts.items()
    ]
    items = [
        {"id": str(i), "inputs": {"question": q}, "target": t} for i, (q, t) in enumerate(rows)
    ]
    for name, lines in (("corpus", corpus), ("items", items)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (folder / "space.yaml").write_text(SPACE)
    return folder


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.speak = speak
    folder = copied(tmp_path / "mine")
    tier = TierSpec("openai/searcher", Price(1.0, 4.0), {"direct": {"max_tokens": 64}})
    return Job(
        task=str(folder / "task.yaml"),
        space=str(folder / "space.yaml"),
        tiers={"mini": tier},
        trials=12,
        operating_point="quality",
    )


async def test_a_policy_tuned_over_litellm_searches_over_a_corpus_and_over_an_address(
    job: Job, tmp_path: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tune(job, tmp_path / "run", search_size=TINY)
    policy = PolicyFile.load(tmp_path / "run" / "policies" / "mini.yaml")
    (bucket,) = policy.policy.buckets
    assert bucket.strategy.kind == "retrieval"
    assert dict(bucket.strategy.params)["rounds"] == 2
    assert policy.expected.score > 0.8
    assert run.summary.tiers["mini"].spending.calls == loopback.calls
    corpus = tmp_path / "mine" / "corpus.jsonl"
    lines = (tmp_path / "mine" / "items.jsonl").read_text().splitlines()[:6]
    items = [json.loads(line) for line in lines]
    monkeypatch.setenv("TIERWISE_RETRIEVER_MY_CORPUS", str(corpus))
    with PolicyRuntime(policy, seed=1) as here:
        answers = [await here.answer(item["inputs"]) for item in items]
    right = [a.answer == i["target"].lower() for a, i in zip(answers, items, strict=True)]
    assert sum(right) >= len(items) - 1
    with serving(Bm25Retriever.open("my-corpus", corpus)) as server:
        monkeypatch.setenv("TIERWISE_RETRIEVER_MY_CORPUS", server.address)
        with PolicyRuntime(policy, seed=1) as there:
            again = [await there.answer(item["inputs"]) for item in items]
        assert server.asked
    assert [(a.answer, a.samples, a.usd) for a in again] == [
        (a.answer, a.samples, a.usd) for a in answers
    ]


def test_a_plan_counts_the_look_ups_and_their_price(job: Job, tmp_path: Path) -> None:
    free = plan(prepare(job), TINY).tiers["mini"]
    task = tmp_path / "mine" / "task.yaml"
    task.write_text(task.read_text().replace("usd_per_call: 0.0", "usd_per_call: 0.01"))
    priced = plan(prepare(job), TINY).tiers["mini"]
    lookups = sum(stage.lookups for stage in priced.stages)
    # To two rounds of two chains' samples at most: a query a round, and an answer below each.
    assert lookups == sum(stage.lookups for stage in free.stages) > 0
    assert priced.worst.usd - free.worst.usd == pytest.approx(0.01 * lookups)
    screen = next(stage for stage in priced.stages if stage.stage == "screen")
    assert screen.samples == screen.variants * 12 * (1 + 2 + 2)
    assert screen.lookups == screen.variants * 12 * 2
