"""Answers of the shipped tasks, in the forms that models write them: all that is plain is read.

``answer_forms.jsonl`` has the texts: a line says what is ``right`` (null: the text says no one
answer), or what it must not be read as (``wrong``). They follow bug reports of evaluation harnesses
(lm-evaluation-harness 1159, 1204, 3116, 3214, 3775, 4188; simple-evals 33, 34; evalscope 903;
sglang 29933; openbench 97; lighteval 688; THUDM/slime 2150), what providers' models are told to
write, and how models of several providers end their answers.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tierwise.schema import TaskFile
from tierwise.tasks import AnswerSpec
from tierwise.tasks.latex import canonical_latex, latex_equal

TASKS = Path(__file__).parents[2] / "tasks"
ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("answer_forms.jsonl").read_text("utf-8").splitlines()
]
BY_TASK = {task: [row for row in ROWS if row["task"] == task] for task in {r["task"] for r in ROWS}}
CALCULATED = "Some options are A and B, 3 or 17.\nIs it yes or no? The sum is 5 + 6 = 11.\n\n"


def answer_of(task: str) -> AnswerSpec:
    return TaskFile.load(TASKS / task)[0].answer


def misread(task: str, rows: list[dict[str, str]], before: str = "") -> list[tuple[str, ...]]:
    answer = answer_of(task)
    found = []
    for row in rows:
        said = answer.extract(before + row["text"])
        if said == row["wrong"] if "wrong" in row else said != row["right"]:
            found.append((row["text"], f"read as {said!r}"))
    return found


@pytest.mark.parametrize("task", sorted(BY_TASK))
def test_an_answer_is_read_in_every_form(task: str) -> None:
    assert misread(task, BY_TASK[task]) == []


@pytest.mark.parametrize("task", sorted(set(BY_TASK) - {"bbh"}))
def test_reasoning_before_it_changes_nothing(task: str) -> None:
    labelled = [
        row
        for row in BY_TASK[task]
        if row.get("right") and ("nswer" in row["text"] or "####" in row["text"])
    ]
    assert len(labelled) > 10
    assert misread(task, labelled, CALCULATED) == []


def test_the_table_holds_as_many_answers_as_texts_that_give_none() -> None:
    counts = Counter((row["task"], row.get("right") is not None) for row in ROWS)
    assert len(ROWS) > 1_000
    assert sum(n for (_, right), n in counts.items() if not right) > 350


def test_equality_in_mathematics_takes_no_other_answer() -> None:
    pytest.importorskip("math_verify", reason="the extra [math] is not installed")
    spec = answer_of("math")
    # A set of one is its element, and 2! is 2: equal, though written otherwise.
    equal = {r"\{7\}", r"\{2\}", "2!"}
    for row in BY_TASK["math"]:
        said = spec.extract(row["text"])
        if "wrong" in row and said is not None and said not in equal:
            assert not latex_equal(str(canonical_latex(row["wrong"])), said), row["text"]
        elif row.get("right"):
            assert said is not None
            assert latex_equal(str(canonical_latex(row["right"])), said), row["text"]


@pytest.mark.parametrize("task", sorted(BY_TASK))
def test_long_texts_are_read_in_linear_time(task: str) -> None:
    """A megabyte of what begins like an answer: backtracking would take for ever."""
    found = answer_of(task).extract("answer \\boxed{ " * 60_000)
    assert found is None or "boxed" in found
