"""A proposer over HTTP that does everything wrong: the run goes on, and the budget holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import dspy
from tests.dspy.examples import DIRECT_SPACE, LITTLE, exact
from tests.loopback import Fault, Loopback, Said
from tierwise.dspy import JointOptimizer, Proposing, trace_of
from tierwise.schema import Price, TierSpec

GOOD = "Add the numbers from the left to the right, and check the sum."
LEAK = " ".join(f"never forget how much {41 + i % 4} + {17 + i // 4} comes to," for i in range(80))
SAID = {1: "%%%% ### 0000", 3: LEAK, 5: GOOD, 7: GOOD.upper(), 9: "word " * 2000}
"""What the proposer says to each of its calls; the others fail."""

PRICE = Price(1.0, 4.0, as_of="test")
EXAMPLES = [
    dspy.Example(question=f"{a} + {b}", answer=str(a + b)).with_inputs("question")
    for a in range(41, 51)
    for b in range(17, 43)
]


def speak(messages: Any, seed: int, body: Mapping[str, Any]) -> Said:
    told, asked = messages[0]["content"], messages[-1]["content"]
    if body["model"] == "proposer":
        return Said("never used: each call is answered by its number")
    question = re.search(r"(\d+) \+ (\d+)", asked)
    assert question is not None
    digest = hashlib.sha256(f"{asked}{seed}".encode()).digest()[0] / 256
    wrong = digest < (0.1 if "check the sum" in told else 0.5)
    answer = sum(map(int, question.groups())) + wrong
    return Said(f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]")


class Proposer(Loopback):
    """The loopback server; its n-th proposal is ``SAID[n]``."""

    asked = 0

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await super()._answer(body)
        if body["model"] == "proposer":
            text = SAID.get(self.calls - 1, GOOD)
            content = f"[[ ## proposed_instruction ## ]]\n{text}\n\n[[ ## completed ## ]]"
            answer["choices"][0]["message"]["content"] = content
        return answer


@pytest.fixture
def proposer(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Any:
    with Proposer(speak=speak) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def tuner(folder: Path, **proposing: Any) -> JointOptimizer:
    (folder / "space.yaml").write_text(DIRECT_SPACE)
    modes = {"direct": {"max_tokens": 60}}
    return JointOptimizer(
        exact,
        {"mini": TierSpec("openai/mini", PRICE, modes, takes_n=True)},
        str(folder / "space.yaml"),
        2.0,
        trials=6,
        search_size=LITTLE,
        out=folder / "run",
        proposing=Proposing(
            model=TierSpec("openai/proposer", PRICE, {"direct": {"max_tokens": 400}}),
            grounded=10,
            most_prompts=3,
            train_items=10,
            **proposing,
        ),
    )


def test_a_run_goes_on_whatever_the_proposer_says(proposer: Proposer, tmp_path: Path) -> None:
    proposer.fault = lambda n: Fault("status", 400) if n < 10 and n % 2 == 0 else None
    optimizer = tuner(tmp_path, reflected=1, demo_sets=(2,))
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=EXAMPLES)

    shown = json.loads((tmp_path / "run" / "proposals" / "first.json").read_text())
    paraphrases = {p["origin"] for p in shown["prompts"]}
    assert "grounded/5" in paraphrases
    reasons = {r["origin"]: r["reason"] for r in shown["refused"]}
    assert all("the proposer failed" in reasons[f"grounded/{i}"] for i in (0, 2, 4, 6, 8))
    assert "garbage" in reasons["grounded/1"]
    assert "leak" in reasons["grounded/3"]
    assert "the same as" in reasons["grounded/7"]
    assert "too long" in reasons["grounded/9"]

    policy = program.policies["mini"]
    assert any("check the sum" in m.content for p in policy.prompts.values() for m in p.messages)
    answer = trace_of(program(question="41 + 30"))
    assert answer is not None
    assert answer.usd > 0
    program.close()

    billed = (proposer.prompt_tokens * 1.0 + proposer.completion_tokens * 4.0) / 1e6
    assert 0 < billed <= 2.0
    spent = optimizer.result.summary.proposals
    assert spent.calls >= 10
    assert 0 < spent.usd <= 0.2


def test_a_proposer_without_money_proposes_nothing(proposer: Proposer, tmp_path: Path) -> None:
    optimizer = tuner(tmp_path, reflected=1, demo_sets=(2,), usd=1e-7, rounds=1)
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=EXAMPLES)
    assert not any(body["model"] == "proposer" for body in proposer.bodies)
    assert optimizer.registry is not None
    assert not optimizer.registry.candidates
    assert "the cap on usd is reached" in optimizer.registry.refused[0].reason
    assert optimizer.result.summary.proposals.usd == 0
    assert list(program.policies["mini"].prompts) == ["student"]
    program.close()
