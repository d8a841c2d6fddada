"""Between a tierwise sample and DSPy's canonical request and response, both ways.

Parameters that DSPy's ``Config`` knows go into its fields, all others (``thinking``, ``extra_body``
…) into ``Config.extensions`` as they are; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspy import lm15
from tierwise.llm import Completion, Request
from tierwise.schema import Message

OWN = "tierwise"
"""Key of ``Response.provider_data`` for what DSPy's response has no field for."""

_FIELDS = ("temperature", "max_tokens", "top_p", "top_k")
_FINISHED = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


def to_dspy(request: Request, model: str, seed: int, *, logprobs: bool = False) -> Any:
    """The ``dspy.lm15.Request`` of one sample; its seed tells the samples of a request apart."""
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
            OWN: {
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
    own: dict[str, Any] = dict(data.get(OWN) or {})
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
