"""What a judge is asked, how its replies are read, and what is wrong with its keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.runs.inputs import load_task
from tierwise.schema import Judge, JudgeSpec, JudgeVerifier, Price
from tierwise.tasks import AnswerSpec, Item

ITEM = Item("q1", {"text": "the source"}, "the gold summary")
NUMBERS = JudgeSpec("openai/x", "Is it short?")
WORDS = JudgeSpec("openai/x", "Is it short?", scale=("bad", "fair", "good"))


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 4", 0.75),
        ("score : 1", 0.0),
        ("**Score:** 5", 1.0),
        ("Well put, if long.\nScore: 2.", 0.25),
        ("Score: 3/5", 0.5),
        ("Score: 1\nOn second thought.\nScore: 5", 1.0),
        ("3.4", 0.6),
        ("Score: 6", None),
        ("Score: 0", None),
        ("Score: good", None),
        ("Score:", None),
        ("", None),
        ("I cannot rate this. 4 out of 5 people could.", None),
        ("Score: nan", None),
    ],
)
def test_a_reply_is_a_value_of_the_scale_or_no_score(reply, score):
    assert NUMBERS.read(reply) == (None if score is None else pytest.approx(score))


def test_a_reply_that_was_cut_says_nothing():
    assert NUMBERS.read("Score: 4", finished=False) is None


def test_labels_are_read_in_any_case_and_scored_in_their_order():
    assert [WORDS.read(f"Score: {said}") for said in ("Bad", "FAIR", "`good`.", "goodish")] == [
        0.0,
        0.5,
        1.0,
        None,
    ]
    own = JudgeSpec("openai/x", "r", scale={"no": 0.2, "yes": 0.9})
    assert own.read("Yes") == 0.9


def test_the_metric_shows_the_target_and_the_verifier_has_no_way_to():
    judge = Judge(NUMBERS)
    verifier = JudgeVerifier("openai/x", NUMBERS.rubric, Price(1.0, 1.0))
    shown = judge.messages(ITEM, "mine")[1].content
    assert shown.index("the gold summary") < shown.index("mine")
    swapped = judge.messages(ITEM, "mine", swapped=True)[1].content
    assert swapped.index("the gold summary") > swapped.index("mine")
    unseen = dataclasses.replace(NUMBERS, reference=False)
    for messages in (Judge(unseen).messages(ITEM, "mine"), verifier.messages(ITEM.inputs, "mine")):
        assert "gold" not in "".join(m.content for m in messages)
        assert "the source" in messages[1].content
    assert judge.messages(ITEM, "mine")[0] == verifier.messages(ITEM.inputs, "mine")[0]


def test_the_rubrics_hash_is_of_all_that_the_judge_is_told():
    others = {
        NUMBERS.rubric_sha256,
        dataclasses.replace(NUMBERS, rubric="Is it long?").rubric_sha256,
        dataclasses.replace(NUMBERS, scale=(1, 3)).rubric_sha256,
        dataclasses.replace(NUMBERS, reference=False).rubric_sha256,
    }
    assert len(others) == 4
    assert dataclasses.replace(NUMBERS, repeats=5).rubric_sha256 in others


def test_labels_are_of_items_or_of_inputs_of_their_own():
    rows = (
        {"id": "q1", "answer": "a", "score": 5},
        {"inputs": {"text": "t"}, "answer": "b", "score": 2},
    )
    judge = Judge.of(JudgeSpec("openai/x", "r", labels=rows), [ITEM], AnswerSpec(normalise="none"))
    assert [(label.item.inputs["text"], label.score) for label in judge.labels] == [
        ("the source", 1.0),
        ("t", 0.25),
    ]


TASK = """name: notes
inputs: [text]
items: items.jsonl
prompts: prompts.yaml
metric:
  judge:
    model: openai/x
"""


@pytest.mark.parametrize(
    ("keys", "line", "told"),
    [
        ("    rubrik: r\n", 8, "rubric"),
        ("    rubric: r\n    scale: [5, 1]\n", 9, "lowest and highest"),
        ("    rubric: r\n    scale: [good]\n", 9, "two or more labels"),
        ("    rubric: r\n    attempts: 0\n", 9, "attempts"),
        ("    rubric: r\n    labels: none.jsonl\n", 9, "no such file: none.jsonl"),
        ("    rubric: r\n    labels: [{id: q9, answer: a, score: 3}]\n", 9, "q9"),
        ("    rubric: r\n    labels: [{id: q1, answer: a, score: 9}]\n", 9, "not on the scale"),
        ("    rubric: r\n    labels: wrong.jsonl\n", 2, "answer"),
    ],
)
def test_faults_have_their_line(tmp_path: Path, keys, line, told):
    (tmp_path / "items.jsonl").write_text('{"id": "q1", "inputs": {"text": "t"}, "target": "x"}\n')
    (tmp_path / "prompts.yaml").write_text('- {id: plain, user: "{{ text }}"}\n')
    good = '{"id": "q1", "answer": "a", "score": 3}\n'
    (tmp_path / "wrong.jsonl").write_text(good + '{"id": "q1", "score": 3}\n')
    (tmp_path / "task.yaml").write_text(TASK + keys)
    with pytest.raises(InputError, match=told) as raised:
        load_task(tmp_path / "task.yaml")
    assert f":{line}" in str(raised.value)
