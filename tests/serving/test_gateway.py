"""The gateway over HTTP: what it answers and what it refuses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.serving.gateways import BUCKETS, USER, VOTE, Slow, client, gateway, post
from tests.serving.worlds import ANSWER, PROMPTS, SMALL, policy_file
from tierwise.llm import Completion
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import PolicyFile, TaskRef


async def test_a_vote_is_answered_once_and_billed_whole(tmp_path: Path) -> None:
    got = await post(gateway(tmp_path, policy_file(VOTE)), messages=USER)
    assert got.status_code == 200
    body = got.json()
    choice = body["choices"][0]
    assert choice["message"]["content"] == "Well. A: 7"
    assert choice["finish_reason"] == "stop"
    # Three samples share one call, whose prompt is billed once.
    assert body["usage"]["prompt_tokens"] == 11
    assert body["usage"]["completion_tokens"] == 15
    assert body["usage"]["total_tokens"] == 26
    told = body["tierwise"]
    assert (told["bucket"], told["samples"], told["rounds"], told["calls"]) == ("all", 3, 1, 1)
    assert told["answer"] == "7"
    assert told["usd"] == pytest.approx(11 * 0.5e-6 + 15 * 1.5e-6)
    assert got.headers["x-tierwise-samples"] == "3"
    assert got.headers["x-tierwise-bucket"] == "all"
    assert float(got.headers["x-tierwise-usd"]) == pytest.approx(told["usd"])
    assert got.headers["x-tierwise-version"] == told["version"]


async def test_a_stream_opens_waits_and_ends_with_the_chosen_answer(tmp_path: Path) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, keep_alive_s=0.01)
    async with asyncio.TaskGroup() as group:
        reply = group.create_task(
            post(gate, messages=USER, stream=True, stream_options={"include_usage": True})
        )
        while not model.waiting:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        model.released = True
    text = reply.result().text
    events = [e for e in text.split("\n\n") if e]
    assert events[0].startswith("data: ")
    assert ": keep-alive" in events
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(e[6:]) for e in events[:-1] if e.startswith("data: ")]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    said = "".join(d["delta"].get("content", "") for c in chunks for d in c["choices"])
    assert said == "Well. A: 7"
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 26
    assert chunks[-2]["tierwise"]["samples"] == 3


REFUSED = [
    ({"messages": [{"role": "system", "content": "be brief"}, *USER]}, "messages[0]", "system"),
    ({"messages": [*USER, {"role": "assistant", "content": "hm"}]}, "messages[1]", "assistant"),
    ({"messages": [*USER, *USER]}, "messages[1]", "second user message"),
    ({"messages": []}, "messages", "no user message"),
    ({"messages": "hello"}, "messages", "must be a list"),
    ({"messages": ["hello"]}, "messages[0]", "an object"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0]",
        "image_url",
    ),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "text"),
    ({"messages": USER, "n": 2}, "n", "the policy decides"),
    ({"messages": USER, "n": True}, "n", "the policy decides"),
    ({"messages": USER, "stop": ["\n"]}, "stop", "the policy decides"),
    ({"messages": USER, "tools": [{"type": "function"}]}, "tools", "the policy decides"),
    ({"messages": USER, "response_format": {"type": "json_object"}}, "response_format", "policy"),
    ({"messages": USER, "seed": "x"}, "seed", "whole number"),
    ({"messages": USER, "stream": "yes"}, "stream", "true or false"),
    ({"messages": USER, "temperatur": 1}, "temperatur", "did you mean 'temperature'"),
    ({"inputs": {"questoin": "x"}}, "inputs", "did you mean 'question'"),
    ({"inputs": {}}, "inputs", "'question' is missing"),
    ({"inputs": {"question": 3}}, "inputs", "must be text"),
    ({"inputs": {"question": "x"}, "messages": USER}, "inputs", "not in both"),
]


@pytest.mark.parametrize(("body", "param", "says"), REFUSED)
async def test_what_cannot_be_honoured_is_refused_by_name(
    tmp_path: Path, body: dict, param: str, says: str
) -> None:
    got = await post(gateway(tmp_path, policy_file(VOTE)), **body)
    error = got.json()["error"]
    assert got.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


async def test_what_does_no_harm_is_ignored_by_name(tmp_path: Path) -> None:
    got = await post(
        gateway(tmp_path, policy_file(VOTE)),
        messages=USER,
        temperature=0.2,
        max_tokens=9,
        n=1,
        user="me",
        stop=None,
        tools=[],
        presence_penalty=0.0,
        response_format={"type": "text"},
    )
    assert got.status_code == 200
    assert got.json()["tierwise"]["ignored"] == ["temperature", "max_tokens", "user"]


async def test_a_seed_is_the_seed_of_the_samples(tmp_path: Path) -> None:
    def by_seed(request, seed: int) -> Completion:
        return Completion(f"A: {seed}", 1, 1)

    gate = gateway(tmp_path, policy_file(VOTE), model=ScriptedModel(by_seed))
    first, again, other = [
        (await post(gate, messages=USER, seed=seed)).json()["tierwise"]["answer"]
        for seed in (5, 5, 6)
    ]
    assert first == again != other


def several() -> PolicyFile:
    prompt = PROMPTS["plain"].with_demonstrations([])
    return PolicyFile(
        name="p",
        tier=SMALL,
        task=TaskRef("t", 1, "exact_match", ""),
        inputs=("question", "hint"),
        prompts={"plain": prompt},
        policy=VOTE,
        answer=ANSWER,
    )


async def test_several_inputs_come_as_json_or_beside_the_messages(tmp_path: Path) -> None:
    gate = gateway(tmp_path, several())
    both = {"question": "q", "hint": "h"}
    as_json = [{"role": "user", "content": json.dumps(both)}]
    for body in ({"messages": as_json}, {"messages": [], "inputs": both}, {"inputs": both}):
        assert (await post(gate, **body)).status_code == 200
    plain = await post(gate, messages=USER)
    assert plain.status_code == 400
    assert "question, hint" in plain.json()["error"]["message"]
    missing = await post(gate, inputs={"question": "q"})
    assert "'hint' is missing" in missing.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"model": NaN}',
        b'{"seed": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"model": "p", "inputs": {"question": "\\ud800"}}',
    ],
)
async def test_a_body_that_is_not_json_is_a_400(tmp_path: Path, body: bytes) -> None:
    async with client(gateway(tmp_path, policy_file(VOTE))) as http:
        headers = {"content-type": "application/json"}
        got = await http.post("/v1/chat/completions", content=body, headers=headers)
    assert got.status_code == 400
    assert got.json()["error"]["type"] == "invalid_request_error"


async def test_models_are_listed_by_name_and_by_tier(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), policy_file(BUCKETS, "q"))
    async with client(gate) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        # Two policies have the tier: its name says nothing.
        assert [m["id"] for m in listed] == ["p", "q"]
        assert (await http.get("/v1/models/q")).json()["tierwise"]["tier"] == "small"
        unknown = await http.get("/v1/models/tier/small")
        assert unknown.status_code == 404
    alone = gateway(tmp_path, policy_file(VOTE))
    assert (await post(alone, model="tier/small", messages=USER)).status_code == 200


async def test_an_unknown_model_and_an_unknown_path_are_404(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE, "arithmetic"))
    got = await post(gate, model="arithmetik", messages=USER)
    assert got.status_code == 404
    assert got.json()["error"]["code"] == "model_not_found"
    assert "did you mean 'arithmetic'" in got.json()["error"]["message"]
    async with client(gate) as http:
        assert (await http.get("/v1/nothing")).json()["error"]["code"] == "not_found"
        wrong = await http.get("/v1/chat/completions")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
