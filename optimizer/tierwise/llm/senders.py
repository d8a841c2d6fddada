"""What sends one call of a provider's model: LiteLLM, or this module straight to the server.

LiteLLM reaches every provider, and spends 7 to 10 ms of CPU on a call, most of it outside the wire;
a gateway that answers many requests waits for that. So calls to OpenAI-compatible servers go there
straight, over pooled connections of aiohttp: LiteLLM says what is sent under which names. Either
way the answer is read as every answer is (``answers``). ``tests/llm`` holds that both send the same
body and make the same of the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from tierwise.llm.answers import LONGEST_ANSWER_BYTES, parse_body, too_long, too_many_values
from tierwise.llm.base import Request
from tierwise.llm.endpoint import ProviderEndpoint, endpoint_of
from tierwise.llm.faults import Fault, brief, classify_answer, classify_error
from tierwise.llm.litellm import litellm_library, provider_of
from tierwise.schema import Tier

if TYPE_CHECKING:
    import aiohttp


class Sender(Protocol):
    """One attempt at one call; retries, limits and bills are the model's."""

    async def send(
        self, request: Request, own: Mapping[str, object], timeout_s: float
    ) -> Mapping[str, Any]:
        """The answer's body, a chat completion in OpenAI's form.

        ``own`` holds what tierwise adds to the request: n, seed, logprobs, stream.

        Raises:
            Fault: see ``faults``.
        """
        ...

    async def close(self) -> None:
        """Close the connections, on the loop that sent."""
        ...


class LiteLLMSender:
    """Any provider: ``litellm.acompletion`` without its retries.

    LiteLLM translates the request. An answer in OpenAI's form is read from its bytes, so that it is
    worth the same as through ``OpenAIClient``; any other as LiteLLM translates it.
    """

    def __init__(self, endpoint: ProviderEndpoint) -> None:
        _watch_answers()
        self._where: dict[str, object] = {}
        if endpoint.base:
            self._where["api_base"] = endpoint.base
        if endpoint.headers:
            self._where["extra_headers"] = dict(endpoint.headers)
        if endpoint.key:
            self._where["api_key"] = endpoint.key

    async def send(
        self, request: Request, own: Mapping[str, object], timeout_s: float
    ) -> Mapping[str, Any]:
        """See ``Sender``."""
        wire, fault = _Wire(), None
        response: Any = None
        watched = _WIRE.set(wire)
        try:
            async with asyncio.timeout(timeout_s):
                response = await _send(
                    model=request.model,
                    messages=[m.body for m in request.messages],
                    timeout=timeout_s,
                    num_retries=0,
                    max_retries=0,
                    drop_params=False,
                    **{"no-log": True},
                    **own,
                    **self._where,
                    **request.params,
                )
                if hasattr(response, "__aiter__") and not wire.openai:
                    chunks = [chunk async for chunk in response]
                    response = litellm_library().stream_chunk_builder(chunks)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was becomes a fault
            fault = wire.fault or wire.refusal or classify_error(error)
            answered = wire.status and wire.fault is None and wire.refusal is None
            if answered and fault.kind in ("connection", "bad_request"):  # what it cannot read
                fault = Fault("malformed", fault.message, billed=True)
        finally:
            _WIRE.reset(watched)
        if fault is not None and (fault is wire.fault or not wire.openai):
            raise fault  # outside of ``except``: no exception of LiteLLM hangs on as its context
        if wire.openai:
            return parse_body(wire.status, wire.headers, wire.content)
        body: Mapping[str, Any] = response if isinstance(response, dict) else response.model_dump()
        return body

    async def close(self) -> None:
        """LiteLLM's clients are closed with the last model of the process (``close_clients``)."""


ABANDONED_S = 2.0


async def _send(**call: Any) -> Any:
    """``litellm.acompletion(**call)``, which may be cancelled at any moment.

    LiteLLM builds the call in a thread, and what is cancelled meanwhile leaves a coroutine behind
    that nobody awaits: so a call that nobody waits for any more goes on for a moment.
    """
    sending = asyncio.ensure_future(litellm_library().acompletion(**call))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())
        asyncio.get_running_loop().call_later(ABANDONED_S, sending.cancel)
        raise


