"""The gateway: policies behind OpenAI's chat interface.

``/v1/chat/completions``, ``/v1/models``, ``/healthz``, ``/readyz`` and ``/metrics``; what each
honours, ignores and refuses is in docs/serving.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tierwise.errors import InputError, TierwiseError
from tierwise.serving.access import Access
from tierwise.serving.answer import Answer
from tierwise.serving.answer_stream import CLIENT_GONE, AnswerStream, while_connected
from tierwise.serving.api_error import ApiError, failed, json_response
from tierwise.serving.chat_reply import Reply
from tierwise.serving.chat_request import ChatRequest, Question, question_of, read_chat
from tierwise.serving.metrics import CONTENT_TYPE, Metrics
from tierwise.serving.runtime import PolicyRuntime
from tierwise.serving.shelf import Edition, Shelf

log = logging.getLogger("tierwise.serving")
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Bounds:
    """What a gateway takes on. ``keep_alive_s`` is between the comments of a waiting stream."""

    max_in_flight: int = 256
    max_body_bytes: int = 1_000_000
    body_timeout_s: float = 30.0
    keep_alive_s: float = 5.0
    reload_s: float = 5.0


class Asked(NamedTuple):
    """A request that was understood."""

    chat: ChatRequest
    edition: Edition
    runtime: PolicyRuntime
    question: Question


class Gateway:
    """The application over a shelf of policies; ``app`` is what a server runs."""

    def __init__(self, shelf: Shelf, access: Access, bounds: Bounds = Bounds()) -> None:
        self.shelf, self.access, self.bounds = shelf, access, bounds
        self.metrics = Metrics(self._attempts)
        self._in_flight = 0
        for edition in shelf.editions:
            self.metrics.serving(edition.file)
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._guarded(self.chat), methods=["POST"]),
                Route("/v1/models", self._guarded(self.models)),
                Route("/v1/models/{name:path}", self._guarded(self.model)),
                Route("/metrics", self._guarded(self.metrics_page)),
                Route("/healthz", self.health),
                Route("/readyz", self.ready),
            ],
            exception_handlers={
                HTTPException: _http_error,
                ApiError: _api_error,
                Exception: _our_fault,
            },
            lifespan=self._lifespan,
        )

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        policy = ""
        with contextlib.ExitStack() as held:  # a place in flight, and the policy's edition
            try:
                held.enter_context(self._place())
                body = await self._body(request)
                chat = read_chat(body)
                edition = self.shelf.find(chat.model)
                policy = edition.file.name
                asked = _asked(chat, edition, held.enter_context(edition.use()))
                if chat.stream:
                    return self._stream(asked, held.pop_all())
                return await self._whole(request, asked)
            except ApiError as error:
                self._count(policy, error.status, error.code)
                raise
            except ClientDisconnect:
                self._count(policy, *CLIENT_GONE)
                return Response(status_code=CLIENT_GONE[0])

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: every policy by its name, and by its tier."""
        listed = [_model(name, edition) for name, edition in sorted(self.shelf.names.items())]
        return json_response({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        return json_response(_model(name, self.shelf.find(name)))

    async def metrics_page(self, request: Request) -> Response:
        """``GET /metrics``."""
        for edition in self.shelf.editions:
            self.metrics.ready.labels(edition.file.name).set(edition.fault is None)
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def health(self, request: Request) -> Response:
        """``GET /healthz``: the process answers."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """``GET /readyz``: 503 while a policy cannot answer, with the reason; the others do."""
        policies = {
            edition.file.name: {
                "ready": edition.fault is None,
                "version": edition.version,
                **({"reason": edition.fault} if edition.fault else {}),
            }
            for edition in self.shelf.editions
        }
        ready = all(state["ready"] for state in policies.values())
        refused = {str(path.name): why for path, why in self.shelf.refused.items()}
        body = {"ready": ready, "policies": policies, **({"refused": refused} if refused else {})}
        return json_response(body, 200 if ready else 503)

    def _attempts(self) -> dict[str, int]:
        opened = [(e.file.name, e.runtime) for e in self.shelf.editions if e.runtime is not None]
        return {name: runtime.attempts for name, runtime in opened}

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            self.access.check(request.headers)
            return await endpoint(request)

        return checked

    async def _whole(self, request: Request, asked: Asked) -> Response:
        reply = _reply(asked)
        answer = await while_connected(request.receive, self._answer(asked))
        if answer.failed:
            raise failed(answer, {"tierwise": reply.summary(answer)})
        self._count(asked.edition.file.name, 200)
        return json_response(reply.completion(answer), headers=reply.headers(answer))

    def _stream(self, asked: Asked, held: contextlib.ExitStack) -> Response:
        def ended(status: int, code: str | None) -> None:
            self._count(asked.edition.file.name, status, code)
            held.close()

        return AnswerStream(
            _reply(asked),
            lambda: self._answer(asked),
            ended,
            include_usage=asked.chat.include_usage,
            keep_alive_s=self.bounds.keep_alive_s,
        )

    async def _answer(self, asked: Asked) -> Answer:
        """The answer, counted.

        Raises:
            ApiError: the policy's models cannot be asked for this.
        """
        try:
            answer = await asked.runtime.answer(
                asked.question.inputs, seed=asked.chat.seed, history=asked.question.history
            )
        except TierwiseError as error:
            raise ApiError(502, f"no answer: {error}") from None
        self.metrics.answered(asked.edition.file.name, answer)
        return answer

    async def _body(self, request: Request) -> bytes:
        bounds = self.bounds
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also keeps out what a foreign web page may post
            raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
        too_large = ApiError(
            413,
            f"the body is over {bounds.max_body_bytes:,} bytes",
            headers={"connection": "close"},
        )
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > bounds.max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(bounds.body_timeout_s):
                async for part in request.stream():
                    body += part
                    if len(body) > bounds.max_body_bytes:
                        raise too_large
        except TimeoutError:
            raise ApiError(408, "the body did not come in time") from None
        return bytes(body)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the requests in flight, or 429."""
        if self._in_flight >= self.bounds.max_in_flight:
            raise ApiError(
                429,
                f"{self._in_flight} requests are under way: try again soon",
                headers={"Retry-After": "1"},
            )
        self._in_flight += 1
        self.metrics.in_flight.inc()
        try:
            yield
        finally:
            self._in_flight -= 1
            self.metrics.in_flight.dec()

    def _count(self, policy: str, status: int, code: str | None = None) -> None:
        self.metrics.requests.labels(policy, str(status)).inc()
        if code is not None:
            self.metrics.errors.labels(policy, code).inc()

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.to_thread(self.shelf.close)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.bounds.reload_s)
            for policy, outcome in await self.shelf.reload():
                self.metrics.reloads.labels(policy, outcome).inc()
            for edition in self.shelf.editions:
                self.metrics.serving(edition.file)


def _asked(chat: ChatRequest, edition: Edition, runtime: PolicyRuntime) -> Asked:
    try:
        question = question_of(chat, edition.file)
        inputs = runtime.checked(question.inputs)
    except InputError as error:
        raise ApiError(400, str(error), param="inputs") from None
    return Asked(chat, edition, runtime, question._replace(inputs=dict(inputs)))


def _reply(asked: Asked) -> Reply:
    return Reply(asked.edition.file.name, asked.edition.version, asked.chat.ignored)


def _model(name: str, edition: Edition) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "tierwise",
        "tierwise": {
            "policy": edition.file.name,
            "version": edition.version,
            "tier": edition.file.tier.name,
            "model": edition.file.tier.model,
            "inputs": list(edition.file.inputs),
            "ready": edition.fault is None,
        },
    }


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    message = f"{request.method} {request.url.path}: {error.detail}"
    return ApiError(error.status_code, message, code=code, headers=error.headers).response()


async def _our_fault(request: Request, error: Exception) -> Response:
    return ApiError(500, "internal error").response()  # the server logs the traceback
