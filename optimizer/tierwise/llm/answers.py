"""Reading a provider's answer: its choices as samples, its bill interleaved over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tierwise.llm.base import Completion, Failure, Result
from tierwise.llm.faults import Fault


def read_choices(response: Any, n: int, latency_s: float) -> list[Result]:
    """The ``n`` samples of a chat completion, in the order of their indices.

    The usage of a call is the sum over its choices. Where each carries the log-probabilities of its
    tokens, their counts say how many it has, and what is billed beside (ends of turn) is alike.
    Else it is interleaved by the length in bytes of what each said: reasoning tokens by reasoning text,
    the others by the visible text. The shares add up to exactly what was billed, and those of a
    single choice are exact. Prompt and cached tokens are the call's. A choice that the provider cut
    by its content filter is a completion, since it was billed; ``finish_reason`` says so.

    Raises:
        Fault: there is no choice, or no usage (a call whose bill is not known).
    """
    choices = sorted(response.choices or [], key=lambda choice: int(choice.index or 0))[:n]
    if not choices:
        raise Fault("malformed", "the answer holds no choices", billed=True)
    usage = getattr(response, "usage", None)
    if usage is None or not usage.prompt_tokens:
        raise Fault("no_usage", "the provider's answers carry no token usage", billed=True)
    texts = [choice.message.content or "" for choice in choices]
    thoughts = [getattr(choice.message, "reasoning_content", None) or "" for choice in choices]
    billed = int(usage.completion_tokens or 0)
    thought = min(billed, _detail(usage, "completion_tokens_details", "reasoning_tokens"))
    reasoning = split_tokens(thought, [len(t.encode()) for t in thoughts])
    all_logprobs = [_logprobs(choice) for choice in choices]
    visible = _interleaved(
        billed - thought, texts, [] if thought else [len(of) for of in all_logprobs]
    )
    results: list[Result] = []
    for i, (choice, logprobs) in enumerate(zip(choices, all_logprobs, strict=True)):
        results.append(
            Completion(
                text=texts[i],
                prompt_tokens=int(usage.prompt_tokens),
                completion_tokens=visible[i] + reasoning[i],
                reasoning_tokens=reasoning[i],
                cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
                mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
                min_logprob=min(logprobs) if logprobs else None,
                latency_s=latency_s,
                finish_reason=str(choice.finish_reason or "stop"),
            )
        )
    message = (
        f"the provider returned {len(choices)} of {n} choices; where it always does, "
        "set takes_n: false for this tier"
    )
    return results + [Failure("missing_choice", message, latency_s)] * (n - len(choices))


def _interleaved(total: int, texts: Sequence[str], counted: Sequence[int]) -> list[int]:
    """``total`` tokens interleaved to ``texts``, by their ``counted`` tokens where all have some."""
    beside = total - sum(counted)
    if counted and all(counted) and beside >= 0:
        alike = split_tokens(beside, [1] * len(counted))
        return [own + part for own, part in zip(counted, alike, strict=True)]
    return split_tokens(total, [len(text.encode()) for text in texts])


def split_tokens(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` interleaved by ``weights`` in whole numbers that add up to it (largest remainders).

    Weights of zero share alike; the first of equal remainders gets the odd one.
    """
    known = list(weights) if sum(weights) else [1] * len(weights)
    whole = sum(known)
    interleaved = [total * w // whole for w in known]
    by_remainder = sorted(range(len(known)), key=lambda i: (-(total * known[i] % whole), i))
    for i in by_remainder[: total - sum(interleaved)]:
        interleaved[i] += 1
    return interleaved


def _detail(usage: Any, group: str, name: str) -> int:
    return int(getattr(getattr(usage, group, None), name, None) or 0)


def _logprobs(choice: Any) -> list[float]:
    content = getattr(getattr(choice, "logprobs", None), "content", None) or []
    return [float(token.logprob) for token in content]
