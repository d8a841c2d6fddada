"""Policies as models of a LiteLLM proxy that a team already runs.

``tierwise export POLICY --to litellm-proxy`` writes the config and the handler file, which holds::

    provider = PolicyProvider.beside(__file__, "small.yaml")

A policy's calls go through the proxy's own deployments, so that its keys, limits and fallbacks
still apply; an embedded tier answers in the proxy. Which file a model reads is said in the handler
alone: a parameter of the config could be overwritten by a client's body.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM, CustomLLMError

from tierwise.errors import InputError, TierwiseError, UnsupportedError
from tierwise.llm import Call, Failure, LanguageModel, Result
from tierwise.llm.answers import AnswerReader
from tierwise.llm.faults import Fault, classify_error
from tierwise.llm.models import kind_of
from tierwise.schema import Tier
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.answer import Answer
from tierwise.serving.chat import (
    ApiError,
    ChatReply,
    ChatRequest,
    failed_answer,
    policy_inputs,
    usage_body,
)
from tierwise.serving.registry import PolicyRegistry
from tierwise.serving.runtime import PolicyRuntime, ReopeningModel

_PROXYS_OWN = frozenset(
    {
        "stream",
        "stream_options",
        "metadata",
        "litellm_metadata",
        "proxy_server_request",
        "extra_body",
        "extra_headers",
        "max_retries",
        "input_cost_per_token",
        "output_cost_per_token",
    }
)
"""Parameters that the proxy hands to a provider beside the client's."""


