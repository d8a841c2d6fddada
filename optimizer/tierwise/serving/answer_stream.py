"""Waiting for an answer while somebody waits: keep-alives out, and an end if nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tierwise.serving.answer import Answer
from tierwise.serving.api_error import ApiError, failed
from tierwise.serving.chat_reply import DONE, KEEP_ALIVE, Reply, event

log = logging.getLogger("tierwise.serving")

CLIENT_GONE: tuple[int, str | None] = (499, "client_gone")
"""What is counted where the client did not wait; nobody reads it."""

Work = Coroutine[Any, Any, Answer]


async def while_connected(receive: Receive, work: Work) -> Answer:
    """The answer, or ClientDisconnect: a client that leaves cancels the calls that are out."""
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        answer.cancel()
        gone.cancel()


class AnswerStream(Response):
    """Server-sent events: the opening, keep-alives while samples are out, and the chosen answer.

    ``ended`` is told (status, error code) once, however it ends; the status that was sent is 200.
    """

    def __init__(
        self,
        reply: Reply,
        work: Callable[[], Work],
        ended: Callable[[int, str | None], None],
        *,
        include_usage: bool,
        keep_alive_s: float,
    ) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self.media_type = "text/event-stream"
        self.init_headers(
            {**reply.headers(), "cache-control": "no-cache", "x-accel-buffering": "no"}
        )
        # A length would end the response before its events.
        self.raw_headers = [(k, v) for k, v in self.raw_headers if k != b"content-length"]
        self._reply, self._work, self._ended = reply, work, ended
        self._include_usage, self._keep_alive_s = include_usage, keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        status, code = CLIENT_GONE
        answer = asyncio.ensure_future(self._work())
        gone = asyncio.ensure_future(_gone(receive))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await _part(send, self._reply.opening())
            while not answer.done():
                await asyncio.wait(
                    {answer, gone}, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    return
                if not answer.done():
                    await _part(send, KEEP_ALIVE)
            status, code, events = self._last(answer)
            for part in events:
                await _part(send, part)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            answer.cancel()
            gone.cancel()
            self._ended(status, code)

    def _last(self, answer: asyncio.Future[Answer]) -> tuple[int, str | None, list[bytes]]:
        """Status to count, error code, and the events that are left."""
        try:
            got = answer.result()
            if got.failed:
                raise failed(got, {"tierwise": self._reply.summary(got)})
        except ApiError as error:
            return error.status, error.code, [event(error.body), DONE]
        except Exception:  # the status is sent: an event is all that can still tell
            log.exception("an answer was lost to a fault of tierwise")
            lost = ApiError(500, "internal error")
            return lost.status, lost.code, [event(lost.body), DONE]
        return 200, None, self._reply.closing(got, include_usage=self._include_usage)


async def _part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
