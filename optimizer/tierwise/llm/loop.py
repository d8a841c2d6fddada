"""The one event loop that all HTTP of this process runs on, in a thread of its own.

LiteLLM keeps its clients and its logging queue by event loop, so all models share this one; it ends
with the last of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
Farewell = Callable[[], Coroutine[Any, Any, None]]


class LoopThread:
    """An event loop in a daemon thread, counted by its users."""

    _shared: LoopThread | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._users = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="tierwise-http", daemon=True
        )
        self._thread.start()

    @classmethod
    def join(cls) -> LoopThread:
        """The shared loop, started by its first user; each ``join`` needs a ``leave``."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = LoopThread()
            cls._shared._users += 1
            return cls._shared

    def leave(self, farewell: Farewell) -> None:
        """Stop using the loop; the last user runs ``farewell`` on it and ends it."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            LoopThread._shared = None
        self.submit(self._end(farewell)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _end(self, farewell: Farewell) -> None:
        await self._loop.shutdown_default_executor()  # what threads hold is handed over first
        await asyncio.sleep(0)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await farewell()
        await self._loop.shutdown_asyncgens()
