"""Answers that are JSON by a schema, and their fields."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from pydantic import BaseModel

from tests.schema.folders import make_task
from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.runs import load_task
from tierwise.schema import PolicyFile
from tierwise.tasks import AnswerSpec, Task
from tierwise.testing import AnswerFormConformance


class Line(BaseModel):
    what: str
    amount: int = 1


class Bill(BaseModel):
    name: str
    total: float
    lines: list[Line] = []


SPEC = AnswerSpec(normalise="json", schema=Bill)
BILL = {"name": "Acme", "total": 12, "lines": [{"what": "tea", "amount": 2}]}


class TestSchema(AnswerFormConformance):
    read = staticmethod(SPEC.extract)
    alike = (
        (json.dumps(BILL), f"Sure!\n```json\n{json.dumps(BILL, indent=2)}\n```\nSee [1]."),
        ('{"total": 3.0, "name": "B  C"}', '{"name": "B C", "total": 3, "paid": true}'),
    )


def test_what_does_not_keep_to_the_schema_is_an_abstention() -> None:
    for text in ('{"name": "Acme"}', '{"name": 3, "total": 1}', "[1]", '{"name": "A", "tot'):
        assert SPEC.extract(text) is None


def test_the_last_object_that_keeps_to_the_schema_counts() -> None:
    text = '{"name": "A", "total": 1} and {"name": "B", "total": 2}, as in {"name": "x"} and [3]'
    assert json.loads(SPEC.extract(text)) == {"name": "B", "total": 2}


def test_fields_are_taken_apart_and_put_together() -> None:
    assert SPEC.ballots == ("name", "total", "lines")
    for bill in (BILL, {"name": "x", "total": 1}):
        answer = SPEC.read(json.dumps(bill))
        assert SPEC.elected(SPEC.values(answer)) == answer
    assert SPEC.values(SPEC.read('{"name": "x", "total": 1}'))[2] == ""  # left out: a vote too
    assert SPEC.values(None) == ()


def test_votes_may_be_whole_or_on_some_fields() -> None:
    assert AnswerSpec(normalise="json", schema=Bill, vote="whole").ballots == ()
    assert AnswerSpec(normalise="json", schema=Bill, fields=("total",)).ballots == ("total",)
    assert AnswerSpec(normalise="json", fields=("a", "b")).ballots == ("a", "b")
    assert AnswerSpec(normalise="json").ballots == ()
    with pytest.raises(InputError, match="did you mean 'total'"):
        AnswerSpec(normalise="json", schema=Bill, fields=("totl",))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objekt"}, "no JSON Schema"),
        ("{", "no JSON"),
        (3, "must be a JSON Schema"),
        ({"$ref": "https://example.org/s.json"}, "there is no"),
        ({"$ref": "#/$defs/gone"}, "there is no"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "itself"),
        ({"$ref": "#"}, "itself"),
        ({"properties": {"a": {"pattern": "(a+)+$(?=b)"}}}, "linear time"),
        ({"patternProperties": {"a": {}}}, "not taken"),
        (
            {
                "$defs": {
                    f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 4} for i in range(12)
                }
                | {"d12": {"type": "string"}},
                "$ref": "#/$defs/d0",
            },
            "more than 10,000",
        ),
    ],
)
def test_a_schema_of_a_stranger_is_refused_where_it_could_harm(schema: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        AnswerSpec(normalise="json", schema=schema)


def test_patterns_run_in_linear_time_and_names_are_no_keywords() -> None:
    properties = {"code": {"pattern": "^(a+)+$"}, "enum": {"$ref": "#/$defs/word"}, "$defs": {}}
    schema = {"properties": properties, "$defs": {"word": {"type": "string"}}}
    spec = AnswerSpec(normalise="json", schema=schema)
    assert spec.extract('{"code": "aaa", "enum": "x"}') is not None
    assert spec.extract('{"code": "aaa", "enum": 1}') is None
    begun = time.process_time()
    assert spec.extract(json.dumps({"code": "a" * 5000 + "!"})) is None
    assert time.process_time() - begun < 5


def test_a_file_holds_it_whole() -> None:
    for spec in (SPEC, AnswerSpec(normalise="json", schema=Bill, fields=("name",), vote="whole")):
        file = replace(example(), answer=spec)
        assert PolicyFile.loads(file.dumps()) == file


TASK = """
name: bills
inputs: [text]
items: items.jsonl
answer:
  normalise: json
  schema:
    type: object
    properties: {name: {type: string}, total: {type: number}}
    required: [name, total]
metric: {json_fields: {total: 3}}
instruction: Extract the bill as JSON.
"""


def test_a_task_file_takes_a_schema_and_names_the_line_of_a_fault(tmp_path) -> None:
    rows = [{"text": f"bill {i}", "target": {"name": "A", "total": i}} for i in range(4)]
    folder = make_task(tmp_path, task=TASK, items=rows)
    task = load_task(folder).task
    assert task.answer.ballots == ("name", "total")
    assert json.loads(task.items[0].target)["name"] == "A"
    path = folder / "task.yaml"
    path.write_text(TASK.replace("{type: string}", "{type: strin}"))
    with pytest.raises(InputError, match=r"task.yaml:7: .*no JSON Schema"):
        load_task(folder)
    path.write_text(TASK.replace("{json_fields: {total: 3}}", "recorded"))
    with pytest.raises(InputError, match=r"set answer\.vote: whole"):
        load_task(folder)
    rows[1]["target"] = {"name": "A"}
    with pytest.raises(InputError, match=r"cannot be read by answer\.normalise: json"):
        load_task(make_task(tmp_path / "other", task=TASK, items=rows))


def test_a_task_of_python_takes_a_pydantic_model() -> None:
    rows = [{"text": "x", "bill": BILL}, {"text": "y", "bill": {**BILL, "total": 3}}]
    task = Task.from_rows(rows, inputs=["text"], target="bill", answer=SPEC, metric="json_fields")
    assert task.score(SPEC.read(json.dumps(BILL)), task.items[0]) == 1
    assert task.score(None, task.items[0]) == 0
