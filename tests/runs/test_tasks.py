"""Tasks and prompts load from a path, from ./tasks or as shipped; every fault has file and line."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.schema.folders import ITEMS, PROMPTS, TASK, faults, make_task
from tierwise.errors import InputError
from tierwise.runs import load_task
from tierwise.schema import find_task, names_of
from tierwise.schema.prompt import Setting, load_library
from tierwise.schema.space import SearchSpace

SPACE = SearchSpace("s")


def test_a_task_loads(tmp_path):
    loaded = load_task(make_task(tmp_path / "sums"))
    assert loaded.task.name == "sums"
    assert loaded.task.version == 2
    assert loaded.task.items[3].inputs == {"question": "3 + 1"}
    assert loaded.task.score("4", loaded.task.items[3]) == 1.0
    assert [p.id for p in loaded.prompts] == ["plain", "steps"]
    assert loaded.prompts == loaded.own
    assert loaded.prompts[1].modes == ("think",)
    assert [p.id for p in loaded.prompts[0].variants()] == ["plain", "plain~1"]
    assert loaded.path == tmp_path / "sums" / "task.yaml"


def test_a_name_is_looked_up_here_before_what_is_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_task(tmp_path / "tasks" / "mine")
    assert load_task("mine").task.name == "sums"
    assert load_task("tasks/mine").task.name == "sums"
    assert "mine" in names_of("tasks")


def test_no_such_task_names_the_near_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_task(tmp_path / "tasks" / "arithmetik")
    with pytest.raises(InputError, match="unknown task 'aritmetik'; did you mean 'arithmetik'"):
        load_task("aritmetik")
    with pytest.raises(InputError, match=r"nowhere/x: no such task"):
        load_task("nowhere/x")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            [
                '{"id": "a", "inputs": {"question": "1"}, "target": "1"}',
                '{"id": "b", "inputs": {"question": "2"}, "target": "2"}',
                '{"id": "a", "inputs": {"question": "3"}, "target": "3"}',
            ],
            "items.jsonl:3: item id 'a' is here twice: first in line 1",
        ),
        (["", '{"id": "a", "inputs": {"question": "1"}}'], "items.jsonl:2: the target is missing"),
        (
            ['{"id": "a", "inputs": {"question": "1"}, "target": " "}'],
            "items.jsonl:1: the target is empty",
        ),
        (
            ['{"id": "a", "inputs": {"question": "1"}, "target": null}'],
            "items.jsonl:1: target 'target' must be text or a number, got nothing",
        ),
        (['{"id": "a", "inputs": {"question": "1"}, "target": "1"'], "items.jsonl:1: not JSON"),
        (["[1]"], "items.jsonl:1: an item is a JSON object"),
        (
            ['{"id": "a", "inputs": {"queston": "1"}, "target": "1"}'],
            "items.jsonl:1: an input is missing: unknown field 'question'; did you mean 'queston'",
        ),
        (
            ['{"id": "a", "inputs": {"question": {"a": 1}}, "target": "1"}'],
            "items.jsonl:1: input 'question' must be text or a number, got an object: name "
            "question.a",
        ),
        (
            ['{"id": "a", "inputs": "1", "target": "1"}'],
            "items.jsonl:1: 'inputs' must be an object",
        ),
        (["", " "], "items.jsonl: there are no items in it"),
    ],
)
def test_a_fault_in_the_items(tmp_path, lines, says):
    (fault,) = faults(load_task, make_task(tmp_path / "t", items="\n".join(lines)))
    assert fault.startswith(says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("metric:", "metrik:", "task.yaml:6: unknown key 'metrik'; did you mean 'metric'"),
        (
            "take: last",
            "tkae: last",
            "task.yaml:5: answer.extract: unknown key 'tkae'; did you mean 'take'?",
        ),
        (
            "exact_match",
            "exact_mach",
            "task.yaml:6: unknown metric 'exact_mach'; did you mean 'exact_match'?",
        ),
        ("integer", "intger", "task.yaml:5: unknown answer.normalise 'intger'"),
        (r"(-?\d+)", "(?<=a)", "task.yaml:5: answer.extract.regex"),
        (
            "inputs: [question]",
            "inputs: [queston]",
            "items.jsonl:1: an input is missing: unknown field 'queston'; did you mean 'question'",
        ),
        ("items: items.jsonl", "items: itms.jsonl", "task.yaml:4: no such file: itms.jsonl"),
        ("prompts: prompts.yaml", "prompts: p.yaml", "task.yaml:7: no such file: p.yaml"),
        (
            "version: 2",
            "version: 2\nsplits: {validation: 1, tset: 1}",
            "task.yaml:3: unknown split 'tset'; did you mean 'test'",
        ),
        ("version: 2", "version: two", "task.yaml:2: version must be a whole number, got 'two'"),
        ("name: sums", "name: no", "task.yaml:1: YAML reads no as false"),
        ("name: sums\n", "", "task.yaml:1: 'name' is missing"),
        (
            "version: 2",
            "version: 2\ndemonstration: {direct: 'A: {{ tagret }}'}",
            "task.yaml:3: demonstration 'direct' uses {{ tagret }}: unknown input 'tagret'",
        ),
        (
            "version: 2",
            "version: 2\nfields: {inputs: {qestion: q}}",
            "task.yaml:3: unknown input 'qestion'; did you mean 'question'",
        ),
    ],
)
def test_a_fault_in_task_yaml(tmp_path, old, new, says):
    assert old in TASK
    found = faults(load_task, make_task(tmp_path / "t", task=TASK.replace(old, new)))
    assert found[0].startswith(says)


def test_faults_of_all_files_are_told_together(tmp_path):
    folder = make_task(
        tmp_path / "t",
        task=TASK.replace("exact_match", "exactmatch"),
        prompts=PROMPTS.replace("{{ question }} Step", "{{ qestion }} Step"),
        items='{"id": "a"}\n{',
    )
    files = [fault.split(":")[0] for fault in faults(load_task, folder)]
    assert files == ["task.yaml", "items.jsonl", "items.jsonl", "prompts.yaml"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "{{ question }} Step",
            "{{ answer }} Step",
            "prompts.yaml:5: prompt 'steps' uses {{ answer }}: unknown input 'answer'",
        ),
        ("Find the sum.", "Sum {{ x }}", "prompts.yaml:1: prompt 'plain' uses {{ x }}"),
        (
            "Step by step.",
            "{{ phrase }}",
            "prompts.yaml:5: prompt 'steps' uses {{ phrase }} and has no 'phrase'",
        ),
        (
            "  modes: [think]",
            "  phrase: Slowly.",
            "prompts.yaml:5: prompt 'steps' does not use {{ phrase }}, its 'phrase'",
        ),
        (
            "  modes: [think]",
            "  paraphrases: [Slowly.]",
            "prompts.yaml:5: prompt 'steps' has paraphrases and neither a 'phrase' nor",
        ),
        ("id: steps", "id: plain", "prompts.yaml:5: prompt id 'plain' is here twice"),
        (
            "family:",
            "famly:",
            "prompts.yaml:6: prompts[1]: unknown key 'famly'; did you mean 'family'?",
        ),
        (
            '  user: "{{ question }} Step by step."\n',
            "",
            "prompts.yaml:5: prompt 'steps' needs either 'user'",
        ),
        (
            "system: Add up.",
            "system: 12:30:00",
            "prompts.yaml:2: YAML reads 12:30:00 as a number in base 60; if it is text",
        ),
    ],
)
def test_a_fault_in_the_prompts(tmp_path, old, new, says):
    assert old in PROMPTS
    (fault,) = faults(load_task, make_task(tmp_path / "t", prompts=PROMPTS.replace(old, new)))
    assert fault.startswith(says)


def test_items_from_flat_rows_gzip_and_csv(tmp_path):
    rows = [{"problem": row["inputs"]["question"], "solution": int(row["target"])} for row in ITEMS]
    task = TASK + "fields: {inputs: {question: problem}, target: solution}\n"
    lines = "\n".join(map(json.dumps, rows))
    folder = make_task(tmp_path / "t")
    (folder / "items.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "items.csv").write_text(
        "problem,solution\n" + "\n".join(f"{r['problem']},{r['solution']}" for r in rows)
    )
    plain = load_task(folder).task
    for suffix in ("jsonl.gz", "csv"):
        (folder / "task.yaml").write_text(task.replace("items.jsonl", f"items.{suffix}"))
        flat = load_task(folder).task
        assert flat.items_sha256 == plain.items_sha256
        assert len({item.id for item in flat.items}) == len(rows)


def test_a_fault_in_csv_has_the_line_where_its_row_begins(tmp_path):
    folder = make_task(tmp_path / "t", task=TASK.replace("items.jsonl", "items.csv"))
    (folder / "items.csv").write_text('question,target\n"1\n+ 1",2\n2 + 2,\n1,2,3\n')
    assert faults(load_task, folder) == [
        "items.csv:4: the target is empty",
        "items.csv:5: more fields than there are columns in the first line",
    ]


def test_a_broken_gzip_is_an_input_error(tmp_path):
    folder = make_task(tmp_path / "t", task=TASK.replace("items.jsonl", "items.jsonl.gz"))
    (folder / "items.jsonl.gz").write_bytes(b"not gzip")
    (fault,) = faults(load_task, folder)
    assert fault.startswith("items.jsonl.gz: cannot be read")


def test_the_library_takes_part_only_where_it_is_asked_for(tmp_path):
    folder = make_task(tmp_path / "t")
    assert len(load_task(folder, SPACE).prompts) == 2
    asked = load_task(folder, SPACE.with_prompts(library=True))
    assert len(asked.prompts) > 15
    assert [p.id for p in asked.own] == ["plain", "steps"]
    some = load_task(folder, SPACE.with_prompts(library=("re_reading", "mock")))
    assert [p.family for p in some.prompts[2:]] == ["re_reading", "mock"]
    assert all(set(p.fields) <= {"question"} for p in asked.prompts)
    assert "Add up. End with 'A: N'." in some.prompts[2].messages[-1].content


def test_a_task_without_prompts_gets_the_library(tmp_path):
    folder = make_task(tmp_path / "t", task=TASK.replace("prompts: prompts.yaml\n", ""))
    loaded = load_task(folder)
    assert loaded.own == loaded.prompts
    assert loaded.prompts[0].family == "baseline"
    (fault,) = faults(load_task, folder, SPACE.with_prompts(library=False))
    assert "there are no prompts" in fault


def test_the_library_needs_an_instruction(tmp_path):
    task = "\n".join(line for line in TASK.split("\n") if not line.startswith("instruction"))
    (fault,) = faults(
        load_task, make_task(tmp_path / "t", task=task), SPACE.with_prompts(library=True)
    )
    assert fault.startswith("task.yaml:7: the library's prompts need the task's 'instruction'")


def test_a_space_chooses_families_and_the_baseline_stays(tmp_path):
    loaded = load_task(make_task(tmp_path / "t"), SPACE.with_prompts(families=("step_by_step",)))
    assert [p.id for p in loaded.prompts] == ["steps"]
    assert loaded.own[0].id == "plain"
    (fault,) = faults(load_task, tmp_path / "t", SPACE.with_prompts(families=("step_by_stp",)))
    assert "unknown prompt family 'step_by_stp'; did you mean 'step_by_step'" in fault


def test_several_inputs_are_written_out_with_their_names():
    (prompt,) = load_library(Setting(("context", "question"), "Answer."), ["baseline"])
    assert prompt.messages[-1].content == (
        "Answer.\n\ncontext: {{ context }}\nquestion: {{ question }}"
    )


def test_shipped_tasks_load():
    for name in names_of("tasks"):
        if not any(find_task(name).parent.glob("items.*")):
            continue  # a format: the items are the user's
        loaded = load_task(find_task(name))
        assert loaded.task.name == name
        assert loaded.prompts
        for prompt in loaded.prompts:
            prompt.render(loaded.task.items[0].inputs)
