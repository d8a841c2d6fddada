"""``tierwise init``: a folder that checks, from the template or a shipped format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tierwise.cli import init
from tierwise.errors import InputError
from tierwise.runs import check, load_task
from tierwise.runs.scaffold import scaffold
from tierwise.schema.json_schemas import json_schema


def test_the_template_checks_and_has_items_for_every_split(tmp_path):
    made = scaffold("mine", folder=tmp_path)
    assert check(made) == []
    task = load_task(made).task
    assert task.name == "mine"
    assert len(task.items) >= 20
    assert all(task.splits.values())
    assert {p.name for p in made.iterdir()} == {
        "README.md",
        "task.yaml",
        "prompts.yaml",
        "items.jsonl",
    }
    for kind in ("task", "prompts"):
        first = (made / f"{kind}.yaml").read_text().split("\n")[0]
        mark, _, path = first.partition("$schema=")
        assert mark == "# yaml-language-server: "
        assert json.loads((made / path).read_text()) == json_schema(kind)
    assert "tasks/mine" in (made / "README.md").read_text()


def test_nothing_is_overwritten(tmp_path):
    made = scaffold("mine", folder=tmp_path)
    (made / "task.yaml").write_text("mine")
    with pytest.raises(InputError, match="nothing is overwritten"):
        scaffold("mine", folder=tmp_path)
    assert (made / "task.yaml").read_text() == "mine"


def test_a_csv_of_ones_own(tmp_path):
    table = tmp_path / "data.csv"
    table.write_text("\ufeffMy Text,Area,label\nhello,a,x\nbye,b,y\n")
    made = scaffold(
        "own", items=table, inputs=["My Text", "Area"], target="label", folder=tmp_path / "tasks"
    )
    assert check(made) == []
    loaded = load_task(made)
    assert loaded.task.items[0].inputs == {"my_text": "hello", "area": "a"}
    assert loaded.task.items[0].target == "x"
    assert "my_text: hello\narea: a" in loaded.prompts[0].render(loaded.task.items[0].inputs)[
        -1
    ].content.replace("\n\n", "\n")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"inputs": ["txet"], "target": "label"}, "did you mean 'text'"),
        ({"inputs": ["text"], "target": "lable"}, "did you mean 'label'"),
        ({"source": "gsm9k"}, "did you mean 'gsm8k'"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing(tmp_path, more, says):
    table = tmp_path / "data.csv"
    table.write_text("text,label\nhello,x\n")
    with pytest.raises(InputError, match=says):
        scaffold("own", items=table, folder=tmp_path / "tasks", **more)
    assert not list((tmp_path / "tasks").glob("*own*"))


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden"])
def test_a_name_is_no_path(tmp_path, name):
    with pytest.raises(InputError, match="is no name"):
        scaffold(name, folder=tmp_path)


SHIPPED = {
    "gsm8k": (
        "test.jsonl",
        {"question": "2 + 2?", "answer": "It is 4.\n#### 1,004 apples"},
        {"target": "1,004 apples"},
        {"So **the answer is $1,004.**": 1, "#### 1004": 1},
    ),
    "mmlu_pro": (
        "mine.jsonl",
        {"question_id": 7, "question": "?", "options": ["one", "two"], "answer": "B"},
        {"id": "7", "inputs": {"question": "?", "options": "A. one\nB. two"}},
        {"Answer: (B) two": 1},
    ),
    "strategyqa": (
        "train.json",
        [{"qid": "a", "question": "?", "answer": True}],
        {"id": "a"},
        {"Answer: Yes.": 1, "Answer: no": 0},
    ),
    "bbh": (
        "dates.json",
        {"canary": "x", "examples": [{"input": "?", "target": "(C)"}]},
        {},
        {"the answer is (C).": 1, "Answer: C": 1},
    ),
    "math": (
        "mine.jsonl",
        {"problem": "?", "solution": r"so \boxed{1}, no: \boxed{\frac{1}{2}}"},
        {"target": r"\frac{1}{2}"},
        {r"\boxed{\sqrt{1/4}}": 1},
    ),
}
"""A shipped task -> a file of its format, what its first item is, and scores of outputs."""


@pytest.mark.parametrize("source", SHIPPED)
def test_a_file_of_a_shipped_tasks_format_is_read_and_scored(tmp_path, source):
    name, content, first, scores = SHIPPED[source]
    if source == "math":
        pytest.importorskip("math_verify", reason="the extra [math] is not installed")
    file = tmp_path / name
    file.write_text(json.dumps(content) + "\n")
    task = load_task(scaffold("t", source=source, items=file, folder=tmp_path / "tasks")).task
    item = task.items[0]
    for field, value in first.items():
        assert getattr(item, field) == value
    for said, score in scores.items():
        assert task.score(task.answer.extract(said), item) == score


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ('{"a": [], "b": []}', "one such list"),
        ("[1]", "item 1 is not"),
        ("3", "must be a list"),
    ],
)
def test_json_that_holds_no_items(tmp_path, text, says):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        scaffold("t", source="bbh", items=file, inputs=["input"], folder=tmp_path / "tasks")


def rows_of(n: int, **row: object) -> str:
    """JSON lines; {} stands for the row's number, and a list for its values in turn."""

    def value(of: object, i: int) -> object:
        found = of[i % len(of)] if isinstance(of, tuple) else of
        return found.replace("{}", str(i)) if isinstance(found, str) else found

    lines = ({name: value(of, i) for name, of in row.items()} for i in range(n))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "answer", "normalise", "metric", "says"),
    [
        (
            rows_of(30, text="{}", label=("positive", "negative")),
            None,
            "text",
            "exact_match",
            "Choose one of: negative, positive. End with a line",
        ),
        (rows_of(30, question="{}", answer="{} km"), None, "number", "exact_match", "is a number"),
        (rows_of(30, question="{}", answer="Answer {}"), None, "text", "exact_match", "End with"),
        (
            rows_of(30, question="{}", answer=(True, False)),
            None,
            "yes_no",
            "exact_match",
            '"Answer: no"',
        ),
        (
            rows_of(30, question="{}", choices=["w", "x", "y", "z"], answer=(0, 1, 2, 3)),
            None,
            "choice",
            "exact_match",
            "letter of the right option",
        ),
        (
            rows_of(30, document="{}", output={"total": 3, "name": "x"}),
            None,
            "json",
            "json_fields",
            'the fields "name", "total"',
        ),
        (
            rows_of(30, ticket="{}", labels=(["billing"], ["billing", "delivery"])),
            None,
            "labels",
            "set_f1",
            "Choose all that fit of: billing, delivery",
        ),
        (
            rows_of(30, ticket="{}", labels=("billing", "delivery; billing")),
            "labels",
            "labels",
            "set_f1",
            "Choose all that fit of: billing, delivery",
        ),
        (
            rows_of(30, message="{}", intent=("{{ bill }}", "refund")),
            None,
            "text",
            "exact_match",
            "Choose one of: refund, {{ bill }}.",
        ),
        (
            rows_of(30, question="{}?", answers=tuple([f"a{i}", f"b{i}"] for i in range(30))),
            None,
            "text",
            "exact_match",
            "End with",
        ),
    ],
)
def test_prompts_say_what_an_answer_is_as_the_right_answers_show(
    tmp_path, text, answer, normalise, metric, says
):
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    made = scaffold("t", items=file, answer=answer, folder=tmp_path / "tasks")
    assert check(made) == []
    loaded = load_task(made)
    assert (loaded.task.answer.normalise, loaded.task.metric) == (normalise, metric)
    for prompt in loaded.prompts:
        assert says in prompt.render(loaded.task.items[0].inputs)[-1].content
    readme = (made / "README.md").read_text()
    assert "`mine.jsonl` holds 30 items" in readme
    assert "items.jsonl" not in readme
    target = loaded.task.items[0].target
    said = target if normalise == "json" else f"So it is.\n\n**Answer:** {target}"
    assert loaded.task.score(loaded.task.answer.extract(said), loaded.task.items[0]) > 0


