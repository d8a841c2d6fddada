"""Item text is data: braces in it are shown, never filled in; a template can show braces too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.schema import Message, PromptTemplate
from tierwise.schema.prompt import literal, substitute, undefined_fields

BRACED = st.text(st.sampled_from(list("\\{} ax_")), max_size=24)


def one(text: str) -> PromptTemplate:
    return PromptTemplate("p", (Message("user", text),))


def test_a_template_shows_braces_after_a_backslash() -> None:
    prompt = one(r"{{ question }} Greet with \{{ first_name }}.")
    assert prompt.fields == ("question",)
    assert prompt.render({"question": "Q"})[0].content == "Q Greet with {{ first_name }}."


def test_a_field_that_is_not_there_names_the_way_to_show_it() -> None:
    [error] = undefined_fields(one("{{ question }} {{ first_name }}"), ("question",))
    assert r"to show it as it is, write \{{ first_name }}" in str(error)


@given(BRACED, BRACED)
def test_whatever_an_item_says_is_shown_as_it_is(asked: str, shown: str) -> None:
    prompt = one("Q: {{ question }}").with_demonstrations([({"question": shown}, shown)])
    assert prompt.fields == ("question",)
    said = [m.content for m in prompt.render({"question": asked})]
    assert said == [f"Q: {shown}", shown, f"Q: {asked}"]


@given(BRACED)
def test_a_literal_has_no_fields_and_comes_back(text: str) -> None:
    assert one(literal(text)).fields == ()
    assert substitute(literal(text), {}) == text


@pytest.mark.parametrize("text", [r"\{{ x }} {{ input }}", r"\\{{ input }}"])
def test_a_template_that_is_written_out_keeps_its_escapes(text: str) -> None:
    written = substitute(text, {"input": "{{ question }}"}, template=True)
    assert written == text.replace("{{ input }}", "{{ question }}")
