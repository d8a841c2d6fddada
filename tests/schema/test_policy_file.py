"""A policy file reads back equal and carries nothing unsafe."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.policies import WORKED, example
from tierwise.errors import InputError
from tierwise.schema import (
    Difficulty,
    Limits,
    Message,
    Policy,
    PolicyFile,
    Price,
    Probe,
    PromptTemplate,
    Recipe,
    RetrieverSpec,
    StrategySpec,
    TaskRef,
    Tier,
    TurnTemplate,
    Variant,
)
from tierwise.schema.json_schemas import json_schema
from tierwise.schema.policy_file import ExpectedBucket, ExpectedFigures, PolicyEvidence, Provenance
from tierwise.schema.prompt import fields_of
from tierwise.tasks import AnswerSpec


def test_reads_back_equal_and_the_same_bytes():
    file = example()
    text = file.dumps()
    again = PolicyFile.loads(text)
    assert again == file
    assert again.shares == (0.61, 0.39)
    assert [b.name for b in again.policy.buckets] == ["easy", "hard"]
    assert again.dumps() == text


def test_is_readable():
    text = example().dumps()
    assert "  direct: {max_tokens: 32}\n" in text
    assert "    strategy: {kind: self_consistency, samples: 3}\n" in text
    assert "          Work.\n          End with 'A: N'.\n" in text
    assert "    variants: [{prompt: worked, mode: direct, temperature: 0.8}]\n" in text
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
    file = replace(
        file, policy=policy, expected=ExpectedFigures(score=1 / 3, score_ci95=(0.1, math.nan))
    )
    again = PolicyFile.loads(file.dumps())
    assert again.policy.difficulty.thresholds == (cut,)
    assert again.expected == ExpectedFigures(score=0.333333, score_ci95=(0.1, None))


def test_a_bucket_on_another_tier_reads_back_equal():
    file = example()
    strong = Variant("worked", "direct", 0.0, "large")
    buckets = (file.policy.buckets[0], Recipe((strong,), StrategySpec.of("single")))
    large = Tier("large", "openai/gpt-4o", Price(2.5, 10.0), {"direct": {"max_tokens": 99}})
    policy = replace(file.policy, buckets=buckets).with_shares((0.9, 0.1))
    file = replace(file, policy=policy, other_tiers={"large": large})
    again = PolicyFile.loads(file.dumps())
    assert again == file
    assert again.tier_of(strong) == large
    assert again.tier_of(WORKED).modes == {"direct": {"max_tokens": 32}}


def test_a_cascade_has_its_variants_in_its_stages():
    stages = (((0,), 2, 0.9, None), ((0, 1), 3, 1.0, -0.5))
    file = example()
    hard = replace(
        file.policy.buckets[1],
        strategy=StrategySpec.of("cascade", stages=stages, weights=(1.0, 1.5)),
    )
    file = replace(file, policy=replace(file.policy, buckets=(file.policy.buckets[0], hard)))
    text = file.dumps()
    assert (
        "        - {variants: [{prompt: worked, mode: think, temperature: 0.8, weight: 1.0}], "
        "samples: 2, stop: {share: 0.9}}\n"
    ) in text
    assert PolicyFile.loads(text) == file
    for old, new, says in (
        ("stop: {share: 1.0", "stop: {shair: 1.0", "stages[1].stop: unknown key 'shair'"),
        ("weight: 1.5", "weight: 0", "variants[1].weight must be above 0, got 0"),
        ("prompt: totals", "prompt: total", "unknown prompt 'total'; did you mean 'totals'"),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            PolicyFile.loads(text.replace(old, new))


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
_HASHES = st.dictionaries(_TEXT, _TEXT, max_size=2)
_FIGURES = st.builds(
    ExpectedFigures,
    policy=_TEXT,
    items=st.none() | st.integers(0, 99),
    score=st.none() | _FINITE,
    score_ci95=st.tuples(st.none() | _FINITE, st.none() | _FINITE),
    buckets=st.lists(st.builds(ExpectedBucket, st.none() | st.integers(), _FINITE)).map(tuple),
)


@st.composite
def policy_files(sample) -> PolicyFile:
    prompt_ids = sample(st.lists(_WORD, min_size=1, max_size=3, unique=True))
    mode_names = sample(st.lists(_WORD, min_size=1, max_size=2, unique=True))
    variants = st.builds(
        Variant,
        st.sampled_from(prompt_ids),
        st.sampled_from(mode_names),
        st.floats(0, 2),
        st.sampled_from(["other", None]),
        st.just(()),
    )
    specs = st.builds(
        StrategySpec.of, _WORD, st.dictionaries(st.sampled_from("abc"), _LEAF, max_size=3)
    )
    recipes = st.builds(Recipe, st.lists(variants, min_size=1, max_size=3).map(tuple), specs)
    buckets = tuple(sample(st.lists(recipes, min_size=1, max_size=4)))
    cuts = sample(
        st.lists(_FINITE, min_size=len(buckets) - 1, max_size=len(buckets) - 1, unique=True)
    )
    probed = st.lists(variants, min_size=1, max_size=2, unique=True).map(tuple)
    probe = sample(st.none() | st.builds(Probe, probed, st.integers(2, 4)))
    limits = sample(
        st.builds(
            Limits,
            st.none() | _POSITIVE,
            st.none() | st.integers(1, 99),
            st.none() | _POSITIVE,
            st.sampled_from(["answer_with_what_arrived", "fail"]),
        )
    )
    messages = st.lists(st.builds(Message, st.sampled_from(["system", "user"]), _TEXT), min_size=1)
    sends = st.dictionaries(st.just("max_tokens"), st.integers(1, 99))
    turns = st.dictionaries(
        st.sampled_from(["critique", "refine", "query", "answer"]),
        st.builds(TurnTemplate, _TEXT, sends),
        max_size=2,
    )
    prompts = {
        i: PromptTemplate(
            i,
            tuple(m for m in sample(messages)),
            sample(_TEXT),
            origin=sample(_TEXT),
            turns=sample(turns),
        )
        for i in prompt_ids
    }
    modes = {
        m: {"max_tokens": sample(st.integers(1, 99)), "stop": sample(st.lists(_TEXT, max_size=2))}
        for m in mode_names
    }
    price = sample(
        st.builds(Price, _POSITIVE, _POSITIVE, st.none() | _POSITIVE, _TEXT, st.booleans())
    )
    tier = Tier(
        sample(_WORD),
        "openai/m",
        price,
        modes,
        sample(st.booleans()),
        sample(st.booleans()),
        {"rpm": sample(_POSITIVE)},
    )
    difficulty = Difficulty(sample(_WORD), tuple(sorted(cuts, reverse=True)), probe)
    policy = Policy(buckets, difficulty, limits)
    if sample(st.booleans()):
        policy = policy.with_shares((1 / len(buckets),) * len(buckets))
    texts = [t.text for p in prompts.values() for t in p.turns.values()]
    used = [*(name for p in prompts.values() for name in p.fields), *fields_of(" ".join(texts))]
    retriever = st.builds(
        RetrieverSpec,
        _WORD.map("r".__add__),
        st.just(AnswerSpec("q: (.*)", "last", "none")),
        _TEXT,
        _TEXT,
        st.integers(1, 9999),
        _POSITIVE,
    )
    return PolicyFile(
        sample(_WORD),
        tier,
        TaskRef(sample(_TEXT), sample(st.integers()), "m", sample(_TEXT)),
        tuple(dict.fromkeys(used)),
        prompts,
        policy,
        AnswerSpec(sample(st.sampled_from([None, "no", "a: (.*)"])), "first", "none", "extracted"),
        sample(_FIGURES),
        sample(st.builds(PolicyEvidence, baseline=_FIGURES, looks_at_test=st.integers(0, 9))),
        sample(st.builds(Provenance, _TEXT, seed=st.integers(), weights_sha256=_HASHES)),
        sample(st.booleans()),
        tuple(sample(st.lists(_TEXT, max_size=2))),
        {"other": Tier("other", "openai/dear", price, modes)},
        sample(st.none() | retriever),
    )


@given(policy_files())
@settings(max_examples=25, derandomize=True)
def test_any_policy_reads_back_equal(file):
    text = file.dumps()
    assert PolicyFile.loads(text) == file
    assert PolicyFile.loads(text).dumps() == text


def test_a_policy_that_uses_what_is_not_there_cannot_be_made():
    file = example()
    with pytest.raises(InputError, match="unknown prompt 'worked'"):
        replace(file, prompts={"totals": file.prompts["totals"]})
    with pytest.raises(InputError, match="2 buckets, but 1 shares"):
        file.policy.with_shares((1.0,))
    modes = {name: {"stop": object()} for name in file.tier.modes}
    with pytest.raises(InputError, match="plain data only"):
        replace(file, tier=replace(file.tier, modes=modes))


def test_the_json_schema_knows_every_key_that_is_written():
    text = example().dumps()
    keys = {line.split(":")[0] for line in text.split("\n") if line and line[0].isalpha()}
    schema = json_schema("policy")
    assert keys <= set(schema["properties"])
    assert schema["additionalProperties"] is False
