"""A call straight to an OpenAI-compatible server, over pooled connections of aiohttp.

LiteLLM spends 6 to 9 ms of CPU on a call, most of it outside the wire; a gateway that answers many
requests waits for that. Here LiteLLM still says what is sent under which names, and how an answer
is read (0.1 to 0.3 ms); only the sending is ours.
``tests/llm`` holds that both senders send the same body and give the same draws.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tierwise.llm._base import Request
from tierwise.llm.litellm import api_base, library, provider_of
from tierwise.llm.retries import Fault, classify, redact

if TYPE_CHECKING:
    import aiohttp

PROVIDERS: Mapping[str, tuple[str | None, str]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "hosted_vllm": (None, "HOSTED_VLLM_API_KEY"),
}
"""Provider -> its own address, None where the environment must give one; and its key's variable."""

IDLE_S = 30.0
"""Servers close idle connections; one that is closed before theirs cannot be cut in a call."""


class StatusError(Exception):
    """An answer that says no, in the form in which ``classify`` reads LiteLLM's exceptions."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        body = _parsed(text)
        error = body.get("error") if isinstance(body, dict) else None
        self.body = error if isinstance(error, dict) else {}
        super().__init__(str(self.body.get("message") or text[:300] or f"status {status}"))
        self.status_code, self.litellm_response_headers = status, headers


def speaks_openai(model: str) -> bool:
    """Whether calls to ``model`` can be sent by ``OpenAIHttp``.

    Models that LiteLLM reaches by another route than chat completions (``mode: responses``), and
    providers without an address, are LiteLLM's.
    """
    provider, name = provider_of(model)
    if provider not in PROVIDERS or not (PROVIDERS[provider][0] or api_base(model)):
        return False
    table = library().model_cost
    row = table.get(name) or table.get(f"{provider}/{name}") or {}
    return row.get("mode", "chat") == "chat" and not name.startswith("responses/")


class OpenAIHttp:
    """``Sender`` for a model that ``speaks_openai``."""

    def __init__(self, model: str, connections: int) -> None:
        self._provider, self._name = provider_of(model)
        default, variable = PROVIDERS[self._provider]
        self._url = f"{(api_base(model) or default or '').rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {os.environ.get(variable) or 'none'}"}
        for header in ("organization", "project"):
            if self._provider == "openai" and (value := os.environ.get(f"OPENAI_{header.upper()}")):
                self._headers[f"OpenAI-{header.title()}"] = value
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._translated: dict[str, dict[str, object]] = {}
        litellm = library()
        self._config: Any = litellm.utils.ProviderConfigManager.get_provider_chat_config(
            model=self._name, provider=litellm.LlmProviders(self._provider)
        )

    async def send(self, request: Request, own: Mapping[str, object], timeout_s: float) -> Any:
        """See ``Sender``."""
        import aiohttp

        body = self._body(request, own)
        try:
            async with asyncio.timeout(timeout_s), self._open().post(self._url, json=body) as reply:
                text = await reply.text(errors="replace")
                if reply.status >= 400:
                    raise classify(StatusError(reply.status, text, reply.headers))
        except aiohttp.ClientError as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            message = redact(f"{type(error).__name__}: {error}"[:300])
            raise Fault("connection", message, billed=not refused) from None
        return self._read(text)

    async def close(self) -> None:
        """Close the connections, on the loop that sent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=IDLE_S, ttl_dns_cache=60
                ),
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=None), trust_env=True,
            )  # fmt: skip
        return self._session

    def _body(self, request: Request, own: Mapping[str, object]) -> dict[str, object]:
        """What LiteLLM would send; its translation of the parameters is asked for once."""
        key = json.dumps([sorted(own), request.params], sort_keys=True, default=repr)
        if key not in self._translated:
            self._translated[key] = library().utils.get_optional_params(
                model=self._name, custom_llm_provider=self._provider, **own, **request.params
            )
        body: dict[str, object] = self._config.transform_request(
            model=self._name, messages=[m._asdict() for m in request.messages],
            # n and seed differ from call to call and are passed on under their own names.
            optional_params={**self._translated[key], **own}, litellm_params={}, headers={},
        )  # fmt: skip
        extra = body.pop("extra_body", None)
        body.pop("stream", None)
        return {**body, **extra} if isinstance(extra, dict) else body

    def _read(self, text: str) -> Any:
        """The answer as LiteLLM reads one, reasoning apart from what is said."""
        library()
        from litellm import ModelResponse
        from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
            convert_to_model_response_object,
        )

        data = _parsed(text)
        choices = data.get("choices") if isinstance(data, dict) else None
        if not isinstance(choices, list) or not choices:
            what = "holds no choices" if isinstance(data, dict) else "is not JSON"
            raise Fault("malformed", f"the answer {what}", billed=True)
        has_usage = isinstance(data.get("usage"), dict)
        try:
            response = convert_to_model_response_object(
                response_object=data, model_response_object=ModelResponse()
            )
        except Exception as error:  # noqa: BLE001 - LiteLLM raises bare Exceptions on a bad answer
            message = redact(str(error).splitlines()[0][:200] if str(error) else "unreadable")
            raise Fault("malformed", message, billed=True) from None
        if not has_usage:  # LiteLLM would count tokens by itself, and the bill would be a guess
            response.usage = None
        return response


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
