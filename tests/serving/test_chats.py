"""A support chat, from a DataFrame to a policy that takes a client's messages as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openai import BadRequestError, OpenAI

import tierwise as tw
from tests.loopback import Loopback, Said
from tests.serving.gateways import local_gateway, openai_client
from tierwise.llm.models import SEND, open_model
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime

SYSTEM = "You route the mail of Acme to a desk."
DESKS = ("billing", "delivery", "returns")
DIRECT = {"direct": {"max_tokens": 9}}


def chat(i: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"Hello, my order is {i}."},
        {"role": "assistant", "content": "What about it?"},
        {"role": "user", "content": f"It is about {DESKS[i % 3]}, please."},
    ]


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Right in two of three samples, and always where it is told to think of the desks."""
    desk = next(d for d in DESKS if d in messages[-1]["content"])
    if not any("one desk" in m["content"] for m in messages) and seed % 3 == 0:
        desk = "other"
    return Said(f"Desk: {desk}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tw.Run, Loopback]]:
    frame = pd.DataFrame([{"messages": chat(i), "desk": DESKS[i % 3]} for i in range(90)])
    prompts = [
        [{"role": "messages", "content": "{{ messages }}"}],
        [
            {"role": "system", "content": "{{ system }}\n\nName one desk."},
            {"role": "messages", "content": "{{ messages }}"},
        ],
    ]
    with Loopback() as loopback:
        loopback.speak = speak
        tier = tw.Tier("openai/desk", api_base=loopback.url, price=tw.Price(1, 2), modes=DIRECT)
        yield (
            tw.tune(
                frame,
                inputs=["messages"],
                target="desk",
                prompts=prompts,
                answer=tw.AnswerSpec(regex=r"Desk: (\w+)"),
                tiers={"small": tier},
                budget=tw.Budget(usd=5),
                out=tmp_path_factory.mktemp("run"),
                space="quick",
                trials=10,
                progress=False,
            ),
            loopback,
        )


def test_production_is_the_baseline_and_a_longer_system_is_found(
    run: tuple[tw.Run, Loopback],
) -> None:
    policy = run[0].policies["small"]
    sent = {str(body["messages"]) for body in run[1].bodies}
    assert str(chat(1)) in sent  # as it is, byte for byte
    [prompt] = policy.prompts.values()
    assert [m.role for m in prompt.messages] == ["system", "messages"]
    assert PolicyFile.loads(policy.dumps()) == policy


@pytest.fixture
def client(run: tuple[tw.Run, Loopback], tmp_path: Path) -> Iterator[OpenAI]:
    policy = replace(run[0].policies["small"], name="desk")
    tier = replace(policy.tier, api_base=run[1].url)

    model = open_model(tier)

    def opened(file: PolicyFile) -> PolicyRuntime:
        return PolicyRuntime(file, model)

    with openai_client(local_gateway([policy.save(tmp_path / "desk.yaml")], opened)) as client:
        yield client
    model.close()


def test_the_gateway_takes_messages_as_they_are(
    client: OpenAI, run: tuple[tw.Run, Loopback]
) -> None:
    reply = client.chat.completions.create(model="desk", messages=chat(4))  # type: ignore[arg-type]  # plain dicts are messages too
    assert reply.choices[0].message.content == "Desk: delivery"
    sent = run[1].bodies[-1]["messages"]
    assert sent[0] == {"role": "system", "content": f"{SYSTEM}\n\nName one desk."}
    assert sent[1:] == chat(4)[1:]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "there are no messages"),
        ([{"role": "assistant", "content": "hi"}], "must end with what is to be answered"),
        ([{"role": "tool", "content": "3", "tool_call_id": "x"}], "of a call before it"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "is a picture: only text is taken",
        ),
    ],
)
def test_what_it_cannot_send_is_refused(client: OpenAI, messages: list[Any], says: str) -> None:
    with pytest.raises(BadRequestError, match=says):
        client.chat.completions.create(model="desk", messages=messages)


@pytest.mark.parametrize("sender", ["ours", "litellm"])
def test_calls_of_tools_go_through_as_they_are(
    client: OpenAI, run: tuple[tw.Run, Loopback], sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = {"name": "find", "arguments": '{"order": 4}'}
    call = {"id": "c1", "type": "function", "function": function}
    messages = [
        *chat(4),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "It is with delivery."},
    ]
    monkeypatch.setenv(SEND, "litellm" if sender == "litellm" else "")
    if sender == "ours":
        client.chat.completions.create(model="desk", messages=messages)  # type: ignore[arg-type]  # plain dicts are messages too
    else:
        policy = run[0].policies["small"]
        model = open_model(replace(policy.tier, api_base=run[1].url))
        with PolicyRuntime(policy, model) as runtime:
            runtime.answer_sync(messages=messages)
        model.close()
    sent = [{"content": None, **m} for m in run[1].bodies[-1]["messages"]]  # LiteLLM drops None
    assert sent[1:] == messages[1:]


def test_a_library_takes_messages_or_a_question(run: tuple[tw.Run, Loopback]) -> None:
    policy = run[0].policies["small"]
    model = open_model(replace(policy.tier, api_base=run[1].url))
    with PolicyRuntime(policy, model) as runtime:
        assert runtime.answer_sync(messages=chat(2)).answer == "returns"
        assert runtime.answer_sync(messages="About billing.").answer == "billing"
    model.close()


def test_a_frame_of_chats_needs_no_prompts() -> None:
    rows = [{"messages": chat(i), "desk": DESKS[i % 3]} for i in range(60)]
    tier = tw.Tier("openai/desk", api_base="http://localhost:1", price=tw.Price(1, 2), modes=DIRECT)
    given = {"inputs": ["messages"], "target": "desk", "tiers": {"small": tier}, "space": "quick"}
    planned = tw.plan(rows, **given)
    assert planned.tiers["small"].expected.usd > 0
    with pytest.raises(tw.TierwiseError, match="prompts= is missing"):
        tw.plan([{"q": "x", "desk": "y"}] * 3, **{**given, "inputs": ["q"]})