class RouterModel:
    """A tier behind a deployment of the proxy.

    Retries, limits, keys and fallbacks are the router's; an exception is a failed sample.
    """

    chunk = 1

    def __init__(self, tier: Tier, deployment: str) -> None:
        self.tier, self.deployment = tier, deployment
        self._reader = AnswerReader(tier.model)
        self._seeds = "seed" in (litellm.get_supported_openai_params(model=tier.model) or ())

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call through the proxy's router."""
        own: dict[str, object] = {"n": call.n} if call.n > 1 else {}
        if self._seeds:
            own["seed"] = call.seed
        if self.tier.logprobs:
            own["logprobs"] = True
        started_s = time.perf_counter()
        try:
            response = await _router().acompletion(
                model=self.deployment,
                messages=[m.body for m in call.request.messages],
                **own,
                **call.request.params,
            )
            latency_s = time.perf_counter() - started_s
            return self._reader.read(response.model_dump(), call, 0, latency_s)
        except Fault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was becomes a failed sample
            fault = classify_error(error)
        return [Failure(fault.kind, fault.message, time.perf_counter() - started_s)] * call.n

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Not for jobs: a proxy serves."""
        raise UnsupportedError("a deployment of a proxy answers live calls only")

    def close(self) -> None:
        """Nothing to give back."""


class PolicyProvider(CustomLLM):  # type: ignore[misc]  # litellm's types are not followed
    """LiteLLM's custom provider ``policy/NAME``, for each policy by its name.

    ``deployments`` says which of the proxy's models answers for a tier; left out, the one that is
    named like the tier's model (``openai/gpt-4o-mini``). A policy file that changes is read again;
    where the new one has a fault, the old one stays.

    Raises:
        InputError: a file has a fault, or two policies have one name.
    """

    def __init__(
        self, paths: Sequence[Path], *, deployments: Mapping[str, str] | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self._deployments, self._seed = dict(deployments or {}), seed
        self.registry = PolicyRegistry(paths, self._opened)
        for served in self.registry.policies:
            if served.runtime is None:
                raise InputError(str(served.fault), path=served.path)

    @classmethod
    def beside(cls, handler: str, *names: str, **more: Any) -> PolicyProvider:
        """The provider of the policy files ``names`` in the folder of the handler file."""
        folder = Path(handler).resolve().parent
        return cls([folder / name for name in names], **more)

    async def acompletion(self, model: str, messages: list[Any], *_: Any, **call: Any) -> Any:
        """LiteLLM's entry for a whole answer."""
        answer, reply = await self._answer(model, messages, call["optional_params"])
        return _response(call["model_response"], answer, reply)

    def completion(self, model: str, messages: list[Any], *_: Any, **call: Any) -> Any:
        """The same without an event loop."""
        answer, reply = asyncio.run(self._answer(model, messages, call["optional_params"]))
        return _response(call["model_response"], answer, reply)

    async def astreaming(
        self, model: str, messages: list[Any], *_: Any, **call: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """LiteLLM's entry for a stream: the chosen answer, then usage and what the policy did."""
        answer, reply = await self._answer(model, messages, call["optional_params"])
        for chunk in _chunks(answer, reply):
            yield chunk

    def streaming(
        self, model: str, messages: list[Any], *_: Any, **call: Any
    ) -> Iterator[dict[str, Any]]:
        """The same without an event loop."""
        answer, reply = asyncio.run(self._answer(model, messages, call["optional_params"]))
        yield from _chunks(answer, reply)

    async def _answer(
        self, model: str, messages: Sequence[Any], params: Mapping[str, Any]
    ) -> tuple[Answer, ChatReply]:
        try:
            given = {k: v for k, v in params.items() if k not in _PROXYS_OWN and v is not None}
            given |= params.get("extra_body") or {}
            chat = ChatRequest.of({**given, "model": model, "messages": list(messages)})
            served = self.registry.refresh(self.registry.find(model))
            with served.use() as runtime:
                asked = policy_inputs(chat, runtime.file)
                answer = await runtime.answer(asked.inputs, seed=chat.seed, history=asked.history)
            reply = ChatReply(runtime.file.name, served.version, chat.ignored)
            if answer.failed:
                raise failed_answer(answer, {})
        except ApiError as error:
            raise CustomLLMError(error.status, error.message) from None
        except InputError as error:
            raise CustomLLMError(400, str(error)) from None
        except TierwiseError as error:
            raise CustomLLMError(502, f"no answer: {error}") from None
        return answer, reply

    def _opened(self, file: PolicyFile) -> PolicyRuntime:
        tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
        models = {name: self._model(tier) for name, tier in tiers.items()}
        return PolicyRuntime(file, models, seed=self._seed)

    def _model(self, tier: Tier) -> LanguageModel:
        if kind_of(tier.model) == "litellm" and _in_proxy():
            return RouterModel(tier, self._deployments.get(tier.name, tier.model))
        return ReopeningModel(tier)


def _response(response: Any, answer: Answer, reply: ChatReply) -> Any:
    """LiteLLM's response object, filled in."""
    body = reply.completion(answer)
    response.choices[0].message.content = body["choices"][0]["message"]["content"]
    if answer.tool_calls:
        calls = [litellm.ChatCompletionMessageToolCall(**c.body) for c in answer.tool_calls]
        response.choices[0].message.tool_calls = calls
    response.choices[0].finish_reason = body["choices"][0]["finish_reason"]
    response.model = reply.policy
    response.usage = litellm.Usage(**body["usage"])
    response.tierwise = body["tierwise"]
    response._hidden_params["response_cost"] = answer.usd
    return response


def _chunks(answer: Answer, reply: ChatReply) -> Iterator[dict[str, Any]]:
    """The generic chunks that LiteLLM turns into a provider-independent stream."""
    finish_reason = reply.completion(answer)["choices"][0]["finish_reason"]
    nothing = {
        "text": "",
        "tool_use": None,
        "is_finished": False,
        "finish_reason": "",
        "usage": None,
        "index": 0,
    }
    yield {**nothing, "text": answer.text}
    for i, call in enumerate(answer.tool_calls):
        yield {**nothing, "tool_use": {**call.body, "index": i}}
    yield {
        **nothing,
        "is_finished": True,
        "finish_reason": finish_reason,
        "usage": usage_body(answer),
        "provider_specific_fields": {"tierwise": reply.summary(answer)},
    }


def _in_proxy() -> bool:
    """Whether this process is a LiteLLM proxy: its server module is loaded before any handler."""
    import sys

    return "litellm.proxy.proxy_server" in sys.modules


def _router() -> Any:
    from litellm.proxy.proxy_server import llm_router

    if llm_router is None:
        raise Fault("no_router", "the proxy has no deployments")
    return llm_router
