"""How one attempt at a call goes out: through LiteLLM, or straight to an OpenAI-compatible server.

Both send the same body and return the same object: what a provider is sent, and how its answer is
read, LiteLLM's tables and translations decide either way (``openai_http``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from tierwise.llm._base import Request
from tierwise.llm.litellm import api_base, send


class Sender(Protocol):
    """One attempt at one call; retries, limits and bills are the model's."""

    async def send(self, request: Request, own: Mapping[str, object], timeout_s: float) -> Any:
        """A ``litellm.ModelResponse``; ``own`` holds what tierwise adds: n, seed, logprobs.

        Raises:
            Fault: or whatever ``retries.classify`` makes one of.
        """
        ...

    async def close(self) -> None:
        """Close the connections, on the loop that sent."""
        ...


class LiteLLMSender:
    """Any provider: ``litellm.acompletion`` without its retries."""

    def __init__(self, model: str) -> None:
        base = api_base(model)
        self._where = {"api_base": base} if base else {}

    async def send(self, request: Request, own: Mapping[str, object], timeout_s: float) -> Any:
        """See ``Sender``."""
        async with asyncio.timeout(timeout_s):
            return await send(
                model=request.model,
                messages=[m._asdict() for m in request.messages],
                timeout=timeout_s,
                num_retries=0,
                max_retries=0,
                drop_params=False,
                **{"no-log": True},
                **own,
                **self._where,
                **request.params,
            )

    async def close(self) -> None:
        """LiteLLM's clients are closed with the last model of the process (``close_clients``)."""
