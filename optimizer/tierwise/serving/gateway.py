"""The gateway: policies behind OpenAI's chat interface.

``/v1/chat/completions``, ``/v1/models``, ``/healthz``, ``/readyz`` and ``/metrics``; what each
honours, ignores and refuses is in docs/serving.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tierwise.errors import InputError, TierwiseError, printable
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.answer import Answer
from tierwise.serving.chat import (
    CLIENT_GONE,
    AnswerStream,
    ApiError,
    ChatReply,
    ChatRequest,
    PolicyInputs,
    bad_request,
    failed_answer,
    json_object,
    json_response,
    policy_inputs,
    while_connected,
)
from tierwise.serving.registry import PolicyRegistry, ServedPolicy
from tierwise.serving.runtime import PolicyRuntime

Endpoint = Callable[[Request], Awaitable[Response]]

TOKENS_VARIABLE = "TIERWISE_TOKENS"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True)
class GatewayLimits:
    """What a gateway takes on. ``keep_alive_s`` is between the comments of a waiting stream."""

    max_in_flight: int = 256
    max_body_bytes: int = 1_000_000
    body_timeout_s: float = 30.0
    keep_alive_s: float = 5.0
    reload_s: float = 5.0


class ResolvedRequest(NamedTuple):
    """A request with the policy that it names and that policy's inputs."""

    chat: ChatRequest
    served: ServedPolicy
    runtime: PolicyRuntime
    inputs: PolicyInputs


class Gateway:
    """The application over a registry of policies; ``app`` is what a server runs."""

    def __init__(
        self, registry: PolicyRegistry, access: AccessRules, limits: GatewayLimits = GatewayLimits()
    ) -> None:
        self.registry, self.access, self.limits = registry, access, limits
        self.metrics = GatewayMetrics(self._attempts)
        self._in_flight = 0
        for served in registry.policies:
            self.metrics.serving(served.file)
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
        with contextlib.ExitStack() as held:  # a place in flight, and the policy's current version
            try:
                held.enter_context(self._place())
                chat = ChatRequest.of(json_object(await self._body(request)))
                served = self.registry.find(chat.model)
                policy = served.file.name
                resolved = _resolved(chat, served, held.enter_context(served.use()))
                if chat.stream:
                    return self._stream(resolved, held.pop_all())
                return await self._whole(request, resolved)
            except ApiError as error:
                self._count(policy, error.status, error.code)
                raise
            except ClientDisconnect:
                self._count(policy, *CLIENT_GONE)
                return Response(status_code=CLIENT_GONE[0])

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: every policy by its name, and by its tier."""
        listed = [_model(name, served) for name, served in sorted(self.registry.names.items())]
        return json_response({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        return json_response(_model(name, self.registry.find(name)))

    async def metrics_page(self, request: Request) -> Response:
        """``GET /metrics``."""
        for served in self.registry.policies:
            self.metrics.ready.labels(served.file.name).set(served.fault is None)
        return Response(self.metrics.text(), headers={"content-type": METRICS_TYPE})

    async def health(self, request: Request) -> Response:
        """``GET /healthz``: the process answers."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """``GET /readyz``: 503 while a policy cannot answer, with the reason; the others do."""
        policies = {
            served.file.name: {
                "ready": served.fault is None,
                "version": served.version,
                **({"reason": served.fault} if served.fault else {}),
            }
            for served in self.registry.policies
        }
        ready = all(state["ready"] for state in policies.values())
        refused = {str(path.name): why for path, why in self.registry.refused.items()}
        body = {"ready": ready, "policies": policies, **({"refused": refused} if refused else {})}
        return json_response(body, 200 if ready else 503)

    def _attempts(self) -> dict[str, int]:
        opened = [(p.file.name, p.runtime) for p in self.registry.policies if p.runtime is not None]
        return {name: runtime.attempts for name, runtime in opened}

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            self.access.check(request.headers)
            return await endpoint(request)

        return checked

    async def _whole(self, request: Request, resolved: ResolvedRequest) -> Response:
        reply = _reply(resolved)
        answer = await while_connected(request.receive, self._answer(resolved))
        if answer.failed:
            raise failed_answer(answer, {"tierwise": reply.summary(answer)})
        self._count(resolved.served.file.name, 200)
        return json_response(reply.completion(answer), headers=reply.headers(answer))

    def _stream(self, resolved: ResolvedRequest, held: contextlib.ExitStack) -> Response:
        def ended(status: int, code: str | None) -> None:
            self._count(resolved.served.file.name, status, code)
            held.close()

        return AnswerStream(
            _reply(resolved),
            lambda: self._answer(resolved),
            ended,
            include_usage=resolved.chat.include_usage,
            keep_alive_s=self.limits.keep_alive_s,
        )

    async def _answer(self, resolved: ResolvedRequest) -> Answer:
        """The answer, counted.

        Raises:
            ApiError: the policy's models cannot be asked for this.
        """
        try:
            answer = await resolved.runtime.answer(
                resolved.inputs.inputs, seed=resolved.chat.seed, history=resolved.inputs.history
            )
        except TierwiseError as error:
            raise ApiError(502, f"no answer: {error}") from None
        self.metrics.answered(resolved.served.file.name, answer)
        return answer

    async def _body(self, request: Request) -> bytes:
        limits = self.limits
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also keeps out what a foreign web page may post
            raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
        too_large = ApiError(
            413,
            f"the body is over {limits.max_body_bytes:,} bytes",
            headers={"connection": "close"},
        )
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > limits.max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                async for part in request.stream():
                    body += part
                    if len(body) > limits.max_body_bytes:
                        raise too_large
        except TimeoutError:
            raise ApiError(408, "the body did not come in time") from None
        return bytes(body)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the requests in flight, or 429."""
        if self._in_flight >= self.limits.max_in_flight:
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
            await asyncio.to_thread(self.registry.close)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.limits.reload_s)
            for policy, outcome in await self.registry.reload():
                self.metrics.reloads.labels(policy, outcome).inc()
            for served in self.registry.policies:
                self.metrics.serving(served.file)


