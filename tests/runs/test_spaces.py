"""Search spaces are checked against the strategies and signals that there are."""

from __future__ import annotations

from dataclasses import make_dataclass

import pytest

from tests.schema.folders import faults
from tierwise.errors import InputError
from tierwise.runs import load_space
from tierwise.schema import names_of
from tierwise.schema.space import Range
from tierwise.strategies import STRATEGIES

SPACE = """temperature: [0.3, 0.8]
modes: [direct, think]
prompts: {families: [baseline], demos: [0, 2], library: [echo]}
variants: [1, 2]
strategies:
  single:
  self_consistency: {samples: {low: 2, high: 17, log: true}}
  adaptive_consistency: {threshold: [0.8, 0.9], max_samples: 9}
difficulty: {signals: [none, length], buckets: [1, 2], probe_samples: {low: 2, high: 4}}
search_rounds: {low: 0, high: 6}
constraints: {max_usd_per_item: 0.01, max_rounds: 4}
"""


def test_a_space_loads(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SPACE)
    space = load_space(path)
    assert space.name == "mine"
    assert space.temperatures == (0.3, 0.8)
    assert space.prompts.demos == (0, 2)
    assert space.prompts.library == ("echo",)
    assert space.strategies["single"] == {}
    assert space.strategies["self_consistency"] == {"samples": Range(2, 17, log=True)}
    assert space.strategies["adaptive_consistency"] == {
        "threshold": (0.8, 0.9),
        "max_samples": (9,),
    }
    assert space.probe_samples == Range(2, 4)
    assert space.search_rounds == Range(0, 6)
    assert space.constraints.max_rounds == 4


@pytest.mark.parametrize("whole", [int, "int"], ids=["class", "postponed"])
def test_a_strategy_of_ones_own_may_have_its_types_as_classes_or_as_text(
    tmp_path, monkeypatch, whole
):
    own = make_dataclass("Own", [("votes", whole)], frozen=True)
    monkeypatch.setattr(STRATEGIES, "classes", {**STRATEGIES.classes, "own": own})
    path = tmp_path / "mine.yaml"
    path.write_text(SPACE.replace("  single:", "  own: {votes: {low: 2, high: 5}}"))
    assert load_space(path).strategies["own"] == {"votes": Range(2, 5)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("modes:", "mods:", "s.yaml:2: unknown key 'mods'; did you mean 'modes'"),
        ("demos:", "demo:", "s.yaml:3: prompts: unknown key 'demo'; did you mean 'demos'?"),
        (
            "  self_consistency",
            "  self_consistancy",
            "s.yaml:7: unknown strategy 'self_consistancy'; did you mean 'self_consistency'",
        ),
        (
            "{samples:",
            "{smples:",
            "s.yaml:7: unknown parameter of self_consistency 'smples'; did you mean 'samples'",
        ),
        (
            "low: 2, high: 17",
            "low: 20, high: 17",
            "s.yaml:7: strategies.self_consistency.samples: low (20)",
        ),
        (
            "low: 2, high: 17",
            "low: 0, high: 17",
            "s.yaml:7: strategies.self_consistency.samples: a log range",
        ),
        (
            "low: 2, high: 17",
            "low: 2.5, high: 17",
            "s.yaml:7: self_consistency.samples: must be made of whole",
        ),
        (
            "low: 2, high: 17",
            "low: 2, hihg: 17",
            "s.yaml:7: strategies.self_consistency.samples: unknown key 'hihg'; did you mean "
            "'high'",
        ),
        (
            "low: 2, high: 17, log",
            "low: 1, high: 17, lg",
            "s.yaml:7: strategies.self_consistency.samples: unknown key 'lg'",
        ),
        (
            "[0.8, 0.9]",
            "[0.8, 1.5]",
            "s.yaml:8: adaptive_consistency.threshold must be in [0.5, 1), got 1.5",
        ),
        (
            "[0.8, 0.9]",
            "[]",
            "s.yaml:8: strategies.adaptive_consistency.threshold: must have at least one choice",
        ),
        (", max_samples: 9", "", "s.yaml:8: adaptive_consistency needs 'max_samples'"),
        (
            "max_samples: 9",
            "max_samples: nine",
            "s.yaml:8: adaptive_consistency.max_samples: must be made of whole numbers",
        ),
        (
            "length]",
            "lenght]",
            "s.yaml:9: unknown difficulty signal 'lenght'; did you mean 'length'",
        ),
        ("[none, length]", "[none]", "s.yaml:9: more than one bucket needs a signal"),
        (
            "buckets: [1, 2]",
            "buckets: [0]",
            "s.yaml:9: difficulty.buckets[0] must be at least 1, got 0",
        ),
        (
            "probe_samples: {low: 2",
            "probe_samples: {low: 0",
            "s.yaml:9: difficulty.probe_samples: must be at least 1",
        ),
        ("max_rounds: 4", "max_pss: 3", "s.yaml:11: constraints: unknown key 'max_pss'"),
        ("[0.3, 0.8]", "[0.3, 0.3]", "s.yaml:1: temperature: the same choice twice"),
        ("[0.3, 0.8]", "[1e-1]", "s.yaml:1: YAML 1.1 reads 1e-1 as text, 1.2 as a number"),
        ("[echo]", "maybe", "s.yaml:3: prompts.library must be true or false, or a list"),
        ("log: true", "log: yes", "s.yaml:7: YAML reads yes as true"),
    ],
)
def test_a_fault_in_a_space(tmp_path, old, new, says):
    assert old in SPACE
    path = tmp_path / "s.yaml"
    path.write_text(SPACE.replace(old, new, 1))
    assert faults(load_space, path)[0].startswith(says)


def test_parameters_that_fit_only_together_are_no_fault(tmp_path):
    path = tmp_path / "s.yaml"
    early = "  early_stopping: {window: {low: 2, high: 5}, max_samples: {low: 4, high: 16}}\n"
    path.write_text(SPACE.replace("  single:\n", early))
    load_space(path)
    path.write_text(SPACE.replace("  single:\n", early.replace("high: 5", "high: 20")))
    (fault,) = faults(load_space, path)
    assert "max_samples (16) must be at least its window (20)" in fault


def test_no_such_space_names_the_near_ones(tmp_path):
    with pytest.raises(InputError, match="unknown search space 'defualt'; did you mean 'default'"):
        load_space("defualt")
    with pytest.raises(InputError, match=r"x\.yaml: no such search space"):
        load_space(tmp_path / "x.yaml")


def test_shipped_spaces_load():
    assert {"default", "quick"} <= set(names_of("search_spaces"))
    for name in names_of("search_spaces"):
        assert load_space(name).name == name
    default = load_space("default")
    assert default.strategies["best_of_n"]["verifier"] == ("mean_logprob",)
    assert default.prompts.library is None
    assert len(load_space("quick").strategies) < len(default.strategies)
