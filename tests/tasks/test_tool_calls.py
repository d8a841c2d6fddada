"""Calls of tools as answers: by name and arguments, however a model writes them."""

from __future__ import annotations

import json

import pytest

from tierwise.tasks import AnswerSpec, Item, Task, named_metric
from tierwise.tasks.tool_calls import ToolCall, read_tool_calls, tool_parts, tool_text
from tierwise.testing import AnswerFormConformance

SPEC = AnswerSpec(normalise="tool_calls")
BOOK = ToolCall("c1", "book", '{"city": "Oslo", "nights": 2}')
PAY = ToolCall("c2", "pay", '{"usd": 3.0}')


class TestToolCalls(AnswerFormConformance):
    read = staticmethod(SPEC.extract)
    alike = (
        (
            tool_text("", [BOOK]),
            tool_text("I book.", [BOOK._replace(id="x", arguments='{"nights":2.0,"city":"Oslo"}')]),
            json.dumps([{"name": "book", "arguments": {"city": "Oslo", "nights": 2}}]),
            json.dumps(BOOK.body),
            '<tool_call>\n{"name": "book", "parameters": {"nights": 2, "city": '
            '"Oslo"}}\n</tool_call>',
        ),
        (tool_text("", [BOOK, PAY]), tool_text("", [PAY, BOOK])),
        (tool_text("", [PAY]), '{"tool_calls": [{"name": "pay", "arguments": "{\\"usd\\": 3}"}]}'),
        ("No tool is needed.", "[]", "Hello!"),
    )


@pytest.mark.parametrize("arguments", ["{", "Oslo", "[1]", "NaN", '{"a": NaN}', "3"])
def test_arguments_that_are_no_json_object_abstain(arguments: str) -> None:
    assert SPEC.extract(tool_text("", [ToolCall("c", "book", arguments)])) is None
    assert SPEC.extract(tool_text("", [BOOK, ToolCall("c", "book", arguments)])) is None


def test_a_text_holds_what_the_provider_gave() -> None:
    message = {"content": None, "tool_calls": [BOOK.body, {"id": "y"}, None, PAY.body]}
    calls = read_tool_calls(message)
    assert calls == (BOOK, PAY)
    assert tool_parts(tool_text("so", calls)) == ("so", calls)
    for text in ("so", "", '{"content":"x"}', '{"content":"x","tool_calls":[3]}'):
        assert tool_parts(text) == (text, ())


def test_targets_are_calls_too() -> None:
    rows = [
        {"q": "book two nights in Oslo", "calls": [{"name": "book", "arguments": {"nights": 2}}]},
        {"q": "hello", "calls": "[]"},
    ]
    task = Task.from_rows(rows, inputs=["q"], target="calls", answer=SPEC)
    right = SPEC.extract(tool_text("", [ToolCall("c", "book", '{"nights": 2}')]))
    assert [task.score(right, item) for item in task.items] == [1, 0]
    assert task.score(SPEC.extract("Hello!"), task.items[1]) == 1


def test_exact_match_is_of_names_and_arguments() -> None:
    score = named_metric("exact_match", SPEC)[1]
    item = Item("i", {}, json.dumps(BOOK.body))
    assert score(SPEC.extract(tool_text("", [BOOK])), item) == 1
    assert score(SPEC.extract(tool_text("", [BOOK._replace(name="pay")])), item) == 0
