"""A served policy's calls go straight to a server that speaks OpenAI's protocol, or by LiteLLM.

Both ways the same bodies go out and the same answer comes back.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loopback import Loopback
from tests.serving.worlds import voting
from tierwise.llm import Request
from tierwise.llm.endpoint import ProviderEndpoint
from tierwise.llm.litellm import litellm_library
from tierwise.llm.models import SEND
from tierwise.llm.senders import BODY_SHAPES, LiteLLMSender, OpenAIClient, speaks_openai
from tierwise.schema import Message, Price, Tier
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving import PolicyRuntime


def served(model: str, **mode: Any) -> PolicyFile:
    return voting(model, samples=5, temperature=1.0, **mode)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("openai/tiny", {}),
        ("openai/tiny", {"top_p": 0.9, "extra_body": {"top_k": 3}}),
        ("openai/o4-mini", {"reasoning_effort": "low"}),
        ("hosted_vllm/tiny", {"stop": ["\n"]}),
    ],
)
def test_both_ways_send_the_same_bodies_and_give_the_same_answer(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, model: str, sent: dict[str, Any]
) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", loopback.url)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", str(loopback.key))
    answers, senders = [], []
    for way in ("", "litellm"):
        monkeypatch.setenv(SEND, way)
        with PolicyRuntime(served(model, **sent), seed=3) as runtime:
            answers.append(runtime.answer_sync(question="6 + 3"))
            senders.append(type(runtime._opened[0]._model._sender))
    assert senders == [OpenAIClient, LiteLLMSender]
    straight, through = answers
    assert (straight.text, straight.usd, straight.samples) == (through.text, through.usd, 5)
    assert [d.text for d in straight.trace] == [d.text for d in through.trace]
    first, second = loopback.bodies
    assert first == second
    assert first["n"] == 5


SAID = st.text(max_size=12)
EARLIER = st.lists(
    st.tuples(st.sampled_from(["system", "developer", "user", "assistant"]), SAID), max_size=3
)


@given(EARLIER, SAID, st.integers(0, 2**31), st.sampled_from([1, 4]))
@settings(max_examples=150, derandomize=True, database=None)
@pytest.mark.parametrize("model", ["openai/tiny", "openai/o1", "hosted_vllm/tiny", "openai/gpt-5"])
def test_a_request_made_after_another_of_its_shape_is_what_litellm_makes_of_it(
    model: str, earlier: list[tuple[str, str]], text: str, seed: int, n: int
) -> None:
    messages = (*(Message(role, said) for role, said in earlier), Message("user", text))
    params = {"max_tokens": 9, "extra_body": {"top_k": 3}}
    own = {"seed": seed, **({"n": n} if n > 1 else {})}
    request = Request(model, messages, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTED_VLLM_API_BASE", "http://localhost/v1")
        sender = sender_of(model)
    whole = sender._translated([m._asdict() for m in messages], params, own)
    assert json.dumps(sender._body(request, own)["messages"]) == json.dumps(whole["messages"])
    assert sender._body(request, own) == whole
    assert len(sender._bodies) <= BODY_SHAPES


@functools.cache
def sender_of(model: str) -> OpenAIClient:
    """One for all examples, so that most bodies are made after another's."""
    return OpenAIClient(model, ProviderEndpoint("http://localhost/v1", "none"), connections=1)


def test_the_environments_proxy_is_used(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", loopback.url.removesuffix("/v1"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://far.example/v1")
    with PolicyRuntime(served("openai/tiny")) as runtime:
        answer = runtime.answer_sync(question="6 + 3")
    assert (answer.samples, loopback.calls) == (5, 1)


def test_what_litellm_reaches_another_way_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOSTED_VLLM_API_BASE", raising=False)
    by_responses = [
        name
        for name, row in litellm_library().model_cost.items()
        if row.get("mode") == "responses" and row.get("litellm_provider") == "openai"
    ]
    assert by_responses  # the table has such models

    def of(model: str) -> Tier:
        return Tier("small", model, Price(1.0, 2.0))

    assert not any(speaks_openai(of(f"openai/{name}")) for name in by_responses if "/" not in name)
    assert not speaks_openai(of("anthropic/claude-3-5-haiku-20241022"))
    assert not speaks_openai(of("hosted_vllm/tiny"))  # no address to send it to
    assert speaks_openai(of("openai/gpt-4o-mini"))
