"""Self-refine through real litellm and HTTP: tuned, bought chain by chain, and served alike."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.http.test_tune_over_http import SMALL, job, write_task
from tests.loopback import Loopback, Said
from tierwise.evaluation import replay_item as replayed
from tierwise.llm.models import open_model
from tierwise.runs.tune import tune
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime

pytestmark = pytest.mark.timeout(240)

SPACE = """temperature: [0.8]
variants: [1]
modes: [direct]
strategies: {self_refine: {rounds: [2]}}
"""
FEW = replace(
    SMALL,
    screen_samples=2,
    race_samples=2,
    race_items=32,
    study_items=64,
    test_items=24,
    study_variants=2,
    permutations=2,
)
WRONG = "Have a look at the last digit."


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Adds two numbers, wrong half of the time at first; a criticism helps."""
    chance = random.Random(f"{seed}:{json.dumps(messages)}").random()
    if "fresh eyes" in messages[-1]["content"]:
        return Said(WRONG)
    a, b = map(int, messages[1]["content"].split(" plus "))
    right = chance < (0.95 if len(messages) > 2 else 0.5)
    return Said(f"A: {a + b if right else a + b + 1 + int(chance * 9)}")


async def test_a_tuned_chain_is_served_as_it_was_bought(loopback: Loopback, tmp_path: Path) -> None:
    loopback.speak = speak
    folder = write_task(tmp_path / "sums")
    (folder / "space.yaml").write_text(SPACE)
    asked = replace(job(folder, operating_point="quality"), trials=8)
    result = tune(asked, tmp_path / "run", search_size=FEW)
    assert loopback.calls == result.summary.tiers["small"].spending.calls

    path = tmp_path / "run" / "policies" / "small.yaml"
    file = PolicyFile.load(path)
    assert file == result.policies["small"]
    assert {b.strategy.kind for b in file.policy.buckets} == {"self_refine"}
    assert "fresh eyes" in path.read_text()  # what is asked stands in the file, word for word

    found = result.found["small"]
    table = found.study_table
    model = open_model(file.tier)
    try:
        runtime = PolicyRuntime(file, model, seed=asked.seed)
        for item in range(4):
            said, before = replayed(file.policy, table, item), loopback.calls
            got = await runtime.answer(table.inputs[item])
            assert (got.samples, got.usd, got.chosen) == (len(said.samples), said.usd, said.index)
            assert [d.parent for d in got.trace] == list(said.parents)
            assert loopback.calls - before == got.samples
            last = loopback.bodies[-1]["messages"]
            texts = [d.text for d in got.trace]
            assert [m["content"] for m in last if m["role"] == "assistant"] == texts[:-1]
            assert WRONG in texts
    finally:
        model.close()
