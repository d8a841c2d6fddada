from __future__ import annotations

import pytest
from dspy.utils.exceptions import AdapterParseError

import dspy
from tierwise.dspy import EmbeddedAdapter
from tierwise.dspy.adapter import (
    adapter_of,
    check_rendering,
    signature_answer_spec,
    signature_template,
)
from tierwise.dspy.examples import inputs_of
from tierwise.errors import UnsupportedError

QA = dspy.Signature("question -> answer")
COT = dspy.ChainOfThought("question -> answer").predict.signature
DEMOS = [{"question": "1 + 2", "answer": "3"}]


def test_instructions_that_dspy_made_up_become_the_plain_paraphrase() -> None:
    for signature in (QA, COT):
        first, *_ = EmbeddedAdapter().format(signature, [], {"question": "3 + 4"})
        assert first == {"role": "system", "content": "Solve this."}
    told = QA.with_instructions("Go step by step.")
    first, *_ = EmbeddedAdapter().format(told, [], {"question": "3 + 4"})
    assert first["content"] == "Go step by step."


def test_demonstrations_end_in_the_answer() -> None:
    laid_out = EmbeddedAdapter().format(QA, DEMOS, {"question": "3 + 4"})
    assert [m["content"] for m in laid_out[1:]] == ["1 + 2", "answer : 3", "3 + 4"]


def test_the_work_is_the_reasoning() -> None:
    parsed = EmbeddedAdapter().parse(COT, "work : 3 + 4 = 7 ; answer : 7")
    assert parsed == {"reasoning": "3 + 4 = 7 ;", "answer": "7"}
    with pytest.raises(AdapterParseError):
        EmbeddedAdapter().parse(QA, "work : 3 + 4 = 7")


def test_a_signature_that_an_embedded_tier_cannot_read_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="one input field"):
        EmbeddedAdapter().format(dspy.Signature("a, b -> c"), [], {"a": "1", "b": "2"})


@pytest.mark.parametrize("model", ["embedded/small", "openai/gpt-4o-mini"])
@pytest.mark.parametrize("signature", [QA, COT])
def test_a_prompt_that_is_filled_in_is_what_dspy_would_send(model: str, signature: type) -> None:
    adapter = adapter_of(model)
    prompt = signature_template("p", "test", signature, DEMOS, adapter)
    examples = [dspy.Example(question=q).with_inputs("question") for q in ("3 + 4", "{{ x }} é")]
    check_rendering(prompt, signature, DEMOS, adapter, examples)
    assert prompt.fields == ("question",)


def test_lists_are_laid_out_as_dspy_does() -> None:
    signature = dspy.Signature("passages: list[str], question -> answer")
    adapter = adapter_of("openai/gpt-4o-mini")
    example = dspy.Example(passages=["one", "two"], question="?").with_inputs()
    prompt = signature_template("p", "test", signature, [], adapter)
    check_rendering(prompt, signature, [], adapter, [example])
    assert inputs_of(signature, example)["passages"] == '["one", "two"]'


def test_an_input_that_is_not_text_is_refused() -> None:
    signature = dspy.Signature("history: dspy.History, question -> answer")
    with pytest.raises(UnsupportedError, match="'history' is a History"):
        signature_template("p", "test", signature, [], adapter_of("openai/gpt-4o-mini"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]\n", "Paris"),
        ("[[ ## reasoning ## ]]\nLong.\n\n[[ ## answer ## ]]\n two\nlines \n", "two\nlines"),
        ("[[ ## answer ## ]] Paris", "Paris"),
        ("no field", None),
    ],
)
def test_votes_read_the_field_that_dspy_reads(text: str, answer: str | None) -> None:
    adapter = adapter_of("openai/gpt-4o-mini")
    assert signature_answer_spec(COT, adapter, None).extract(text) == answer
    if answer is not None and "reasoning" in text:
        assert adapter.parse(COT, text)["answer"] == answer


def test_an_int_field_is_voted_on_as_a_number() -> None:
    spec = signature_answer_spec(
        dspy.Signature("q -> n: int"), adapter_of("openai/gpt-4o-mini"), None
    )
    assert spec.extract("[[ ## n ## ]]\n1,000.\n") == "1000"
