"""Data sets of promptfoo, Langfuse, LangSmith and Hugging Face become a task that checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Cli
from tierwise.errors import InputError
from tierwise.runs.imports.data_sets import read_items
from tierwise.runs.inputs import load_task

PROMPTFOO = """
prompts:
  - 'What is the capital of {{country}}? Reply with the city only.'
  - file://chat.json
  - '{% if polite %}please{% endif %}'
defaultTest: {vars: {tone: polite}}
tests:
  - vars: {country: France}
    assert: [{type: icontains, value: Paris}, {type: llm-rubric, value: kind}]
  - {vars: {country: Spain, city: Madrid}, assert: [{type: contains, value: '{{ city }}'}]}
  - {vars: {country: Italy}, assert: [{type: javascript, value: 'true'}]}
  - file://more.csv
"""


def test_a_promptfoo_configuration_becomes_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "promptfoo.yaml").write_text(PROMPTFOO)
    (tmp_path / "more.csv").write_text("country,__expected\nPeru,contains: Lima\nJapan,Tokyo\n")
    chat = [
        {"role": "system", "content": "Be {{tone}}."},
        {"role": "user", "content": "Capital of {{country}}?"},
    ]
    (tmp_path / "chat.json").write_text(json.dumps(chat))
    made = Cli(capsys)("init", "cities", "--from-promptfoo", "promptfoo.yaml")
    assert made.code == 0, made.err
    assert "1 assertions 'llm-rubric' are not carried over" in made.out
    assert "uses Nunjucks code and is left out" in made.out
    assert "1 items have no expected output" in made.out
    loaded = load_task(tmp_path / "tasks" / "cities")
    assert [item.target for item in loaded.task.items] == ["Paris", "Madrid", "Lima", "Tokyo"]
    assert loaded.task.metric == "contains"
    assert loaded.task.inputs == ("tone", "country")
    plain, system = loaded.own
    assert plain.render({"country": "Peru", "tone": "polite"})[0].content == (
        "What is the capital of Peru? Reply with the city only."
    )
    assert system.render({"country": "Peru", "tone": "polite"})[0].content == "Be polite."
    assert Cli(capsys)("check", "tasks/cities").code == 0


ROWS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "langfuse": (
        "items.json",
        json.dumps(
            [
                {"id": "a", "input": {"q": "2+2?"}, "expectedOutput": {"answer": "4"}},
                {"id": "b", "input": '{"q": "3+2?"}', "expectedOutput": "5", "status": "ACTIVE"},
                {"id": "c", "input": {"q": "x"}, "expectedOutput": "1", "status": "ARCHIVED"},
            ]
        ),
        [{"id": "a", "q": "2+2?", "target": "4"}, {"id": "b", "q": "3+2?", "target": "5"}],
    ),
    "langfuse, csv": (
        "items.csv",
        'id,input,expected_output\na,"{""q"": ""2+2?""}",4\n',
        [{"id": "a", "q": "2+2?", "target": "4"}],
    ),
    "langsmith": (
        "examples.jsonl",
        '{"inputs": {"question": "why?", "n": 3}, "outputs": {"answer": "so"}}\n',
        [{"question": "why?", "n": "3", "target": "so"}],
    ),
    "langsmith, csv": (
        "examples.csv",
        "id,inputs_question,outputs_answer\n1,what?,42\n",
        [{"id": "1", "question": "what?", "target": "42"}],
    ),
    "langsmith, chat": (
        "examples.jsonl",
        json.dumps(
            {
                "inputs": {"messages": [{"role": "user", "content": "hi"}]},
                "outputs": {"message": {"role": "assistant", "content": "hello"}},
            }
        ),
        [{"messages": [{"role": "user", "content": "hi"}], "target": "hello"}],
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_exported_examples_become_rows(kind: str, tmp_path: Path) -> None:
    name, text, rows = ROWS[kind]
    file = tmp_path / name
    file.write_text(text)
    assert read_items(kind.partition(",")[0], file).rows == rows


def test_a_saved_hugging_face_data_set_gives_its_largest_split(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is an optional package")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = {"text": ["fine", "awful", "great"], "label": [1, 0, 1]}
    train = datasets.Dataset.from_dict(rows, features=features)
    test = datasets.Dataset.from_dict({"text": ["meh"], "label": [0]}, features=features)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "reviews"))
    found = read_items("hf", tmp_path / "reviews")
    assert [row["target"] for row in found.rows] == ["good", "bad", "good"]
    assert found.inputs == ("text",)


@pytest.mark.parametrize(
    ("kind", "name", "text", "said"),
    [
        ("promptfoo", "a.yaml", "prompts: [x]\n", "it has no tests"),
        ("promptfoo", "a.yaml", "tests: [{vars: {a: 1}}]\n", "no item with an expected output"),
        ("langfuse", "a.json", "[1]", "an item is a JSON object"),
        ("langfuse", "a.json", "{", "not JSON"),
        ("langsmith", "a.jsonl", '{"outputs": {"a": "x"}}\n', "no input in common"),
    ],
)
def test_a_file_without_items_is_refused(
    kind: str, name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_items(kind, tmp_path / name)