def _resolved(chat: ChatRequest, served: ServedPolicy, runtime: PolicyRuntime) -> ResolvedRequest:
    try:
        question = policy_inputs(chat, served.file)
        inputs = runtime.checked(question.inputs)
    except InputError as error:
        raise bad_request("inputs", str(error)) from None
    return ResolvedRequest(chat, served, runtime, question._replace(inputs=dict(inputs)))


def _reply(resolved: ResolvedRequest) -> ChatReply:
    return ChatReply(resolved.served.file.name, resolved.served.version, resolved.chat.ignored)


def _model(name: str, served: ServedPolicy) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "tierwise",
        "tierwise": {
            "policy": served.file.name,
            "version": served.version,
            "tier": served.file.tier.name,
            "model": served.file.tier.model,
            "inputs": list(served.file.inputs),
            "ready": served.fault is None,
        },
    }


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return ApiError(error.status_code, message, code=code, headers=error.headers).response()


async def _our_fault(request: Request, error: Exception) -> Response:
    return ApiError(500, "internal error").response()  # the server logs the traceback


class PrintableFormatter(logging.Formatter):
    """Lines of a log in which nothing of a client, a model or a file can act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for the message; a traceback has lines of its own."""
        record.message = record.getMessage()
        line = printable(self.formatMessage(record), one_line=True)
        if not record.exc_info:
            return line
        return f"{line}\n{printable(self.formatException(record.exc_info))}"


def tokens_from_environment() -> tuple[str, ...]:
    """The tokens in ``TIERWISE_TOKENS``, separated by commas or white space.

    Raises:
        InputError: one is shorter than 16 characters, which can be guessed, or is not ASCII.
    """
    tokens = tuple(t for t in re.split(r"[,\s]+", os.environ.get(TOKENS_VARIABLE, "")) if t)
    for token in tokens:
        if len(token) < 16 or not token.isascii():
            raise InputError(f"a token in {TOKENS_VARIABLE} is not 16 ASCII characters or more")
    return tokens


