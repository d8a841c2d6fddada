"""Tools and forms of answers, from a mode of a policy to the gateway's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.loopback import Loopback, Said
from tests.serving.gateways import local_gateway, openai_client
from tests.serving.worlds import voting
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime
from tierwise.serving.export import batch_lines
from tierwise.tasks import AnswerSpec

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city, see https://example.org/weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    }
]
FORM = {"type": "json_object"}
CALLS = AnswerSpec(normalise="tool_calls")
ARGUMENTS = ['{"days": 2, "city": "Oslo"}', '{"city":"Oslo","days":2.0}', '{"city": "Rome"', "{}"]


def speak(messages: Any, seed: int, body: Any) -> Said:
    """Two of five samples call for Oslo, each in other words; the others differ or are broken."""
    arguments = ARGUMENTS[(seed % 5) % len(ARGUMENTS)]
    function = {"name": "weather", "arguments": arguments}
    call = {"id": f"call_{seed}", "type": "function", "function": function}
    return Said("", tool_calls=[call], finish_reason="tool_calls", tokens=9)


def policy(**mode: Any) -> PolicyFile:
    return replace(voting(samples=5, **mode), answer=CALLS)


@pytest.fixture
def client(tmp_path: Path, loopback: Loopback) -> Iterator[OpenAI]:
    loopback.speak = speak
    path = policy(tools=TOOLS, tool_choice="required").save(tmp_path / "p.yaml")
    with openai_client(local_gateway([path])) as client:
        yield client


USER: list[Any] = [{"role": "user", "content": "The weather in Oslo for two days?"}]


def test_votes_are_over_names_and_arguments_and_the_client_gets_the_calls(
    client: OpenAI, loopback: Loopback
) -> None:
    reply = client.chat.completions.create(model="p", messages=USER)
    [choice] = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo", "days": 2}
    assert call.id.startswith("call_")
    assert json.loads(reply.model_extra["tierwise"]["answer"]) == [
        {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
    ]
    for body in loopback.bodies:
        assert (body["tools"], body["tool_choice"]) == (TOOLS, "required")


def test_a_stream_brings_the_calls(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="p", messages=USER, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    [call] = [call for delta in deltas for call in delta.tool_calls or ()]
    assert (call.index, call.function.name) == (0, "weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo", "days": 2}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_client_may_send_the_policys_own_tools_and_no_others(client: OpenAI) -> None:
    for more in ({}, {"tool_choice": "required"}, {"tool_choice": "auto"}):
        reply = client.chat.completions.create(model="p", messages=USER, tools=TOOLS, **more)
        assert reply.choices[0].message.tool_calls
    other = json.loads(json.dumps(TOOLS))
    other[0]["function"]["name"] = "time"
    for more, says in (
        ({"tools": other}, "tuned with another"),
        ({"tools": TOOLS, "tool_choice": "none"}, "tuned with another"),
        ({"response_format": FORM}, "sends none"),
    ):
        with pytest.raises(BadRequestError, match=says):
            client.chat.completions.create(model="p", messages=USER, **more)


def test_a_library_gets_them_too_and_a_file_holds_the_tools(loopback: Loopback) -> None:
    loopback.speak = speak
    file = policy(tools=TOOLS)
    assert PolicyFile.loads(file.dumps()) == file
    with PolicyRuntime(file) as runtime:
        answer = runtime.answer_sync(question="Oslo?")
    assert answer.text == ""
    [call] = answer.tool_calls
    assert json.loads(call.arguments) == {"city": "Oslo", "days": 2}
    assert sum(sample.answer is None for sample in answer.trace) == 1  # arguments that are no JSON


def test_an_answer_by_schema_is_asked_for_in_every_call(loopback: Loopback) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    file = replace(
        voting(samples=3, response_format=form), answer=AnswerSpec(normalise="json", schema=schema)
    )
    loopback.speak = lambda messages, seed, body: Said('{"city": "Oslo"}')
    with PolicyRuntime(PolicyFile.loads(file.dumps())) as runtime:
        assert json.loads(runtime.answer_sync(question="Where?").text) == {"city": "Oslo"}
    assert [body["response_format"] for body in loopback.bodies] == [form] * len(loopback.bodies)


def test_a_batch_export_has_them() -> None:
    [line] = batch_lines(policy(tools=TOOLS), [("i", {"question": "Oslo?"})])
    assert json.loads(line)["body"]["tools"] == TOOLS
