"""A call straight to an OpenAI-compatible server, over pooled connections of aiohttp.

LiteLLM spends 7 to 10 ms of CPU on a call, most of it outside the wire; a gateway that answers many
requests waits for that. Here LiteLLM still says what is sent under which names; sending is ours,
and the answer is read as every answer is (``answers``). ``tests/llm`` holds that both senders send
the same body and make the same of the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tierwise.llm.answers import LONGEST_ANSWER_BYTES, parse_body, too_long
from tierwise.llm.base import Request
from tierwise.llm.faults import Fault, brief
from tierwise.llm.litellm import litellm_library, provider_of
from tierwise.llm.models import ProviderEndpoint, endpoint_of
from tierwise.schema import Tier

if TYPE_CHECKING:
    import aiohttp

PROVIDERS: Mapping[str, tuple[str | None, str]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "hosted_vllm": (None, "HOSTED_VLLM_API_KEY"),
}
"""Provider -> its own address, None where the environment must give one; and its key's variable."""

BODY_SHAPES = 256
IDLE_S = 30.0
"""Servers close idle connections; one that is closed before theirs cannot be cut in a call."""


def speaks_openai(tier: Tier) -> bool:
    """Whether calls to the tier's model can be sent by ``OpenAIClient``.

    Models that LiteLLM reaches by another route than chat completions (``mode: responses``), and
    providers without an address, are LiteLLM's.
    """
    provider, name = provider_of(tier.model)
    if provider not in PROVIDERS or not (PROVIDERS[provider][0] or endpoint_of(tier).base):
        return False
    table = litellm_library().model_cost
    row = table.get(name) or table.get(f"{provider}/{name}") or {}
    return row.get("mode", "chat") == "chat" and not name.startswith("responses/")


class _Body(NamedTuple):
    """How requests of one shape (parameters, roles, which texts are empty) are translated.

    Texts pass through LiteLLM as they are, so a stand-in of that shape tells all: ``said`` holds
    each message that goes out, and whose text it has; None where the stand-in's texts
    did not come back whole, and each request is to be translated by itself. ``rest`` is everything
    else, in which ``own`` are the parameters that differ from call to call (n, seed).
    """

    said: list[tuple[dict[str, str], int]] | None
    rest: Mapping[str, object] = {}
    own: tuple[str, ...] = ()


class OpenAIClient:
    """``Sender`` for a model that ``speaks_openai``."""

    def __init__(self, model: str, endpoint: ProviderEndpoint, connections: int) -> None:
        self._provider, self._name = provider_of(model)
        default, variable = PROVIDERS[self._provider]
        self._url = f"{(endpoint.base or default or '').rstrip('/')}/chat/completions"
        key = endpoint.key or os.environ.get(variable) or "none"
        self._headers = {"Authorization": f"Bearer {key}"}
        for header in ("organization", "project"):
            if self._provider == "openai" and (value := os.environ.get(f"OPENAI_{header.upper()}")):
                self._headers[f"OpenAI-{header.title()}"] = value
        self._headers |= endpoint.headers
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._proxy = _proxy_of(self._url)
        self._bodies: dict[str, _Body] = {}
        litellm = litellm_library()
        self._config: Any = litellm.utils.ProviderConfigManager.get_provider_chat_config(
            model=self._name, provider=litellm.LlmProviders(self._provider)
        )

    async def send(
        self, request: Request, own: Mapping[str, object], timeout_s: float
    ) -> Mapping[str, Any]:
        """See ``Sender``."""
        import aiohttp

        body = self._body(request, own)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._open().post(
                    self._url, json=body, proxy=self._proxy, allow_redirects=False
                ) as reply,
            ):
                content = await _read(reply)
                headers = {k.lower(): v for k, v in reply.headers.items()}
        except TimeoutError:
            raise Fault("timeout", f"no answer within {timeout_s:g} s", billed=True) from None
        except aiohttp.ClientError as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            message = brief(f"{type(error).__name__}: {error}")
            raise Fault("connection", message, billed=not refused) from None
        return parse_body(reply.status, headers, content)

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
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session

    def _body(self, request: Request, own: Mapping[str, object]) -> dict[str, object]:
        """What LiteLLM would send. It translates one request of each shape; the others of that
        shape are made after it (``_Body``)."""
        messages = request.messages
        bodies = [m.body for m in messages]
        if any(len(body) > 2 for body in bodies):  # calls of tools, and what they returned
            return self._translated(bodies, request.params, own)
        roles = [(m.role, not m.content) for m in messages]
        shape = json.dumps([sorted(own), roles, request.params], sort_keys=True, default=repr)
        made = self._bodies.get(shape)
        if made is None:
            if len(self._bodies) >= BODY_SHAPES:  # clients choose how long a history is
                self._bodies.clear()
            made = self._bodies[shape] = self._shaped(request, own)
        if made.said is None:
            return self._translated(bodies, request.params, own)
        said = [{**frame, "content": messages[i].content} for frame, i in made.said]
        return {**made.rest, **{k: own[k] for k in made.own}, "messages": said}

    def _shaped(self, request: Request, own: Mapping[str, object]) -> _Body:
        texts = [f"text {i}" if m.content else "" for i, m in enumerate(request.messages)]
        stand_ins = [
            {"role": m.role, "content": text}
            for m, text in zip(request.messages, texts, strict=True)
        ]
        body = self._translated(stand_ins, request.params, own)
        said = []
        for message in cast("list[dict[str, str]]", body.pop("messages")):
            if set(message) != {"role", "content"} or message["content"] not in texts:
                return _Body(None)
            said.append((message, texts.index(message["content"])))
        # A parameter of the server's own (``extra_body``) goes before ours of that name.
        return _Body(said, body, tuple(k for k in own if body.get(k) == own[k]))

    def _translated(
        self,
        messages: list[dict[str, Any]],
        params: Mapping[str, object],
        own: Mapping[str, object],
    ) -> dict[str, object]:
        optional = litellm_library().utils.get_optional_params(
            model=self._name, custom_llm_provider=self._provider, **own, **params
        )
        body: dict[str, object] = self._config.transform_request(
            # n and seed differ from call to call and are passed on under their own names.
            model=self._name,
            messages=messages,
            optional_params={**optional, **own},
            litellm_params={},
            headers={},
        )
        extra = body.pop("extra_body", None)
        for name in ("stream", "stream_options"):
            body.pop(name, None)
            body |= {name: own[name]} if name in own else {}
        return {**body, **extra} if isinstance(extra, dict) else body


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in reply.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LONGEST_ANSWER_BYTES:
            reply.close()
            raise too_long()
    return b"".join(parts)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for ``url``. Asked once: aiohttp's ``trust_env`` asks at
    every call, in a thread."""
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
