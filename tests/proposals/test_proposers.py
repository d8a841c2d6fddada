from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import dspy
from tierwise.dspy import tier_lm
from tierwise.llm import Completion, Failure, Request, Result
from tierwise.llm.scripted import ScriptedModel
from tierwise.proposals import (
    CandidateRegistry,
    FailedItem,
    ReflectionBrief,
    bootstrap_demonstrations,
    propose_by_reflection,
    propose_grounded,
)
from tierwise.schema import Price, Tier

TIER = Tier("proposer", "embedded/small", Price(1.0, 2.0), {"direct": {"max_tokens": 300}})
TRAIN = [
    dspy.Example(question=f"{i} + {i + 1}", answer=str(2 * i + 1)).with_inputs("question")
    for i in range(12)
]
PROGRAM = dspy.Predict("question -> answer")


def exact(example: Any, prediction: Any, trace: object = None) -> bool:
    return bool(example.answer == prediction.answer)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with dspy.context(adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        yield


def saying(script: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(script)
    return tier_lm(TIER, model=model, cache=False, temperature=1.0), model


def proposed(text: str) -> Completion:
    return Completion(f"[[ ## proposed_instruction ## ]]\n{text}\n\n[[ ## completed ## ]]", 50, 20)


def test_the_grounded_proposer_makes_one_call_a_candidate() -> None:
    texts = iter(["Add both numbers.", "Work out the sum with care.", "Add both numbers."])
    lm, model = saying(lambda request, seed: proposed(next(texts)))
    registry = CandidateRegistry()
    propose_grounded(registry, PROGRAM, TRAIN, lm, n=3, seed=0)
    assert [c.text for c in registry.candidates] == [
        "Add both numbers.",
        "Work out the sum with care.",
    ]
    assert [c.origin for c in registry.candidates] == ["grounded/0", "grounded/1"]
    assert registry.refused[0].reason.startswith("the same as")
    assert model.calls == 3


def test_a_call_that_fails_costs_its_candidate_alone() -> None:
    said: list[Result] = [
        Failure("context_window", "too long for the model"),
        proposed("Add both numbers."),
        Completion("no field at all", 5, 5),
        proposed("Sum them step by step."),
    ]
    answers = iter(said)
    lm, _ = saying(lambda request, seed: next(answers))
    registry = CandidateRegistry()
    propose_grounded(registry, PROGRAM, TRAIN, lm, n=4, seed=0)
    assert [c.origin for c in registry.candidates] == ["grounded/1", "grounded/3"]
    assert [r.origin for r in registry.refused] == ["grounded/0", "grounded/2"]
    assert "context_window" in registry.refused[0].reason


def test_the_reflection_sees_the_votes_and_how_the_prompt_is_run() -> None:
    seen: list[Request] = []

    def script(request: Request, seed: int) -> Result:
        seen.append(request)
        return Completion("Here:\n```\nAdd from the right to the left.\n```", 90, 9)

    lm, _ = saying(script)
    registry = CandidateRegistry()
    failing = FailedItem({"question": "5 + 8"}, ["12", "13", "12"], "13", 0.0)
    propose_by_reflection(
        registry, ReflectionBrief("p", "Add.", "a vote of 3", [failing]), lm, n=1, seed=0
    )
    (candidate,) = registry.candidates
    assert (candidate.text, candidate.origin) == ("Add from the right to the left.", "reflection/0")
    shown = seen[0].messages[-1].content
    assert "'12' x2, '13' x1" in shown
    assert "a vote of 3" in shown


def test_nothing_is_asked_where_nothing_fails() -> None:
    lm, model = saying(lambda request, seed: proposed("x"))
    propose_by_reflection(
        CandidateRegistry(), ReflectionBrief("p", "Add.", "one sample", []), lm, n=3, seed=0
    )
    assert model.calls == 0


def right_or(wrong: float) -> Any:
    def script(request: Request, seed: int) -> Result:
        asked = request.messages[-1].content.split("\n")[1]
        a, b = map(int, asked.split(" + "))
        answer = a + b + (random.Random(seed).random() < wrong)
        return Completion(f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]", 9, 3)

    return script


def test_demonstrations_are_the_programs_own_right_answers() -> None:
    lm, _ = saying(right_or(0.0))
    registry = CandidateRegistry()
    with dspy.context(lm=lm):
        bootstrap_demonstrations(registry, PROGRAM, TRAIN, exact, sizes=[2, 3], seed=1)
    sets = registry.of_kind(demos=True)
    assert [len(c.demos) for c in sets] == [2, 3]
    truth = {e.question: e.answer for e in TRAIN}
    assert all(truth[d["question"]] == d["answer"] for c in sets for d in c.demos)


def test_one_failing_bootstrap_does_not_sink_the_others() -> None:
    calls = 0

    def metric(example: Any, prediction: Any, trace: object = None) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyboardError("a metric that breaks off the first set")
        return exact(example, prediction)

    class KeyboardError(RuntimeError):
        pass

    lm, _ = saying(right_or(0.0))
    registry = CandidateRegistry()
    with dspy.context(lm=lm, max_errors=1):
        bootstrap_demonstrations(registry, PROGRAM, TRAIN, metric, sizes=[2, 2], seed=1)
        bootstrap_demonstrations(registry, object(), TRAIN, metric, sizes=[2], seed=1)
    assert registry.of_kind(demos=True)
    assert "bootstrapping failed" in registry.refused[-1].reason