REVIEWS = "review,stars\n" + "".join(f"good {i},{'pos' if i % 2 else 'neg'}\n" for i in range(30))


def test_a_terminal_is_asked_for_what_options_do_not_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text(REVIEWS)
    runner = CliRunner()
    refused = runner.invoke(init.command, [])
    assert refused.exit_code == 2
    assert "Missing argument 'NAME'" in refused.output
    monkeypatch.setattr(init, "_on_a_terminal", lambda: True)
    said = [
        "../x",
        "mood",
        "none.csv",
        "reviews.csv",
        "",
        "star",
        "stars",
        "label",
        "Mood of {{ review }}?",
    ]
    asked = runner.invoke(init.command, [], input="\n".join(said) + "\n")
    assert asked.exit_code == 0, asked.output
    assert "did you mean 'stars'?" in asked.output
    loaded = load_task(Path("tasks/mood"))
    assert loaded.prompts[0].id == "today"
    item = loaded.task.items[0]
    assert loaded.prompts[0].render(item.inputs)[-1].content == "Mood of good 0?"
    for text in ("neg", "I would say:\nneg", "Answer: neg\nor so"):
        assert loaded.task.score(loaded.task.answer.extract(text), item) == 1
    options = ["--items", "reviews.csv", "--target", "stars", "--input", "review"]
    same = runner.invoke(
        init.command, ["mood2", *options, "--answer", "label", "--prompt", "Mood of {{ review }}?"]
    )
    assert same.exit_code == 0, same.output
    for name in ("task.yaml", "prompts.yaml"):
        text = (Path("tasks/mood2") / name).read_text().replace("mood2", "mood")
        assert text == (Path("tasks/mood") / name).read_text()


@pytest.mark.parametrize(
    ("prompt", "says"), [("Hi.", "uses no column"), ("{{ revew }}", "did you mean 'review'")]
)
def test_a_prompt_that_fits_no_column_leaves_nothing(tmp_path, prompt, says):
    file = tmp_path / "reviews.csv"
    file.write_text(REVIEWS)
    with pytest.raises(InputError, match=says):
        scaffold("t", items=file, target="stars", prompt=prompt, folder=tmp_path / "tasks")
    assert not (tmp_path / "tasks" / "t").exists()


def test_chats_of_production_are_the_baseline_as_they_are(tmp_path):
    file = tmp_path / "chats.jsonl"
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Mine?"}]
    last = [{"role": "assistant", "content": word} for word in ("accept", "reject")]
    rows = [
        {"messages": [*chat[:1], {**chat[1], "content": f"{i}?"}, last[i % 2]]} for i in range(20)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = scaffold("t", items=file, folder=tmp_path / "tasks")
    assert check(made) == []
    loaded = load_task(made)
    item = loaded.task.items[0]
    assert [m.body for m in loaded.prompts[0].render(item.inputs)] == rows[0]["messages"][:2]
    assert loaded.task.score(loaded.task.answer.extract("I would:\n\nAccept."), item) == 1


def test_free_text_is_scored_by_its_words(tmp_path):
    file = tmp_path / "notes.jsonl"
    text = "a long text of many words that nobody says twice in the same way, number {}"
    rows = [{"article": f"n{i}", "summary": text.format(i)} for i in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_task(scaffold("t", items=file, folder=tmp_path / "tasks"))
    assert (loaded.task.metric, loaded.task.answer.normalise) == ("f1", "none")
    assert loaded.task.free_text
