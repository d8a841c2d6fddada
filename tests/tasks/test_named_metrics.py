"""Metrics by name with their parameters, and forms of answers that votes can use."""

from __future__ import annotations

import json

import pytest

from tests.schema.folders import make_task
from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.runs import load_task
from tierwise.schema import PolicyFile
from tierwise.tasks import METRICS, NORMALISERS, AnswerSpec, Item, Task, named_metric
from tierwise.testing import AnswerFormConformance, MetricConformance

TEXT, NUMBER, LABELS, JSON = (
    AnswerSpec(None, "last", n) for n in ("text", "number", "labels", "json")
)
BILL = '{"name": "Acme", "total": 12.5, "lines": ["a", "b"]}'


def item(target: str, *also: str) -> Item:
    return Item("i", {}, target, also)


def score(metric, answer: str | None, target: str, spec: AnswerSpec = TEXT) -> float:
    return named_metric(metric, spec)[1](answer, item(target))


class TestExactMatch(MetricConformance):
    metric = staticmethod(METRICS["exact_match"](TEXT))
    right = (("paris", item("Paris")),)


class TestContains(MetricConformance):
    metric = staticmethod(METRICS["contains"](TEXT))
    right = (("it is paris, of course", item("Paris")), ("new york", item("New  York.")))


class TestNumeric(MetricConformance):
    metric = staticmethod(named_metric({"numeric": {"relative": 0.01}}, NUMBER)[1])
    right = (("100", item("100")), ("99.5", item("100")), ("-0.5", item("-.5")))


class TestF1(MetricConformance):
    metric = staticmethod(METRICS["f1"](TEXT))
    right = (("denver broncos", item("The Denver Broncos")),)


class TestSetF1(MetricConformance):
    metric = staticmethod(METRICS["set_f1"](LABELS))
    right = (("billing, delivery", item("Delivery; billing")),)


class TestJsonFields(MetricConformance):
    metric = staticmethod(METRICS["json_fields"](JSON))
    right = (
        (BILL, item(BILL)),
        ('{"name": "ACME ", "total": "12.50", "lines": ["a","b"]}', item(BILL)),
    )


class TestWeighted(MetricConformance):
    metric = staticmethod(named_metric({"weighted": {"exact_match": 3, "f1": 1}}, TEXT)[1])
    right = (("new york", item("New York")),)


class TestWeightedWithParameters(MetricConformance):
    metric = staticmethod(
        named_metric({"weighted": {"numeric": {"weight": 2, "relative": 0.1}, "f1": 1}}, TEXT)[1]
    )
    right = (("100", item("100")),)


class TestRouge(MetricConformance):
    metric = staticmethod(METRICS["rouge"](TEXT))
    right = (("the cat sat", item("The cat sat.")), ("ünï 油 ½", item("Ünï 油 ½")))


class TestRougeTwo(MetricConformance):
    metric = staticmethod(named_metric({"rouge": {"kind": "rouge2"}}, TEXT)[1])
    right = (("the cat sat", item("The cat sat.")),)


class TestBleu(MetricConformance):
    metric = staticmethod(METRICS["bleu"](TEXT))
    right = (("the cat sat on the mat", item("The cat sat on the mat.")), ("yes", item("Yes")))


class TestLabels(AnswerFormConformance):
    read = staticmethod(NORMALISERS["labels"])
    alike = (
        (
            "billing, delivery",
            "Delivery; billing",
            '["delivery", "billing"]',
            "- Billing\n- delivery",
        ),
        ("billing", "Billing.", "[billing]"),
        ("delivery", "Labels: delivery"),
    )


class TestJson(AnswerFormConformance):
    read = staticmethod(NORMALISERS["json"])
    alike = (
        ('{"b": 1, "a": "x"}', '```json\n{"a": "x", "b": 1.0}\n```', 'It is {"a":"x","b":1}.'),
        ('{"a": "x"}', '{"a": "y"} or rather {"a": " x"}'),
        ("[1, 2]",),
    )


class TestRoundedNumbers(AnswerFormConformance):
    read = staticmethod(AnswerSpec(None, "last", "number", digits=3).read)
    alike = (
        ("3.14159", "3.1416 m", "3.14"),
        ("1234", "1,230", "$1,234.4"),
        ("0",),
        ("0.00123", ".001234"),
    )