LONGEST_MESSAGE_BYTES = 20_000
_STAND_IN = (
    b'{"id":"","object":"chat.completion","created":0,"model":"","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","content":""}}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


@dataclass
class _Wire:
    """The last answer that came over HTTP for one call, as bytes."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    fault: Fault | None = None
    """What was wrong with its length."""

    @property
    def refusal(self) -> Fault | None:
        """What it says where it says no."""
        if not self.status or 200 <= self.status < 300:
            return None
        return classify_answer(self.status, self.headers, self.content.decode("utf-8", "replace"))

    @property
    def for_litellm(self) -> bytes:
        """What LiteLLM is given of it.

        Of what ``parse_body`` reads, a stand-in where it is long. LiteLLM puts what it cannot read
        into a message and looks for secrets there, which takes minutes for megabytes.
        """
        if len(self.content) <= LONGEST_MESSAGE_BYTES:
            return self.content
        if not 200 <= self.status < 300:
            return self.content[:LONGEST_MESSAGE_BYTES]
        return _STAND_IN if self.openai and not self._events else self.content

    @property
    def _events(self) -> bool:
        return (
            "event-stream" in self.headers.get("content-type", "") or self.content[:5] == b"data:"
        )

    @functools.cached_property
    def openai(self) -> bool:
        """Whether it is an answer that ``parse_body`` reads: a completion, or an error in one."""
        if not 200 <= self.status < 300:
            return False
        if self._events:
            return b'"choices"' in self.content
        try:
            body = json.loads(self.content.decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            return True  # no provider's form at all, and ``parse_body`` says so
        if not isinstance(body, dict):
            return not (isinstance(body, list) and body and isinstance(body[0], dict))
        return "choices" in body or "error" in body


_WIRE: ContextVar[_Wire | None] = ContextVar("tierwise_wire", default=None)


@functools.cache
def _watch_answers() -> None:
    """Let LiteLLM's HTTP clients hand over their answers as bytes, bounded, following no redirect.

    Every provider's client is an ``httpx.AsyncClient``, made by LiteLLM with redirects on and no
    bound. The change holds inside a call of ``LiteLLMSender`` alone (``_WIRE`` is set there).
    """
    import httpx

    original = httpx.AsyncClient.send

    @functools.wraps(original)
    async def send(self: Any, request: Any, **options: Any) -> Any:
        wire = _WIRE.get()
        if wire is None:
            return await original(self, request, **options)
        wire.status, wire.fault = 0, None
        wire.__dict__.pop("openai", None)
        options |= {"stream": True, "follow_redirects": False}
        response = await original(self, request, **options)
        parts, size = [], 0
        try:
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > LONGEST_ANSWER_BYTES:
                    wire.fault = too_long()
                    raise httpx.RemoteProtocolError("the answer is too long", request=request)
        finally:
            await response.aclose()
        wire.headers = {k.lower(): v for k, v in response.headers.items()}
        wire.status, wire.content = response.status_code, b"".join(parts)
        wire.fault = too_many_values(wire.content)
        if wire.fault is not None:
            raise httpx.RemoteProtocolError(wire.fault.message, request=request)
        kept = [
            (k, v)
            for k, v in response.headers.multi_items()
            if k.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        whole = httpx.Response(
            response.status_code, headers=kept, content=wire.for_litellm, request=response.request
        )
        whole.elapsed = response.elapsed
        return whole

    httpx.AsyncClient.send = send  # type: ignore[method-assign]  # see above


async def close_clients() -> None:
    """Close what LiteLLM opened on the loop that runs here, and end its logging queue."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    with contextlib.suppress(TimeoutError):  # its log lines are lost, and no sample with them
        await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), timeout=ABANDONED_S)
    await GLOBAL_LOGGING_WORKER.stop()
    cache = litellm_library().in_memory_llm_clients_cache
    mine = cache.update_cache_key_with_event_loop("")  # what it ends this loop's keys with
    for key in [k for k in cache.cache_dict if str(k).endswith(mine)]:
        client = cache.cache_dict.pop(key)
        closing = getattr(client, "close", None) or getattr(client, "aclose", None)
        if closing is not None:
            await closing()


# --- straight to the server ---------------------------------------------------------------------

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