class AccessRules:
    """The rules for one address.

    Without a token only a loopback address is served, and only under a loopback name: a page in a
    browser on this machine could otherwise reach it under a name of its own (DNS rebinding).

    Raises:
        InputError: no token, and the address is not loopback.
    """

    def __init__(self, host: str, tokens: tuple[str, ...]) -> None:
        if not tokens and not is_loopback(host):
            raise InputError(
                f"{host} can be reached from other machines: set {TOKENS_VARIABLE} to the tokens "
                "that clients must send, or serve on 127.0.0.1"
            )
        self._tokens = [token.encode() for token in tokens]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ApiError unless a request with these headers may pass."""
        if not self._tokens:
            host = _hostname(headers.get("host", ""))
            if not is_loopback(host):
                raise ApiError(421, "this gateway is served to this machine only")
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        token = given.strip().encode("utf-8", "replace")
        matches = [hmac.compare_digest(token, known) for known in self._tokens]  # all, always
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(
                401,
                "a valid bearer token is needed (Authorization: Bearer …)",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


class GatewayMetrics:
    """Counters of one gateway, in a registry of their own.

    A sample is counted once, under what became of it (``ok``, or the class of its failure), and a
    call once, however often it was tried. ``attempts`` gives, by policy, what was sent to
    providers, retries among it: what a provider counts on its side.
    """

    def __init__(self, attempts: Callable[[], Mapping[str, int]] = dict) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Attempts(attempts))

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"tierwise_{name}", what, labels, registry=registry)

        self.requests = counter("requests", "Chat completions by HTTP status.", "policy", "status")
        self.errors = counter("errors", "Chat completions that failed, by code.", "policy", "code")
        self.ended = counter("ended", "Answers by what ended them.", "policy", "ended")
        self.buckets = counter("bucket_requests", "Answers by bucket.", "policy", "bucket")
        self.samples = counter("samples", "Samples by outcome.", "policy", "outcome")
        self.rounds = counter("rounds", "Rounds of samples.", "policy")
        self.calls = counter("calls", "Calls to models.", "policy")
        self.tokens = counter("tokens", "Billed tokens.", "policy", "kind")
        self.usd = counter("usd", "Dollars, at the policy file's prices.", "policy")
        self.reloads = counter("reloads", "Changed policy files by outcome.", "policy", "outcome")
        self.in_flight = Gauge("tierwise_in_flight", "Requests under way.", registry=registry)
        self.ready = Gauge(
            "tierwise_ready", "1 where a policy can answer.", ["policy"], registry=registry
        )
        self.expected_share = Gauge(
            "tierwise_bucket_expected_share",
            "Bucket shares on the held-out items.",
            ["policy", "bucket"],
            registry=registry,
        )
        self.latency = Histogram(
            "tierwise_latency_seconds",
            "From question to answer.",
            ["policy"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )

    def serving(self, file: PolicyFile) -> None:
        """Note what ``file`` promises, to compare with what is seen."""
        for bucket, share in zip(file.policy.buckets, file.shares, strict=False):
            self.expected_share.labels(file.name, bucket.name).set(share)

    def answered(self, policy: str, answer: Answer) -> None:
        """Count what an answer took, also one that failed."""
        self.ended.labels(policy, answer.ended).inc()
        self.buckets.labels(policy, answer.bucket).inc()
        for sample in answer.trace:
            outcome = sample.error.partition(":")[0] if sample.error else "ok"
            self.samples.labels(policy, outcome).inc()
        self.rounds.labels(policy).inc(answer.rounds)
        self.calls.labels(policy).inc(answer.calls)
        self.tokens.labels(policy, "prompt").inc(answer.prompt_tokens)
        self.tokens.labels(policy, "completion").inc(answer.completion_tokens)
        self.usd.labels(policy).inc(answer.usd)
        self.latency.labels(policy).observe(answer.latency_s)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self._registry))


class _Attempts:
    """Read when resolved for: the models count, and a policy that is opened anew counts from 0."""

    def __init__(self, attempts: Callable[[], Mapping[str, int]]) -> None:
        self._attempts = attempts

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "tierwise_attempts", "Calls sent to providers, retries among them.", labels=["policy"]
        )
        for policy, count in self._attempts().items():
            family.add_metric([policy], count)
        yield family
