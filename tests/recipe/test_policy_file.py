"""A policy file reads back equal, says everything that is wrong, and carries nothing unsafe."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recipe.policies import WORKED, example
from tierwise.errors import InputError
from tierwise.recipe import (
    Arm,
    Difficulty,
    Limits,
    Message,
    Policy,
    Price,
    Probe,
    PromptTemplate,
    Recipe,
    RetrieverSpec,
    StrategySpec,
    Tier,
    TurnTemplate,
)
from tierwise.recipe.policy_file import PolicyFile, TaskRef, json_schema
from tierwise.recipe.prompt import fields_of
from tierwise.task import AnswerSpec


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        PolicyFile.loads(text, "p.yaml")
    return str(caught.value).split("\n")


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.split("\n"), start=1) if part in line)


def test_reads_back_equal_and_the_same_bytes():
    file = example()
    text = file.dumps()
    assert PolicyFile.loads(text) == file
    assert PolicyFile.loads(text).dumps() == text


def test_is_readable():
    text = example().dumps()
    assert "  direct: {max_tokens: 32}\n" in text
    assert "    strategy: {kind: self_consistency, draws: 3}\n" in text
    assert "          Work.\n          End with 'A: N'.\n" in text
    assert "    arms: [{prompt: worked, mode: direct, temperature: 0.8}]\n" in text
    assert text.index("buckets:") < text.index("expected:") < text.index("provenance:")


def test_save_and_load(tmp_path):
    path = tmp_path / "policies" / "small.yaml"
    file = example()
    file.save(path)
    file.save(path)
    assert PolicyFile.load(path) == file
    assert [p.name for p in path.parent.iterdir()] == ["small.yaml"]


def test_keeps_only_what_the_policy_uses():
    file = example()
    tier = replace(file.tier, modes={**file.tier.modes, "unused": {"max_tokens": 1}})
    other = PromptTemplate("other", (Message("user", "{{ question }}"),))
    same = replace(file, tier=tier, prompts={**file.prompts, "other": other})
    assert same == file


def test_thresholds_are_exact_and_evidence_is_rounded():
    cut = 0.1 + 0.2
    file = example()
    policy = replace(file.policy, difficulty=replace(file.policy.difficulty, thresholds=(cut,)))
    file = replace(file, policy=policy, expected={"score": 1 / 3, "ci": (0.1, math.nan)})
    again = PolicyFile.loads(file.dumps())
    assert again.policy.difficulty.thresholds == (cut,)
    assert again.expected == {"score": 0.333333, "ci": [0.1, None]}


def test_a_bucket_on_another_tier_reads_back_equal():
    file = example()
    strong = Arm("worked", "direct", 0.0, "large")
    buckets = (file.policy.buckets[0], Recipe((strong,), StrategySpec.of("single")))
    large = Tier("large", "openai/gpt-4o", Price(2.5, 10.0), {"direct": {"max_tokens": 99}})
    file = replace(file, policy=replace(file.policy, buckets=buckets), other_tiers={"large": large})
    again = PolicyFile.loads(file.dumps())
    assert again == file
    assert again.tier_of(strong) == large
    assert again.tier_of(WORKED).modes == {"direct": {"max_tokens": 32}}


# words that YAML 1.1 or 1.2 would read as something else, breaks, indents and quotes
_TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["no", "1e3", "12:30:00", "010", "null", "~", "=", "<<", ".nan", "2024-01-01"]),
    st.sampled_from([" x\n  y\n", "\n\n", "x \n", "\ttab\n", "\x85", "a\u2028b", "- a", "a: b"]),
    st.sampled_from(["'\"", "#", "{{ q }}", "...", "---", "? x", "!!str x", "&a", "*a", "%", "`"]),
)
_WORD = st.one_of(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.sampled_from(["no", "1e3", "010"])
)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_POSITIVE = st.floats(min_value=1e-9, max_value=1e9)
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(), _FINITE, _TEXT)
_TREE = st.recursive(
    _LEAF, lambda t: st.lists(t, max_size=3) | st.dictionaries(_TEXT, t, max_size=3), max_leaves=8
)
_EVIDENCE = st.dictionaries(_TEXT, _TREE, max_size=4)


@st.composite
def policy_files(draw) -> PolicyFile:
    prompt_ids = draw(st.lists(_WORD, min_size=1, max_size=3, unique=True))
    mode_names = draw(st.lists(_WORD, min_size=1, max_size=2, unique=True))
    arms = st.builds(
        Arm, st.sampled_from(prompt_ids), st.sampled_from(mode_names), st.floats(0, 2),
        st.sampled_from(["the other", None]), st.just(()),
    )  # fmt: skip
    specs = st.builds(
        StrategySpec.of, _WORD, st.dictionaries(st.sampled_from("abc"), _LEAF, max_size=3)
    )
    recipes = st.builds(Recipe, st.lists(arms, min_size=1, max_size=3).map(tuple), specs)
    buckets = tuple(draw(st.lists(recipes, min_size=1, max_size=4)))
    cuts = draw(
        st.lists(_FINITE, min_size=len(buckets) - 1, max_size=len(buckets) - 1, unique=True)
    )
    probed = st.lists(arms, min_size=1, max_size=2, unique=True).map(tuple)
    probe = draw(st.none() | st.builds(Probe, probed, st.integers(2, 4)))
    limits = draw(st.builds(
        Limits, st.none() | _POSITIVE, st.none() | st.integers(1, 99), st.none() | _POSITIVE,
        st.sampled_from(["answer_with_what_arrived", "fail"]),
    ))  # fmt: skip
    messages = st.lists(st.builds(Message, st.sampled_from(["system", "user"]), _TEXT), min_size=1)
    sends = st.dictionaries(st.just("max_tokens"), st.integers(1, 99))
    turns = st.dictionaries(
        st.sampled_from(["critique", "refine", "query", "answer"]),
        st.builds(TurnTemplate, _TEXT, sends), max_size=2,
    )  # fmt: skip
    prompts = {
        i: PromptTemplate(
            i, tuple(m for m in draw(messages)), draw(_TEXT), origin=draw(_TEXT), turns=draw(turns)
        )
        for i in prompt_ids
    }
    modes = {m: {"max_tokens": draw(st.integers(1, 99)), "stop": draw(st.lists(_TEXT, max_size=2))}
             for m in mode_names}  # fmt: skip
    price = draw(
        st.builds(Price, _POSITIVE, _POSITIVE, st.none() | _POSITIVE, _TEXT, st.booleans())
    )
    tier = Tier(draw(_TEXT.filter(bool)), "openai/m", price, modes, draw(st.booleans()),
                draw(st.booleans()), {"rpm": draw(_POSITIVE)})  # fmt: skip
    difficulty = Difficulty(draw(_WORD), tuple(sorted(cuts, reverse=True)), probe)
    shares = draw(st.sampled_from([(), (1 / len(buckets),) * len(buckets)]))
    texts = [t.text for p in prompts.values() for t in p.turns.values()]
    used = [*(name for p in prompts.values() for name in p.fields), *fields_of(" ".join(texts))]
    retriever = st.builds(
        RetrieverSpec, _WORD.map("r".__add__), st.just(AnswerSpec("q: (.*)", "last", "none")),
        _TEXT, _TEXT, st.integers(1, 9999), _POSITIVE,
    )  # fmt: skip
    return PolicyFile(
        draw(_TEXT.filter(bool)), tier, TaskRef(draw(_TEXT), draw(st.integers()), "m", draw(_TEXT)),
        tuple(dict.fromkeys(used)), prompts, Policy(buckets, difficulty, limits), shares,
        AnswerSpec(draw(st.sampled_from([None, "no", "a: (.*)"])), "first", "none", "extracted"),
        draw(_EVIDENCE), draw(_EVIDENCE), draw(_EVIDENCE), draw(st.booleans()),
        tuple(draw(st.lists(_TEXT, max_size=2))),
        {"the other": Tier("the other", "openai/dear", price, modes)},
        draw(st.none() | retriever),
    )  # fmt: skip


@given(policy_files())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_policy_reads_back_equal(file):
    text = file.dumps()
    assert PolicyFile.loads(text) == file
    assert PolicyFile.loads(text).dumps() == text


def test_a_misspelt_key_gets_one_message_with_line_and_the_right_key():
    text = example().dumps().replace("    strategy: {kind: self", "    stratgy: {kind: self")
    (fault,) = faults(text)
    assert fault.startswith(f"p.yaml:{line_of(text, 'stratgy')}: buckets[0]: unknown key 'stratgy'")
    assert "did you mean 'strategy'?" in fault


def test_all_faults_are_told_at_once_in_order_of_lines():
    text = example().dumps()
    text = text.replace("take: last", "tkae: last").replace("max_draws: 20", "max_draws: 0")
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
        ("direct, temperature: 0.8, draws", "direct, draws", "'temperature' is missing (or give"),
        ("probe: {", "probe: {arms: [], ", "probe.arms must not be empty"),
        (
            "probe: {",
            "probe: {arms: [{prompt: worked, mode: think, temperature: 1.0}], ",
            "give 'prompt' or a list of 'arms', not both",
        ),
        ("share: 0.61", "share: 1.5", "at most 1"),
        ("share: 0.61", "name: eazy", "here twice"),
        (
            "{max_tokens: 32}",
            "{max_tokens: 32, api_base: 'http://x'}",
            "unknown parameter of a mode 'api_base'",
        ),
        ("{max_tokens: 32}", "{temperature: 0.1}", "an arm and its draws set it"),
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
        ("{kind: self_consistency, draws", "{draws", "needs a 'kind'"),
        ("draws: 3}", "draws: [3]}", "must be a number, a text"),
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
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_spoilt_file_is_never_more_than_an_input_error(data):
    lines = example().dumps().split("\n")
    number = data.draw(st.integers(0, len(lines) - 2))
    line = lines[number]
    cut = data.draw(st.integers(0, len(line)))
    junk = data.draw(st.sampled_from(_JUNK))
    keep = data.draw(st.booleans())
    lines[number] = line[:cut] + junk + (line[cut:] if keep else "")
    with contextlib.suppress(InputError):
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


def test_a_policy_that_uses_what_is_not_there_cannot_be_made():
    file = example()
    with pytest.raises(InputError, match="unknown prompt 'worked'"):
        replace(file, prompts={"totals": file.prompts["totals"]})
    with pytest.raises(InputError, match="2 buckets, but 1 shares"):
        replace(file, shares=(1.0,))
    with pytest.raises(InputError, match="plain data only"):
        replace(file, provenance={"x": object()})


def test_the_json_schema_knows_every_key_that_is_written():
    text = example().dumps()
    keys = {line.split(":")[0] for line in text.split("\n") if line and line[0].isalpha()}
    schema = json_schema()
    assert keys <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_importing_it_is_light():
    code = (
        "import sys, tierwise.recipe.policy_file as p\n"
        "heavy = {'optuna', 'dspy', 'pandas', 'litellm', 'yaml', 'pydantic', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
