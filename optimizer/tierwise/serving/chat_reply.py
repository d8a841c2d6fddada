"""An answer in the shape of a chat completion, whole or as a stream of events."""

from __future__ import annotations

import secrets
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise.serving.answer import Answer
from tierwise.serving.api_error import json_bytes

_FINISH_REASONS = ("stop", "length", "content_filter")

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Reply:
    """What all parts of a reply have in common. ``version`` is that of the policy's content."""

    policy: str
    version: str
    ignored: Sequence[str] = ()
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole reply."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish(answer),
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(answer),
            "tierwise": self.summary(answer),
        }

    def opening(self) -> bytes:
        """The first event: it says that there will be an answer."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def closing(self, answer: Answer, *, include_usage: bool) -> list[bytes]:
        """The events of the chosen answer and the end."""
        events = [
            self._chunk({"content": answer.text}, None),
            self._chunk({}, _finish(answer), tierwise=self.summary(answer)),
        ]
        if include_usage:
            last = {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(answer)}
            events.append(event(last))
        return [*events, DONE]

    def headers(self, answer: Answer | None = None) -> dict[str, str]:
        """What a reply says in its headers; the answer's part where it is known in time."""
        headers = {"x-tierwise-policy": _ascii(self.policy), "x-tierwise-version": self.version}
        if answer is not None:
            headers |= {
                "x-tierwise-bucket": _ascii(answer.bucket),
                "x-tierwise-samples": str(answer.samples),
                "x-tierwise-usd": f"{answer.usd:.9g}",
            }
        return headers

    def summary(self, answer: Answer) -> dict[str, Any]:
        """The ``tierwise`` object: what the policy did."""
        return {
            "policy": self.policy,
            "version": self.version,
            "bucket": answer.bucket,
            "answer": answer.answer,
            "samples": answer.samples,
            "rounds": answer.rounds,
            "calls": answer.calls,
            "usd": answer.usd,
            "latency_s": round(answer.latency_s, 6),
            "ended": answer.ended,
            "ignored": list(self.ignored),
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.policy,
            "system_fingerprint": f"tierwise-{self.version}",
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk"), "choices": [choice], **more})


def event(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json_bytes(data) + b"\n\n"


def usage(answer: Answer) -> dict[str, Any]:
    """Tokens over all samples: what was billed, not what the chosen answer has."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }


def _finish(answer: Answer) -> str:
    return answer.finish_reason if answer.finish_reason in _FINISH_REASONS else "stop"


def _ascii(text: str) -> str:
    return urllib.parse.quote(text, safe=" /:@+,()[]=~")
