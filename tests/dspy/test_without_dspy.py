"""A policy that was tuned in DSPy scores the same where DSPy cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dspy
from tests.dspy.examples import arithmetic, exact
from tierwise.dspy import TunedPredict, trace_of
from tierwise.dspy.adapter import adapter_of, signature_answer_spec, signature_template
from tierwise.llm.models import resolve_tier
from tierwise.schema import Policy, PolicyFile, StrategySpec, TaskRef, Variant, uniform
from tierwise.schema.policy import Difficulty, Probe, Recipe

ITEMS = 200
SIGNATURE = dspy.Signature("question -> answer")

RUNTIME = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dspy", "gepa", "optuna"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from tierwise import PolicyRuntime

with PolicyRuntime.load(sys.argv[1]) as runtime:
    for question in json.load(open(sys.argv[2], encoding="utf-8")):
        answer = runtime.answer_sync(question=question)
        print(json.dumps([answer.answer, answer.samples]))
assert "dspy" not in sys.modules
"""


def policy_file(policy: Policy, demos: list[dict[str, str]]) -> PolicyFile:
    adapter = adapter_of("embedded/small")
    told = SIGNATURE.with_instructions("Take two terms at once.")
    prompts = {
        "plain": signature_template("plain", "test", SIGNATURE, demos, adapter),
        "pairs": signature_template("pairs", "test", told, [], adapter),
    }
    return PolicyFile(
        name="p",
        tier=resolve_tier("small", "embedded/small"),
        task=TaskRef("arithmetic", 1, "exact", "0" * 64),
        inputs=("question",),
        prompts=prompts,
        policy=policy,
        answer=signature_answer_spec(SIGNATURE, adapter, None),
    )


DIRECT, PAIRS = Variant("plain", "direct", 0.8), Variant("pairs", "think", 0.8)
BUCKETS = Policy(
    buckets=(
        Recipe((DIRECT,), StrategySpec.of("self_consistency", samples=3)),
        Recipe((PAIRS,), StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=5)),
    ),
    difficulty=Difficulty("probe_agreement", (0.75,), Probe((DIRECT,), 2)),
)


BEST = uniform(PAIRS, StrategySpec.of("best_of_n", samples=3, verifier="mean_logprob"))


@pytest.mark.parametrize(
    ("policy", "n_items"),
    [pytest.param(BUCKETS, ITEMS, marks=pytest.mark.slow), (BUCKETS, 32), (BEST, 24)],
)
def test_the_score_in_dspy_is_the_score_without_it(
    policy: Policy, n_items: int, tmp_path: Path
) -> None:
    examples = arithmetic(n_items)
    file = policy_file(policy, [{"question": "1 + 2", "answer": "3"}])
    module = TunedPredict(SIGNATURE, {"small": file})
    predictions = [module(question=e.question) for e in examples]
    scores = [exact(e, p) for e, p in zip(examples, predictions, strict=True)]
    module.close()

    file.save(tmp_path / "policy.yaml")
    (tmp_path / "questions.json").write_text(json.dumps([e.question for e in examples]))
    (tmp_path / "run.py").write_text(RUNTIME)
    command = [sys.executable, "run.py", "policy.yaml", "questions.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outside = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(outside) == n_items
    assert [a == e.answer for (a, _), e in zip(outside, examples, strict=True)] == scores
    assert 0.1 < sum(scores) / n_items < 1
    inside = [trace_of(p) for p in predictions]
    assert [samples for _, samples in outside] == [t.samples for t in inside if t]