@pytest.mark.parametrize(
    ("metric", "answer", "target", "right"),
    [
        ({"numeric": {"absolute": 0.5}}, "41.5", "42", 1.0),
        ({"numeric": {"absolute": 0.5}}, "41.4", "42", 0.0),
        ({"numeric": {"relative": 0.1}}, "-110", "-100", 1.0),
        ({"numeric": {"relative": 0.1}}, "-111", "-100", 0.0),
        ("numeric", "0.1", "0.10", 1.0),
        ("numeric", "many", "3", 0.0),
        ("contains", "parisian", "paris", 0.0),
        ("contains", "x", "", 0.0),
        ("f1", "denver", "denver broncos", 2 / 3),
        ("f1", "boston", "denver", 0.0),
        ("set_f1", "a, b, c", "a, b", 0.8),
        ("set_f1", "d", "a, b", 0.0),
        ("json_fields", '{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),
        ("json_fields", "no object", '{"a": 1}', 0.0),
        ({"json_fields": {"a": 3, "b": 1}}, '{"a": 1}', '{"a": 1, "b": 2}', 0.75),
        ({"json_fields": {"a": 1}}, '{"a": "X", "b": 9}', '{"a": "x", "b": 1}', 1.0),
        ({"weighted": {"exact_match": 3, "f1": 1}}, "denver", "denver broncos", 1 / 6),
        ({"weighted": {"numeric": {"weight": 3, "relative": 0.1}, "f1": 1}}, "95", "100", 0.75),
        ("rouge", "the cat", "the cat sat on", 2 / 3),
        ({"rouge": {"kind": "rouge1"}}, "cat the", "the cat", 1.0),
        ("bleu", "a dog ran", "the cat sat on the mat", 0.0),
    ],
)
def test_scores(metric, answer, target, right):
    assert score(metric, answer, target) == pytest.approx(right)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("exact_matsh", "unknown metric 'exact_matsh'; did you mean 'exact_match'?"),
        ({"numeric": {"relativ": 0.1}}, "unknown parameter of numeric 'relativ'; did you mean"),
        ({"numeric": {"relative": "1%"}}, "metric.numeric.relative must be a number, got '1%'"),
        ({"numeric": {"relative": -1}}, "a tolerance must not be negative"),
        ({"numeric": 0.1}, "metric.numeric takes parameters by name, got 0.1"),
        ({"json_fields": {"a": 0}}, "a field's weight is a number above 0"),
        ({"weighted": {"exact": 1}}, "unknown metric 'exact'"),
        ({"weighted": {}}, "weighted: give metrics with weights above 0"),
        ({"a": 1, "b": 2}, "metric must be a name"),
        ({"python": "m.py:f"}, "metric"),
        (3, "metric must be a name"),
    ],
)
def test_what_is_wrong_with_a_metric_is_said(metric, says):
    with pytest.raises(InputError) as error:
        named_metric(metric, TEXT)
    assert says in str(error.value)


def test_a_task_names_its_metric_with_parameters(tmp_path):
    folder = make_task(tmp_path / "t")
    text = (folder / "task.yaml").read_text()
    text = text.replace("metric: exact_match", "metric: {numeric: {relative: 0.1}}")
    (folder / "task.yaml").write_text(text)
    task = load_task(folder).task
    assert task.metric == "numeric(relative=0.1)"
    assert task.score("11", Item("x", {}, "10")) == 1
    (folder / "task.yaml").write_text(text.replace("relative", "relativ"))
    with pytest.raises(InputError, match=r"task.yaml:\d+: unknown parameter of numeric 'relativ'"):
        load_task(folder)


def test_the_python_door_takes_the_same_names():
    rows = [{"q": "x", "t": {"a": 1, "b": [2]}}]
    task = Task.from_rows(rows, inputs=["q"], target="t", answer=JSON, metric="json_fields")
    assert json.loads(task.items[0].target) == {"a": 1, "b": [2]}
    assert task.score('{"a": 1}', task.items[0]) == 0.5
    task = Task.from_rows(
        [{"q": "x", "t": 3.0}], inputs=["q"], target="t", metric={"numeric": {"absolute": 1}}
    )
    assert (task.metric, task.score("4", task.items[0])) == ("numeric(absolute=1)", 1)


def test_only_the_fields_that_count_are_the_answer():
    spec = AnswerSpec(r"(?s)(\{.*\})", "last", "json", fields=("name", "total"))
    said = spec.extract('Here: {"total": 3.0, "name": "Acme", "why": "since …"}')
    assert said == spec.extract('{"name": "Acme", "total": 3, "why": "other"}')
    assert spec.extract('{"name": "Acme"}') is None
    with pytest.raises(InputError, match="for normalise: json"):
        AnswerSpec(None, "last", "text", fields=("a",))


def test_a_policy_keeps_digits_and_fields():
    for spec in (
        AnswerSpec(None, "last", "number", digits=3),
        AnswerSpec(None, "last", "json", fields=("a", "b")),
    ):
        file = example(answer=spec)
        assert PolicyFile.loads(file.dumps()).answer == spec


def test_digits_are_for_numbers():
    with pytest.raises(InputError, match="for normalise: number"):
        AnswerSpec(None, "last", "text", digits=3)
