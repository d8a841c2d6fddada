"""Every shipped answer form and metric is held to the contract that third parties can run."""

from __future__ import annotations

import pytest

from tierwise.tasks import METRICS, NORMALISERS, RECORDED, AnswerSpec, Item
from tierwise.tasks.code_tests import ALLOWED
from tierwise.testing import AnswerFormConformance, MetricConformance

ALIKE = {
    "none": (("a b",), ("a  b",)),
    "text": (("Paris", " **paris**. "), ("new york", "New  York")),
    "integer": (("42", "42.0", "1,000 - 958 = 42"), ("-7", "−7")),
    "number": (("0.5", ".50", "50e-2"), ("1/3",)),
    "choice": (("B", "(b)", "B. Paris"), ("C",)),
    "option": (("(B)", "B"), ("paris", "Paris.")),
    "yes_no": (("yes", "Yes, since it is."), ("no", "False")),
    "labels": (("a, b", "b; A"), ("c",)),
    "latex": ((r"\frac{1}{2}", r"$\dfrac12$"), ("x^2",)),
    "json": (('{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}'), ("[1]",)),
    "tool_calls": (
        ('[{"name": "f", "arguments": {}}]', '{"name": "f", "parameters": {}}'),
        ("no",),
    ),
    "code": (
        ("def f(x): return x + x", "```python\nf = lambda n: 2.0 * n\n```"),
        ("def f(x):\n    return {x, 2}",),
    ),
}
GIVEN = {"code": {"calls": ("f(1)", "f(3)")}}
RIGHT = {
    "exact_match": ("paris", "Paris"),
    "contains": ("it is paris", "Paris"),
    "numeric": ("42", "42.0"),
    "f1": ("denver broncos", "The Denver Broncos"),
    "set_f1": ("a, b", "b; a"),
    "json_fields": ('{"a": 1}', '{"a": 1.0}'),
    "math_equal": ("1/2", "0.5"),
    "rouge": ("the cat sat", "The cat sat"),
    "bleu": ("the cat sat", "The cat sat"),
    "code_tests": ("x = 1", "assert x == 1"),
    "weighted": ("paris", "Paris"),
}


def test_none_is_left_out() -> None:
    assert set(ALIKE) == set(NORMALISERS)
    assert set(RIGHT) | {RECORDED} == set(METRICS)


def checks(cls: type) -> list[str]:
    return [name for name in dir(cls) if name.startswith("test_")]


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("check", checks(AnswerFormConformance))
def test_answer_form(name: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    form, spec = AnswerFormConformance(), AnswerSpec(normalise=name, **GIVEN.get(name, {}))
    form.alike = ALIKE[name]  # type: ignore[misc]  # a fixture sets what a subclass would
    form.votes = spec.values if spec.calls else form.votes  # type: ignore[method-assign]  # as above
    form.read = spec.read  # type: ignore[method-assign]  # a fixture sets what a subclass would
    getattr(form, check)()


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("check", checks(MetricConformance))
def test_metric(name: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    if (name, check) == ("code_tests", "test_any_right_answer_counts"):
        pytest.skip("its targets are several tests, and the score the share that passes")
    if name == "math_equal":
        pytest.importorskip("math_verify", reason="the extra [math] is not installed")
    answer, target = RIGHT[name]
    given = {"exact_match": 1} if name == "weighted" else {}
    metric = MetricConformance()
    metric.right = ((answer, Item("i", {}, target)),)  # type: ignore[misc]  # a fixture sets what a subclass would
    metric.metric = METRICS[name](AnswerSpec(), **given)  # type: ignore[method-assign]  # a fixture sets what a subclass would
    getattr(metric, check)()
