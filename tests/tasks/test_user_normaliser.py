"""A user's function that reads answers: trusted where a task brings it, never from a policy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.running import Cli
from tests.schema.folders import make_task
from tests.schema.policies import example
from tierwise.errors import InputError, UnsupportedError
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.runs import load_task
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime
from tierwise.serving.export import proxy_files
from tierwise.tasks import AnswerSpec, Task, user_code
from tierwise.testing import AnswerFormConformance

CODE = '''def fold(raw):
    """The first word, without what stands around it."""
    words = raw.strip(" .!").upper().split()
    return words[0] if words else None
'''
TASK = """name: words
inputs: [question]
items: items.jsonl
prompts: prompts.yaml
answer: {normalise: {python: norm.py:fold}}
"""


def by_hand(raw: str) -> str | None:
    return raw.strip().upper() or None


class TestAFunction(AnswerFormConformance):
    read = staticmethod(AnswerSpec(normalise=by_hand).read)
    alike = (("a b", " A b "), ("c",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(user_code, "_BOUND", {})
    items = [{"inputs": {"question": f"q{i}"}, "target": f"w{i}."} for i in range(9)]
    folder = make_task(tmp_path / "words", task=TASK, items=items)
    (folder / "norm.py").write_text(CODE)
    return folder


def policy_of(spec: AnswerSpec) -> PolicyFile:
    return replace(example(), answer=spec)


def test_a_task_file_names_the_function_and_a_policy_its_version(folder: Path) -> None:
    task = load_task(folder).task
    assert task.answer.extract(" w3 and more!") == "W3"
    assert task.score("W3", task.items[3]) == 1
    text = policy_of(task.answer).dumps()
    assert "norm.py:fold" in text
    assert "def fold" not in text
    assert PolicyFile.loads(text).answer == task.answer


def test_a_policy_alone_reads_nothing_and_runs_nobodys_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = policy_of(load_task(folder).task.answer).dumps()
    monkeypatch.setattr(user_code, "_BOUND", {})
    file = PolicyFile.loads(text)  # it can be read, checked and shown
    model = ScriptedModel(answering({"w1": 1.0}))
    with pytest.raises(InputError, match="a policy never brings: give it by --normaliser"):
        PolicyRuntime(file, model)
    user_code.bind_normaliser("norm.py:fold", folder)
    with PolicyRuntime(file, model) as runtime:
        assert runtime.answer_sync(question="?").answer == "W1"
    monkeypatch.setattr(user_code, "_BOUND", {})
    (folder / "norm.py").write_text(CODE.replace("words[0]", "words[-1]"))
    user_code.bind_normaliser("norm.py:fold", folder)
    with pytest.raises(InputError, match="another version of it than the policy was tuned with"):
        PolicyRuntime(file, model)
    with pytest.raises(UnsupportedError, match="a proxy cannot have it"):
        proxy_files(file)


def test_the_command_line_gives_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_task(folder).task.answer
    monkeypatch.setattr(user_code, "_BOUND", {})
    path = policy_of(spec).save(folder / "policy.yaml")
    asked = ["run", str(path), "--input", "hello"]
    cli = Cli(capsys)
    assert "--normaliser norm.py:fold" in cli(*asked).err
    assert "a policy never brings" not in cli(*asked, "--normaliser", folder / "norm.py:fold").err


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("fold = 3", "no function 'fold'"),
        ("def fold(raw): return 1 / 0", "norm.py:fold failed on the answer"),
        ("def fold(raw): return 3", "gives the canonical answer as text"),
        ("import nothing_like_this", "norm.py:1: cannot be run: ModuleNotFoundError"),
        (None, "no such file: norm.py"),
    ],
)
def test_faults_of_the_function_are_said_with_their_line(
    folder: Path, code: str | None, says: str
) -> None:
    if code is None:
        (folder / "norm.py").unlink()
    else:
        (folder / "norm.py").write_text(code)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    with pytest.raises(InputError, match=says):
        load_task(folder).task.answer.extract("x")


def test_data_frames_take_a_function() -> None:
    rows = [{"q": "x", "y": "a"}, {"q": "z", "y": "b"}]
    task = Task.from_rows(rows, inputs=["q"], target="y", answer=AnswerSpec(normalise=by_hand))
    assert task.score(task.answer.extract(" A"), task.items[0]) == 1
