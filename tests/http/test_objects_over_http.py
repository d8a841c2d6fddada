"""Extraction to JSON, tuned over HTTP: votes by field, a metric of two parts, replayed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.http.test_tune_over_http import PATIENT, PRICE, SMALL
from tests.loopback import Loopback, Said
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.report.html import report
from tierwise.runs.tune import TuneResult, replay, tune
from tierwise.schema import Job, StrategySpec, TierSpec, Variant, uniform

pytestmark = pytest.mark.timeout(240)
RIGHT = {"city": 0.85, "amount": 0.75, "urgent": 0.7}
TASK = """name: bills
inputs: [text]
items: items.jsonl
prompts: prompts.yaml
splits: {train: 0.05, validation: 0.6, test: 0.35}
answer:
  normalise: json
  return: extracted
  schema:
    type: object
    properties:
      city: {enum: [Oslo, Rome, Lima]}
      amount: {type: integer}
      urgent: {type: boolean}
    required: [city, amount, urgent]
metric: {weighted: {json_fields: 3, exact_match: 1}}
"""
SPACE = """temperature: [0.8]
variants: [1]
modes: [direct]
strategies: {single: {}, self_consistency: {samples: [3, 5, 7]}}
difficulty: {signals: [none, probe_agreement], buckets: [1, 2], probe_samples: 2}
"""


def bill(i: int) -> dict[str, Any]:
    return {"city": ("Oslo", "Rome", "Lima")[i % 3], "amount": 10 + i, "urgent": i % 2 == 0}


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Each field is right with its probability, else another value; one in twenty is malformed."""
    i = int(messages[-1]["content"].split()[-1])
    rng, said = random.Random(f"{seed}:{messages}"), bill(i)
    wrong = {"city": "Lima" if i % 3 else "Rome", "amount": rng.randrange(900, 999)}
    wrong["urgent"] = not said["urgent"]
    for field, probability in RIGHT.items():
        if rng.random() > probability:
            said[field] = wrong[field]
    text = json.dumps(said)
    return Said(f"Here: {text[:-3] if rng.random() < 0.05 else text}")


@pytest.fixture
def made(tmp_path: Path, loopback: Loopback) -> tuple[TuneResult, Path]:
    folder = tmp_path / "bills"
    folder.mkdir()
    rows = [{"text": f"bill number {i}", "target": bill(i)} for i in range(160)]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "prompts.yaml").write_text('- {id: plain, system: Extract., user: "{{ text }}"}\n')
    (folder / "task.yaml").write_text(TASK)
    (folder / "space.yaml").write_text(SPACE)
    loopback.speak = speak
    form = {"type": "json_object"}
    spec = TierSpec(
        "openai/clerk",
        PRICE,
        {"direct": {"max_tokens": 40, "response_format": form}},
        limits=PATIENT,
    )
    job = Job(
        task=str(folder / "task.yaml"),
        space=str(folder / "space.yaml"),
        tiers={"small": spec},
        trials=20,
        operating_point="quality",
    )
    return tune(job, tmp_path / "run", search_size=SMALL), tmp_path / "run"


def test_votes_by_field_are_found_shown_and_replayed(
    made: tuple[TuneResult, Path], loopback: Loopback
) -> None:
    result, run = made
    policy = result.policies["small"]
    assert policy.policy.buckets[-1].strategy.kind == "self_consistency"
    assert policy.answer.ballots == ("city", "amount", "urgent")
    assert all(body["response_format"] == {"type": "json_object"} for body in loopback.bodies)

    tier = result.summary.tiers["small"]
    parts = tier.metric_parts
    assert list(parts) == ["json_fields", "exact_match"]
    for part in parts.values():
        assert part.chosen > part.baseline + 0.1
    mean = (3 * parts["json_fields"].chosen + parts["exact_match"].chosen) / 4
    assert mean == pytest.approx(tier.chosen.score, abs=0.03)  # its permutations apart
    page = report(run)
    assert "Parts of the metric" in page
    assert "json_fields" in page

    stored = SampleTable.load(run / "tables.small.npz")
    vote = uniform(Variant("plain", "direct", 0.8), StrategySpec.of("self_consistency", samples=3))
    # A report judges policies on stored tables, over other permutations than the search did.
    assert np.isfinite(Evaluator(stored, Permutations(16, seed=9)).evaluate(vote).score).all()
    names = ("policies/small.yaml", "summary.json", "trials.csv")
    before = [(run / name).read_bytes() for name in names]
    replay(run, search_size=SMALL)
    assert [(run / name).read_bytes() for name in names] == before
