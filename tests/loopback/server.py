from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web

Messages = Sequence[Mapping[str, str]]


class Said(NamedTuple):
    """What one choice says, and its tokens; None: its words."""

    text: str
    reasoning: str = ""
    logprobs: tuple[float, ...] = ()
    finish_reason: str = "stop"
    tokens: int | None = None
    prompt_tokens: int | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()


Speak = Callable[[Messages, int, Mapping[str, Any]], Said]


class Fault(NamedTuple):
    """What goes wrong with a call.

    ``kind``: status (an error of that status, nothing billed), hang (answers after ``seconds``),
    cut (the connection ends in the body), truncated (half of the JSON), empty (no choices),
    html (no JSON at all), silent (an answer without usage).
    """

    kind: str
    status: int = 500
    headers: Mapping[str, str] = {}
    error: Mapping[str, object] = {}
    seconds: float = 0.0


class Raw(NamedTuple):
    """An answer as recorded: sent as it is."""

    status: int
    body: object
    headers: Mapping[str, str] = {}

    def response(self) -> web.Response:
        content = self.body
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        return web.Response(status=self.status, body=content, headers=headers)


def words(text: str | None) -> int:
    """The server's tokens: words."""
    return len((text or "").split())


def hashed(messages: Messages, seed: int, body: Mapping[str, Any]) -> Said:
    """An answer of one to four words that depends on the messages and the seed alone."""
    digest = hashlib.sha256(json.dumps([messages, seed]).encode()).hexdigest()
    return Said(" ".join(["well,"] * (int(digest[0], 16) % 4) + [f"A: {int(digest[:4], 16) % 10}"]))


@dataclass
class Loopback:
    """Settings first, then what the server saw.

    Attributes:
        speak_all: all choices of a call at once, in place of ``speak``.
        fault: number of the call (from 0) -> its fault, or None.
        raw: (number of the call, its body) -> what is sent in place of an answer, or None.
        key: the only key that it accepts; None accepts all.
        takes_n: False answers 400 to a call for more than one choice.
        delay_s: how long an answer takes.
        cached_tokens: prompt tokens that it calls cached.
        calls: requests that arrived; ``answered``: those that were answered whole.
        prompt_tokens, completion_tokens: what it bills, answers that got lost among it.
        peak: most requests that were open at one time.
        bodies, headers: of the requests, as parsed; ``paths`` with their query.
    """

    speak: Speak = hashed
    speak_all: Callable[[Messages, int, int, Mapping[str, Any]], Awaitable[list[Said]]] | None = (
        None
    )
    fault: Callable[[int], Fault | None] = lambda call: None
    raw: Callable[[int, dict[str, Any]], Raw | None] = lambda call, body: None
    key: str | None = None
    takes_n: bool = True
    delay_s: float = 0.0
    cached_tokens: int = 0
    calls: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    peak: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _open: int = 0
    _port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Loopback:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{prefix:.+}/chat/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        number, self.calls = self.calls, self.calls + 1
        self._open += 1
        self.peak = max(self.peak, self._open)
        try:
            body = await request.json()
            self.bodies.append(body)
            self.headers.append(request.headers)
            self.paths.append(request.path_qs)
            return await self._respond(request, body, self.fault(number))
        finally:
            self._open -= 1

    async def _respond(
        self, request: web.Request, body: dict[str, Any], fault: Fault | None
    ) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is not None and token != self.key:
            # As careless as a server can be: it repeats the key.
            return _error(
                401, {"message": f"Incorrect API key: {token}", "code": "invalid_api_key"}
            )
        if (raw := self.raw(self.calls - 1, body)) is not None:
            return raw.response()
        if not self.takes_n and body.get("n", 1) != 1:
            return _error(400, {"message": "only one completion is allowed", "param": "n"})
        if fault is not None and fault.kind == "status":
            return _error(fault.status, fault.error or {"message": "scripted"}, fault.headers)
        await asyncio.sleep(self.delay_s)
        answer = await self._answer(body)
        if fault is None:
            self.answered += 1
            return web.json_response(answer)
        return await _spoil(request, answer, fault)

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        messages, seed = body["messages"], body.get("seed", 0)
        if self.speak_all is not None:
            said = await self.speak_all(messages, seed, body.get("n", 1), body)
        else:
            said = [self.speak(messages, seed + j, body) for j in range(body.get("n", 1))]
        prompt = said[0].prompt_tokens
        if prompt is None:
            prompt = sum(words(m.get("content")) for m in messages)
        reasoning = sum(words(s.reasoning) for s in said)
        completion = reasoning + sum(words(s.text) if s.tokens is None else s.tokens for s in said)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        choices = [
            _choice(i, s, with_logprobs=bool(body.get("logprobs"))) for i, s in enumerate(said)
        ]
        return {
            "id": f"chat-{self.calls}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "completion_tokens_details": {"reasoning_tokens": reasoning},
                "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            },
        }


def _choice(index: int, said: Said, *, with_logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.tool_calls:
        message["tool_calls"] = said.tool_calls
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    choice: dict[str, Any] = {
        "index": index,
        "message": message,
        "finish_reason": said.finish_reason,
    }
    if with_logprobs and said.logprobs:
        tokens = [
            {"token": str(k), "logprob": p, "top_logprobs": []} for k, p in enumerate(said.logprobs)
        ]
        choice["logprobs"] = {"content": tokens}
    return choice


def _error(
    status: int, error: Mapping[str, object], headers: Mapping[str, str] = {}
) -> web.Response:
    return web.json_response({"error": dict(error)}, status=status, headers=dict(headers))


async def _spoil(request: web.Request, answer: dict[str, Any], fault: Fault) -> web.StreamResponse:
    text = json.dumps(answer)
    match fault.kind:
        case "hang":
            await asyncio.sleep(fault.seconds)
            return web.json_response(answer)
        case "truncated":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        case "empty":
            return web.json_response({**answer, "choices": []})
        case "html":
            return web.Response(text="<html>a proxy</html>", content_type="text/html")
        case "silent":
            return web.json_response({k: v for k, v in answer.items() if k != "usage"})
        case "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(text))})
            await response.prepare(request)
            await response.write(text[: len(text) // 2].encode())
            assert request.transport is not None
            request.transport.close()
            return response
    raise ValueError(f"no fault {fault.kind!r}")
