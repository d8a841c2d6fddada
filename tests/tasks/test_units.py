"""Numbers with units: one vote whatever the unit, tolerances in the task's."""

from __future__ import annotations

import sys
import time

import pytest

from tierwise.errors import InputError
from tierwise.tasks import AnswerSpec, Item, Task, named_metric
from tierwise.testing import AnswerFormConformance, MetricConformance

pytest.importorskip("pint", reason="the extra [units] is not installed")

KM = AnswerSpec(normalise="number", units="km")


class TestLength(AnswerFormConformance):
    read = staticmethod(KM.extract)
    alike = (
        (
            "3 km",
            "3000 m",
            "3,000 metres",
            "**3.0 kilometers**",
            "3",
            "The answer is 3 km.",
            "3e5 cm",
        ),
        ("1.609344 km", "1 mile", "1609.344 m"),
        ("2 million km", "2e9 m"),
        ("-1 km", "-1000 m"),
    )


class TestTemperature(AnswerFormConformance):
    read = staticmethod(AnswerSpec(normalise="number", units="degC", digits=3).extract)
    alike = (("100 °C", "212 °F", "373.15 kelvin"), ("0 degC", "32 degF"))


class TestSpeed(AnswerFormConformance):
    read = staticmethod(AnswerSpec(normalise="number", units="m/s", digits=6).extract)
    alike = (("36 km/h", "10 m/s", "10 m s^-1", "36 kilometers per hour"), ("1 knot", "1 kt"))


class TestNumeric(MetricConformance):
    metric = staticmethod(named_metric({"numeric": {"relative": 0.01}}, KM)[1])
    right = (("3", Item("i", {}, "3000 m")), ("3.01", Item("i", {}, "3 km")))


class TestNumericByName(MetricConformance):
    metric = staticmethod(
        named_metric({"numeric": {"absolute": 5, "units": "m"}}, AnswerSpec(normalise="text"))[1]
    )
    right = (("3.004 km", Item("i", {}, "3000 m")), ("2 996 m", Item("i", {}, "3 km")))


@pytest.mark.parametrize(
    "text", ["3 kg", "3 bananas", "3 km or 4 km", "about", "3 km^9999", "1/0 m", "3 m**2"]
)
def test_another_kind_of_unit_and_what_is_no_unit_abstain(text: str) -> None:
    assert KM.extract(text) is None


def test_what_a_model_writes_is_not_evaluated() -> None:
    begun = time.process_time()
    for text in (
        "3 m**99**99",
        "3 9**9**9**9 m",
        "3 __import__('os')",
        "3 " + "m*" * 4000,
        "3 m^-9 km",
    ):
        assert KM.extract(text) is None
    assert time.process_time() - begun < 5


def test_an_unknown_unit_is_refused_and_a_missing_library_named(monkeypatch) -> None:
    with pytest.raises(InputError, match="'flurbs' is no unit"):
        AnswerSpec(normalise="number", units="flurbs")
    with pytest.raises(InputError, match="for normalise: number"):
        AnswerSpec(normalise="text", units="km")
    with pytest.raises(InputError, match="'flurbs' is no unit"):
        named_metric({"numeric": {"units": "flurbs"}}, KM)
    from tierwise.tasks import numbers

    numbers._registry.cache_clear()
    monkeypatch.setitem(sys.modules, "pint", None)
    numbers._unit.cache_clear()
    with pytest.raises(InputError, match=r"tierwise\[units\]"):
        AnswerSpec(normalise="number", units="mile")
    numbers._registry.cache_clear()


def test_a_task_with_units() -> None:
    rows = [{"q": "How far?", "y": "5 km"}, {"q": "And back?", "y": "10000 m"}]
    task = Task.from_rows(
        rows, inputs=["q"], target="y", answer=KM, metric={"numeric": {"relative": 0.001}}
    )
    assert [task.score(KM.extract("5 km"), item) for item in task.items] == [1, 0]
