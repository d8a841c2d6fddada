"""YAML is read as plain data with lines, and what YAML versions read differently is a fault."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.errors import Faults, InputError, raise_any
from tierwise.schema.yaml_io import dump, parse


def test_every_value_has_its_line():
    document = parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert document.data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert document.line(("b",)) == 2
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "d")) == 5
    assert document.line(("b", 1, "nowhere", 7)) == 4
    assert document.line(("nowhere",)) == 1


@pytest.mark.parametrize(
    "raw", ["no", "Yes", "on", "OFF", "1e3", "-2.5E10", "12:30:00", "010", "0o17"]
)
def test_a_trap_is_a_fault_that_asks_for_quotes(raw):
    (fault,) = parse(f"a: 1\nb: {raw}\n", "f.yaml").traps.values()
    assert str(fault).startswith("f.yaml:2: YAML")
    assert f"write it in quotes: '{raw}'" in str(fault)
    assert parse(f"b: '{raw}'").traps == {}
    assert parse(f"b: '{raw}'").data == {"b": raw}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("true", True),
        ("False", False),
        ("1", 1),
        ("-0.5", -0.5),
        ("1.0e-3", 0.001),
        ("null", None),
        ("~", None),
        ("2026-01-31", "2026-01-31"),
        ("text", "text"),
        ("0", 0),
        ("0.8", 0.8),
    ],
)
def test_what_all_versions_read_alike_is_no_trap(raw, value):
    document = parse(f"a: {raw}")
    assert document.traps == {}
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


@pytest.mark.parametrize("key", ["no", "1", "1.5", "null", "? [a]\n"])
def test_a_key_that_is_not_text_is_a_fault(key):
    assert any("write it in quotes" in str(f) for f in parse(f"{key}: 1").traps.values())


def test_a_key_twice_is_a_fault_and_the_first_counts():
    document = parse("a: 1\nb: 2\na: 3\n", "f.yaml")
    assert document.data == {"a": 1, "b": 2}
    assert [str(f) for f in document.traps.values()] == [
        "f.yaml:3: the key 'a' is here twice (line 1)"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [1]\nb: *x", "f.yaml:2: not YAML: aliases"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1: not YAML: tags"),
        ("a: !!set {x}", "f.yaml:1: not YAML: tags"),
        ("a:\n\t- 1", "f.yaml:2: not YAML"),
        ("a: 1\n---\nb: 2", "f.yaml:2: not YAML"),
        ("a: [1", "not YAML"),
        ('a: "\\ud800"', "surrogate"),
        ("{a: " * 60, "nested more than 40 deep"),
        ("a: " + "x" * 4_000_000, "f.yaml: is larger than 4,000,000 characters"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml")
    assert says in str(caught.value)


def test_more_values_than_a_file_of_ours_has_are_refused(monkeypatch):
    monkeypatch.setattr("tierwise.schema.yaml_io._NODES", 100)
    assert parse("[" + "a," * 99 + "]", "f.yaml").data == ["a"] * 99
    with pytest.raises(InputError, match="more than 100 values"):
        parse("[" + "[]," * 100 + "]", "f.yaml")


def test_numbers_without_end():
    assert "finite" in str(*parse("a: .inf").traps.values())
    for digits in (400, 5000):
        assert "too large" in str(*parse("a: " + "9" * digits).traps.values())


def test_faults_flatten_and_one_is_itself():
    one, two = InputError("x", path="a", line=1), InputError("y", path="b", line=2)
    both = Faults([Faults([one]), two])
    assert both.faults == (one, two)
    assert str(both) == "a:1: x\nb:2: y"
    assert (Faults([one]).path, Faults([one]).line, str(Faults([one]))) == ("a", 1, "a:1: x")
    raise_any([])
    with pytest.raises(Faults, match=r"and 15 more"):
        raise_any([one] * 40)


def test_short_maps_are_written_on_one_line():
    data = {
        "a": {"x": 1},
        "b": {"x": {"y": [1, 2]}},
        "price": {"x": {"y": 1}},
        "variants": [{"x": 1}],
        "modes": {"a": {"x": {"y": 1}}},
    }
    assert dump(data) == (
        "a: {x: 1}\nb:\n  x:\n    y: [1, 2]\nprice: {x: {y: 1}}\nvariants: [{x: 1}]\n"
        "modes:\n  a: {x: {y: 1}}\n"
    )


def test_what_another_version_would_read_as_a_number_is_written_in_quotes():
    assert dump({"a": "1e3", "b": "no", "c": "12", "d": "0x1"}) == (
        "a: \"1e3\"\nb: 'no'\nc: \"12\"\nd: '0x1'\n"
    )


_LEAF = st.none() | st.booleans() | st.integers() | st.text()
_LEAF |= st.floats(allow_nan=False, allow_infinity=False)
_TREE = st.recursive(_LEAF, lambda t: st.lists(t) | st.dictionaries(st.text(), t), max_leaves=10)


@given(st.dictionaries(st.text(), _TREE, min_size=1, max_size=5))
@settings(max_examples=100, derandomize=True)
def test_any_plain_data_reads_back_equal_and_without_traps(data):
    document = parse(dump(data))
    assert document.data == data
    assert document.traps == {}
