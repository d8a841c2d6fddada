"""A program of two predictors: each is tuned by the whole program's metric, the other frozen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import dspy
from tests.dspy.examples import LITTLE, exact
from tierwise.dspy import EmbeddedAdapter, JointOptimizer, Proposing, tuned
from tierwise.dspy.program import ProgramCalls
from tierwise.errors import TierwiseError, UnsupportedError
from tierwise.serving import PolicyRuntime


class TwoSteps(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """Adds up the question, then the rest to it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> answer")
        self.second = dspy.Predict("question -> answer")

    def forward(self, question: str, rest: str) -> Any:
        return self.second(question=f"{self.first(question=question).answer} + {rest}")


def sums(n: int) -> list[Any]:
    numbers = random.Random(0)
    made = []
    for _ in range(n):
        terms = [numbers.randint(1, 6) for _ in range(4)]
        question, rest = " + ".join(map(str, terms[:3])), str(terms[3])
        example = dspy.Example(question=question, rest=rest, answer=str(sum(terms)))
        made.append(example.with_inputs("question", "rest"))
    return made


EXAMPLES = sums(240)
CALLS = 4000


def optimizer(out: Path | None, **settings: Any) -> JointOptimizer:
    given = {
        "max_calls": CALLS,
        "trials": 8,
        "search_size": LITTLE,
        "proposing": Proposing(most_prompts=3, demo_sets=()),
        **settings,
    }
    return JointOptimizer(exact, {"small": "embedded/small"}, "quick", out=out, **given)


def test_two_predictors_are_tuned_in_turn_and_serve_what_the_program_says(tmp_path: Path) -> None:
    out = tmp_path / "run"
    search = optimizer(out)
    program = search.compile(TwoSteps(), trainset=EXAMPLES)
    result = search.program_result
    assert result is not None
    assert result.predictors == ("first", "second")
    assert result.calls <= CALLS
    assert result.difference[0] == pytest.approx(result.tuned_score - result.student_score)
    assert json.loads((out / "program.json").read_text())["test_examples"] == result.test_examples
    # Served apart, the two policies say what the program says.
    runtimes = {
        name: PolicyRuntime(policies["small"]) for name, policies in program.policies.items()
    }
    with dspy.context(adapter=EmbeddedAdapter()):
        for example in EXAMPLES[:12]:
            said = program(**example.inputs()).answer
            first = runtimes["first"].answer_sync(question=example.question).answer
            second = runtimes["second"].answer_sync(question=f"{first} + {example.rest}").answer
            assert said == second

    program.save(tmp_path / "program.json")
    again = tuned(TwoSteps())
    again.load(tmp_path / "program.json")
    assert again.first.policies == program.first.policies

    # What was scored once is not scored again: the first's scores cost calls of the second.
    scores = (out / "first" / "scored.jsonl").read_text()
    assert optimizer(out).compile(TwoSteps(), trainset=EXAMPLES).first.policies == (
        program.first.policies
    )
    assert (out / "first" / "scored.jsonl").read_text() == scores


class Twice(TwoSteps):
    """Asks its first predictor twice."""

    def forward(self, question: str, rest: str) -> Any:
        return super().forward(question=f"{self.first(question=question).answer} + 1", rest=rest)


class Listed(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """Predictors in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = [dspy.Predict("question -> answer"), dspy.Predict("question -> answer")]

    def forward(self, question: str, rest: str) -> Any:
        return self.steps[1](question=self.steps[0](question=question).answer)


@pytest.mark.parametrize(
    ("program", "settings", "said"),
    [
        (Twice(), {}, "more than once"),
        (Listed(), {}, "an attribute of its own"),
        (TwoSteps(), {"max_calls": None}, "give budget_usd or max_calls"),
    ],
)
def test_programs_that_cannot_be_tuned_in_turn_are_refused(
    program: Any, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=said):
        optimizer(tmp_path, **settings).compile(program, trainset=EXAMPLES)


@pytest.mark.parametrize("usd", [0.02, 0.0003])
def test_dollars_bound_the_whole_program(usd: float, tmp_path: Path) -> None:
    search = optimizer(tmp_path, budget_usd=usd, max_calls=None, trials=4)
    if usd < 0.001:
        with pytest.raises(TierwiseError, match="budget"):
            search.compile(TwoSteps(), trainset=EXAMPLES)
        return
    search.compile(TwoSteps(), trainset=EXAMPLES)
    result = search.program_result
    assert result is not None
    assert usd / 20 < result.usd <= usd


def test_all_calls_together_stay_within_the_cap() -> None:
    for n in (2, 3, 5):
        parts = ProgramCalls(10_000, n)
        # Each sample of a predictor may cost a call of every one after it.
        worst = sum(parts.search(place) * (n - place) for place in range(n))
        assert worst <= 0.7 * 10_000
