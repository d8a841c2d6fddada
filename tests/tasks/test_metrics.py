"""Metrics: mathematical equality, recorded scores, and Python beside the task."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tierwise.errors import InputError, UnsupportedError
from tierwise.tasks import METRICS, AnswerSpec, Item, Task, latex, python_metric

LATEX = AnswerSpec(normalise="latex")
ITEM = Item("i", {"question": "?"}, "1")


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("(x+1)^2", "x^2+2x+1", 1),
        (r"2\sqrt{2}", r"\sqrt{8}", 1),
        (r"\frac{\pi}{2}", r"0.5\pi", 1),
        ("(1,2)", "(2,1)", 0),
        ("3", "4", 0),
        ("10^{10^{10}}", "1", 0),
        ("2^{99999}", "7", 0),
    ],
)
def test_mathematical_equality_from_any_thread(gold, answer, same):
    pytest.importorskip("math_verify", reason="the extra [math] is not installed")
    score = METRICS["math_equal"](LATEX)
    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(score, LATEX.extract(answer), Item("x", {}, gold)).result()
    assert got == same


def test_what_is_written_alike_needs_no_mathematics(monkeypatch):
    monkeypatch.setattr(latex, "_equal", None)
    assert latex.latex_equal("1/2", "1/2")
    assert not latex.latex_equal("x" * 400, "y")


def test_without_math_verify_the_metric_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tierwise\[math\]'"):
        METRICS["math_equal"](LATEX)


def test_a_recorded_metric_scores_nothing_new():
    task = Task("t", 1, ("question",), (ITEM,), metric="recorded")
    with pytest.raises(UnsupportedError, match="recorded/MODEL"):
        task.score("1", ITEM)


def test_verifiers_are_known_by_name():
    assert Task("t", 1, ("question",), (ITEM,), verifiers=("game24",)).verifiers == ("game24",)
    with pytest.raises(InputError, match="did you mean 'game24'"):
        Task("t", 1, ("question",), (ITEM,), verifiers=("game42",))


def metric(folder, code, reference="metric.py:score"):
    (folder / "metric.py").write_text(code)
    return python_metric(reference, folder)


def test_python_beside_the_task_scores_answers_and_not_abstentions(tmp_path):
    score = metric(tmp_path, "def score(answer, item):\n    return answer in item.target\n")
    task = Task("t", 1, ("question",), (ITEM,), metric="python:metric.py:score", scorer=score)
    assert task.score("1", ITEM) == 1
    assert task.score("2", ITEM) == 0
    assert task.score(None, ITEM) == 0


@pytest.mark.parametrize(
    ("code", "reference", "says"),
    [
        ("", "metric.py:score", "no function 'score'"),
        ("", "metric:score", "FILE.py:FUNCTION"),
        ("", "other.py:score", "no such file: other.py"),
        ("def score(:\n", "metric.py:score", r"metric.py:1: cannot be run: SyntaxError"),
        ("x = 1\nimport nothing_of_the_kind\n", "metric.py:score", "metric.py:2: cannot be run"),
    ],
)
def test_what_is_wrong_with_python_is_said_before_anything_is_bought(
    tmp_path, code, reference, says
):
    with pytest.raises(InputError, match=says):
        metric(tmp_path, code, reference)


def test_a_metric_that_fails_or_gives_no_score_says_where(tmp_path):
    failing = metric(tmp_path, "def score(answer, item):\n    return item.nothing\n")
    with pytest.raises(
        InputError, match=r"metric.py:2: score failed on item 'i' with the answer '1': Attr"
    ):
        failing("1", ITEM)
    for value in ("2.0", "None", "float('nan')"):
        wrong = metric(tmp_path, f"score = lambda answer, item: {value}\n")
        with pytest.raises(InputError, match="a number from 0 to 1"):
            wrong("1", ITEM)
