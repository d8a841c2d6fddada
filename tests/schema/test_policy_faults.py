"""Whatever is wrong with a policy file is told at once, with its line."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.policies import example
from tierwise.errors import InputError
from tierwise.schema.policy_file import PolicyFile


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        PolicyFile.loads(text, "p.yaml")
    return str(caught.value).split("\n")


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.split("\n"), start=1) if part in line)


def test_a_misspelt_key_gets_one_message_with_line_and_the_right_key():
    text = example().dumps().replace("    strategy: {kind: self", "    stratgy: {kind: self")
    (fault,) = faults(text)
    assert fault.startswith(f"p.yaml:{line_of(text, 'stratgy')}: buckets[0]: unknown key 'stratgy'")
    assert "did you mean 'strategy'?" in fault


def test_all_faults_are_told_at_once_in_order_of_lines():
    text = example().dumps()
    text = text.replace("take: last", "tkae: last").replace("max_samples: 20", "max_samples: 0")
    text = text.replace("task: {name", "task: {nme").replace("takes_n: true", "takes_n: 1")
    found = faults(text)
    assert len(found) == 4
    assert [int(f.split(":")[1]) for f in found] == sorted(int(f.split(":")[1]) for f in found)
    with pytest.raises(InputError) as caught:
        PolicyFile.loads(text)
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[0.75]", "[0.75, 0.9]", "2 buckets need 1 thresholds, got 2"),
        (r"(-?\d+)", "(?=x)", "linear time"),
        ("integer", "intger", "did you mean 'integer'"),
        (
            "probe: {prompt: worked",
            "probe: {prompt: work",
            "unknown prompt 'work'; did you mean 'worked'",
        ),
        (
            "[{prompt: worked, mode: direct",
            "[{prompt: worked, mode: drect",
            "unknown mode of tier 'small' 'drect'; did you mean 'direct'",
        ),
        (
            "direct, temperature: 0.8, samples",
            "direct, samples",
            "'temperature' is missing (or give",
        ),
        ("probe: {", "probe: {variants: [], ", "probe.variants must not be empty"),
        (
            "probe: {",
            "probe: {variants: [{prompt: worked, mode: think, temperature: 1.0}], ",
            "give 'prompt' or a list of 'variants', not both",
        ),
        ("share: 0.61", "share: 1.5", "at most 1"),
        ("share: 0.61", "name: eazy", "here twice"),
        (
            "{max_tokens: 32}",
            "{max_tokens: 32, api_base: 'http://x'}",
            "unknown parameter of a mode 'api_base'",
        ),
        ("{max_tokens: 32}", "{temperature: 0.1}", "a variant and its samples set it"),
        ("{max_tokens: 32}", "{extra_body: {api_base: x}}", "no addresses"),
        ("{max_tokens: 32}", "{extra_body: {x: ['http://x']}}", "address"),
        ("openai/gpt-4o-mini", "http://host/v1", "not an address"),
        ("name: arithmetic-small", "name: no", "write it in quotes: 'no'"),
        ('items_sha256: "1e5"', "items_sha256: 1e5", "write it in quotes: '1e5'"),
        ("'2026-11-23T12:30:00'", "12:30:00", "write it in quotes: '12:30:00'"),
        ("name: arithmetic-small", "name: 010", "write it in quotes: '010'"),
        ("name: arithmetic-small", "name: 12", "must be text"),
        ("thresholds: [0.75]", "thresholds: [.inf]", "finite"),
        ("name: arithmetic-small", "name: &a arithmetic\nnotes: [*a]", "aliases"),
        ("name: arithmetic-small", "name: !!python/name:os.system x", "tags"),
        ("name: arithmetic-small", "name: ]", "not YAML"),
        ("{kind: self_consistency, samples", "{samples", "needs a 'kind'"),
        ("samples: 3}", "samples: [3]}", "must be a number, a text"),
        ("role: system", "role: sytem", "did you mean 'system'"),
    ],
)
def test_a_fault_is_named_with_its_line(old, new, says):
    text = example().dumps()
    assert old in text
    text = text.replace(old, new, 1)
    (fault,) = faults(text)
    assert says in fault
    assert fault.startswith("p.yaml:")
    assert int(fault.split(":")[1]) == line_of(text, new.split("\n")[-1])


def test_a_prompt_must_not_use_a_field_that_the_inputs_lack():
    text = example().dumps().replace("inputs: [question]", "inputs: [query]")
    first, second = faults(text)
    assert "prompt 'totals' uses {{ question }}: unknown input 'question'; known: query" in first
    assert first.startswith(f"p.yaml:{line_of(text, '  totals:')}: ")
    assert "'worked'" in second


_JUNK = ["", "{", "]", ": ", "- ", "9" * 400, "1.0e+999", "null", "'", "x: ", "[[]]", "!", "\t"]


@given(st.data())
@settings(max_examples=60, derandomize=True)
def test_a_spoilt_file_is_never_more_than_an_input_error(data):
    lines = example().dumps().split("\n")
    number = data.draw(st.integers(0, len(lines) - 2))
    line = lines[number]
    cut = data.draw(st.integers(0, len(line)))
    junk = data.draw(st.sampled_from(_JUNK))
    keep = data.draw(st.booleans())
    lines[number] = line[:cut] + junk + (line[cut:] if keep else "")
    with contextlib.suppress(InputError):  # refused, or read where the junk does no harm
        PolicyFile.loads("\n".join(lines), "p.yaml")


def test_a_newer_schema_is_not_a_heap_of_unknown_keys():
    text = example().dumps().replace("policy/v1", "policy/v2").replace("buckets:", "levels:")
    (fault,) = faults(text)
    assert fault.startswith("p.yaml:1: ")
    assert "newer tierwise" in fault
    assert "upgrade" in fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'schema' is missing|nothing in it"),
        ("name: x", "'schema' is missing"),
        ("schema: tierwise/job/v1", "unknown schema"),
        ("- a", "must be a mapping"),
        ("[" * 2000, "deep|not YAML"),
        ("a: \x00", "not YAML"),
    ],
)
def test_what_is_no_policy_at_all(text, says):
    with pytest.raises(InputError, match=says):
        PolicyFile.loads(text, "p.yaml")


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        PolicyFile.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(InputError, match="UTF-8"):
        PolicyFile.load(tmp_path / "latin.yaml")


def test_a_long_value_in_the_wrong_place_is_not_repeated():
    text = example().dumps().replace("{max_tokens: 32}", "sk-very-long-secret-0123456789")
    assert "secret" not in "".join(faults(text))


@pytest.mark.parametrize(
    "sent",
    [
        "{max_tokens: 32, extra_body: {n: 100}}",
        "{max_tokens: 32, extra_body: {bestOf: 100}}",
        "{max_tokens: 32, extra_body: {options: {num-return-sequences: 9}}}",
        "{max_tokens: 32, extra_body: {model: openai/expensive}}",
        "{max_tokens: 32, extra_body: {messages: []}}",
        "{max_tokens: 32, extra_body: {tools: [{type: web_search}]}}",
        "{max_tokens: 32, extra_body: {plugins: [{id: web}]}}",
        "{max_tokens: 32, extra_body: {a: [{extra_body: {n: 9}}]}}",
        "{max_tokens: '32; n=5'}",
        "{max_tokens: true}",
        "{max_tokens: 0}",
        "{max_tokens: 100000000000}",
        "{max_tokens: 32, extra_body: {options: {num_predict: -1}}}",
    ],
)
def test_a_mode_sends_no_more_than_the_call_that_is_counted(sent: str) -> None:
    with pytest.raises(InputError, match=r"is not allowed: a call sets it|must be a whole number"):
        PolicyFile.loads(example().dumps().replace("{max_tokens: 32}", sent))


def test_a_schema_in_a_body_may_name_its_fields_as_it_likes() -> None:
    sent = "{max_tokens: 32, extra_body: {guided_json: {properties: {n: {type: integer}}}}}"
    PolicyFile.loads(example().dumps().replace("{max_tokens: 32}", sent))


def test_a_policy_asks_for_no_more_samples_than_there_are_seeds() -> None:
    text = example().dumps()
    for sample in re.findall(r"samples: \d+", text):
        with pytest.raises(InputError, match=r"at most 4,?096|less than or equal to 4096"):
            PolicyFile.loads(text.replace(sample, "samples: 1000000000"))
