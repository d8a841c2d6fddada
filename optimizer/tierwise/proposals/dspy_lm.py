"""A ``dspy.LM`` over any tier: embedded models, and all that LiteLLM reaches.

::

    dspy.configure(lm=tier_lm("embedded/small"), adapter=EmbeddedAdapter())

DSPy 3.4 asks an engine object for one response a request; ``TierEngine`` asks the tier's model.
``to_dspy`` and ``completion_of`` go the other way, for policies whose samples run through an LM.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from pydantic import TypeAdapter

import dspy
from dspy import lm15
from tierwise.errors import InputError, ProviderError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, Result, base_seed
from tierwise.llm.models import address_of, open_model, resolve_tier
from tierwise.schema import Message, Price, Tier

T = TypeVar("T")

PROVIDER = "tierwise"
"""The provider's name in DSPy's errors, and the key of ``Response.provider_data``."""
IN_CACHE_KEY = ("max_tokens", "reasoning_effort", "top_p")
"""What an ``dspy.LM`` makes part of its cache's key when it is among its own arguments."""

_FIELDS = ("temperature", "max_tokens", "top_p", "top_k")
_FINISHED = {"stop": "stop", "length": "length", "content_filter": "content_filter"}

_PRICE = TypeAdapter(Price)


class TierEngine:
    """DSPy's engine over a tier's ``LanguageModel``; one call a response.

    A request that is asked again without a seed is the next sample of it. What a request leaves
    open (tokens, reasoning effort) is what the mode sends; without a mode it stays open.

    Attributes:
        calls, usd: calls that reached the model, and their bill at the tier's prices; answers from
            DSPy's cache are not among them.
    """

    def __init__(
        self,
        tier: Tier,
        mode: str | None = None,
        model: LanguageModel | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.tier, self.mode, self.seed = tier, mode, seed
        self.params: Mapping[str, object] = {} if mode is None else dict(tier.mode(mode))
        if "suffix" in self.params:
            raise InputError(
                f"mode {mode!r} of tier {tier.name!r} adds words to the last message; through "
                "dspy.LM a request is sent as it is: choose another mode"
            )
        self.calls, self.usd = 0, 0.0
        self._model, self._owned = model, model is None
        self._address = address_of(tier)
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def complete(self, request: Any) -> Any:
        """The ``dspy.lm15.Response`` to a ``dspy.lm15.Request``."""
        return run_coroutine(self.answer(request))

    async def answer(self, request: Any) -> Any:
        """``complete`` for code with an event loop."""
        asked, seed = from_dspy(request, self.tier.model, self.params, self._address)
        try:
            (result,) = await self._opened().answer(self._call(asked, seed))
        except ProviderError as error:
            raise lm15.ProviderError(str(error), provider=PROVIDER) from None
        return self._billed(result)

    def close(self) -> None:
        """Close the model, if the engine opened it."""
        with self._lock:
            if self._owned and self._model is not None:
                self._model.close()
                self._model = None

    def dump_state(self) -> dict[str, Any]:
        """The tier as plain data; no keys and no addresses are in it."""
        return {
            "name": self.tier.name,
            "model": self.tier.model,
            "mode": self.mode,
            "seed": self.seed,
            "modes": {name: dict(sent) for name, sent in self.tier.modes.items()},
            "price": _PRICE.dump_python(self.tier.price, mode="json"),
        }

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> TierEngine:
        """The engine that ``dump_state`` described."""
        price = _PRICE.validate_json(json.dumps(state["price"]))
        tier = resolve_tier(state["name"], state["model"], price=price, modes=state["modes"])
        return cls(tier, state["mode"], seed=state["seed"])

    def __deepcopy__(self, memo: object) -> TierEngine:
        return self  # a model is shared, as DSPy shares clients

    def _opened(self) -> LanguageModel:
        with self._lock:
            if self._model is None:
                self._model = open_model(self.tier)
            return self._model

    def _call(self, request: Request, seed: int | None) -> Call:
        if seed is not None:
            return Call(request, 0, 1, seed)
        with self._lock:
            index = self._asked[request.key]
            self._asked[request.key] += 1
        return Call(request, index, 1, base_seed(self.seed, request) + index)

    def _billed(self, result: Result) -> Any:
        with self._lock:
            self.calls += 1
            if isinstance(result, Completion):
                bill = result.bill(None, self.tier.price)
                self.usd += bill.prompt_usd + bill.completion_usd
        if isinstance(result, Failure):
            # The model has retried what is worth it, so this is an error that DSPy does not retry.
            raise lm15.ProviderError(f"{result.error_class}: {result.message}", provider=PROVIDER)
        return response_of(result, self.tier.model)


class AsyncTierEngine:
    """The async twin that DSPy asks for; it shares its engine's model, samples and bill."""

    def __init__(self, engine: TierEngine) -> None:
        self.engine = engine

    async def complete(self, request: Any) -> Any:
        """The ``dspy.lm15.Response`` to a ``dspy.lm15.Request``."""
        return await self.engine.answer(request)

    def dump_state(self) -> dict[str, Any]:
        """See ``TierEngine.dump_state``."""
        return self.engine.dump_state()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> AsyncTierEngine:
        """The engine that ``dump_state`` described."""
        return cls(TierEngine.load_state(state))


def tier_lm(
    tier: Tier | str,
    mode: str | None = None,
    *,
    model: LanguageModel | None = None,
    temperature: float | None = None,
    cache: bool = True,
    seed: int = 0,
) -> Any:
    """A ``dspy.LM`` over a tier, or over a model string at LiteLLM's or simulated prices.

    ``mode``: what a request sends (default: the tier's first). ``cache``: DSPy's own (off where the
    mode sends what DSPy would not make part of its cache's key). ``model`` answers in place of the
    tier's own; it is its owner's to close.

    Raises:
        InputError: there is no such model, mode or price.
    """
    if isinstance(tier, str):
        tier = resolve_tier(tier.rpartition("/")[2], tier)
    engine = TierEngine(tier, mode or next(iter(tier.modes)), model, seed=seed)
    # What the mode sends is part of DSPy's cache key only where it is in the LM's own arguments.
    shown = {name: value for name, value in engine.params.items() if name in IN_CACHE_KEY}
    cached = cache and len(shown) == len(engine.params)
    return lm_of(engine, cache=cached, **{**shown, "temperature": temperature})


def lm_of(engine: TierEngine, **settings: Any) -> Any:
    """The ``dspy.LM`` over an engine; ``settings`` are the LM's own."""
    twin = AsyncTierEngine(engine)
    return dspy.LM(engine.tier.model, engine=engine, async_engine=twin, num_retries=0, **settings)


def proposers_lm(tier: Tier, model: LanguageModel, seed: int) -> Any:
    """A ``dspy.LM`` over a model that keeps its answers itself: DSPy's cache is off."""
    mode = next((name for name, sent in tier.modes.items() if "suffix" not in sent), None)
    return lm_of(TierEngine(tier, mode, model, seed=seed), cache=False)


def to_dspy(request: Request, model: str, seed: int, *, logprobs: bool = False) -> Any:
    """The ``dspy.lm15.Request`` of one sample; its seed tells the samples of a request apart.

    Parameters that DSPy's ``Config`` has no field for (``thinking``, ``extra_body`` …) go into
    ``Config.extensions`` as they are: none is dropped.
    """
    params = dict(request.params)
    fields = {name: params.pop(name) for name in _FIELDS if name in params}
    effort = params.pop("reasoning_effort", None)
    if effort is not None:
        fields["reasoning"] = lm15.Reasoning("off" if effort == "none" else effort)
    if logprobs:
        fields["logprobs"] = 0  # of the chosen tokens only
    config = lm15.Config(seed=seed, extensions=params or None, **fields)
    system = "\n\n".join(m.content for m in request.messages if m.role in ("system", "developer"))
    messages = tuple(
        lm15.Message.assistant(m.content) if m.role == "assistant" else lm15.Message.user(m.content)
        for m in request.messages
        if m.role not in ("system", "developer")
    )
    return lm15.Request(model=model, messages=messages, system=system or None, config=config)


def from_dspy(
    request: Any, model: str, defaults: Mapping[str, object], address: str = ""
) -> tuple[Request, int | None]:
    """The tierwise request of a ``dspy.lm15.Request`` and its seed; ``defaults`` fill the gaps.

    Raises:
        dspy.lm15.UnsupportedFeatureError: a part that is not text, a tool or a response format.
    """
    config = request.config
    if request.tools or config.response_format is not None:
        raise lm15.UnsupportedFeatureError("a tierwise tier takes text: no tools, no schema")
    params = {**defaults, **(config.extensions or {})}
    for name in _FIELDS:
        if getattr(config, name) is not None:
            params[name] = getattr(config, name)
    if config.stop:
        params["stop"] = list(config.stop)
    if config.reasoning is not None:
        effort = config.reasoning.effort
        params["reasoning_effort"] = "none" if effort == "off" else effort
    messages = [Message(m.role, _text(m.parts)) for m in request.messages]
    if request.system:
        system = request.system if isinstance(request.system, str) else _text(request.system)
        messages.insert(0, Message("system", system))
    return Request(model, tuple(messages), params, address), config.seed


def response_of(completion: Completion, model: str) -> Any:
    """The ``dspy.lm15.Response`` of a completion."""
    return lm15.Response(
        id=None,
        model=model,
        message=lm15.Message.assistant(completion.text),
        finish_reason=_FINISHED.get(completion.finish_reason, "stop"),
        usage=lm15.Usage(
            input_tokens=completion.prompt_tokens,
            output_tokens=completion.completion_tokens,
            cache_read_tokens=completion.cached_tokens,
            reasoning_tokens=completion.reasoning_tokens,
        ),
        provider_data={
            PROVIDER: {
                "mean_logprob": completion.mean_logprob,
                "min_logprob": completion.min_logprob,
                "latency_s": completion.latency_s,
            }
        },
    )


def completion_of(response: Any, latency_s: float) -> Completion:
    """The completion in a ``dspy.lm15.Response``, with its usage: also of one from DSPy's cache."""
    usage = response.usage
    data = response.provider_data if isinstance(response.provider_data, Mapping) else {}
    own: dict[str, Any] = dict(data.get(PROVIDER) or {})
    if not own and response.logprobs:
        logprobs = [token.logprob for token in response.logprobs]
        own = {"mean_logprob": sum(logprobs) / len(logprobs), "min_logprob": min(logprobs)}
    return Completion(
        text=response.text or "",
        prompt_tokens=usage.input_tokens or 0,
        completion_tokens=usage.output_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
        cached_tokens=usage.cache_read_tokens or 0,
        mean_logprob=own.get("mean_logprob"),
        min_logprob=own.get("min_logprob"),
        latency_s=own.get("latency_s", latency_s),
        finish_reason=response.finish_reason,
    )


def _text(parts: Any) -> str:
    if not all(isinstance(part, lm15.TextPart) for part in parts):
        raise lm15.UnsupportedFeatureError("a tierwise tier takes text, and no other parts")
    return "".join(part.text for part in parts)


def run_coroutine(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end; where a loop runs already, in a thread that keeps DSPy's context."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, work).result()
