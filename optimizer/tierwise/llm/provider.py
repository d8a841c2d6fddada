"""Any model that LiteLLM reaches, over HTTP.

LiteLLM translates and sends; queueing, faults, fan-out and the dealing of the bill are ours
(``limits``, ``faults``, ``answers``), since its own faults multiply calls and its limits refuse.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from tierwise.errors import ProviderError
from tierwise.llm.answers import read_choices
from tierwise.llm.base import Call, Failure, Request, Result
from tierwise.llm.faults import FATAL, Fault, Retry, Traffic, classify
from tierwise.llm.limits import RateLimiter, prompt_tokens_bound, prompt_tokens_estimate
from tierwise.llm.litellm import (
    CAPS,
    LiteLLMSender,
    Sender,
    check_key,
    check_params,
    check_tier,
    close_clients,
    provider_address,
    supported_params,
)
from tierwise.llm.openai_client import OpenAIClient, speaks_openai
from tierwise.schema import Tier

T = TypeVar("T")


class ProviderModel:
    """A tier's model. Sample i of a request has seed ``base + i`` where the provider takes seeds.

    Calls for several samples go out as one where ``tier.takes_n``, else as one call a sample. Retries,
    limits and the classes of failures are described in ``faults`` and ``limits``. ``chunk`` does
    not follow the limits, since how samples share calls, and so the bill, must not either.

    ``direct`` sends straight to the server where it speaks OpenAI's protocol (``openai_client``): the
    same bodies, the same samples, a fraction of the CPU.

    Attributes:
        address: what ``Request.address`` must be for this model.
        traffic: counts of attempts, faults, and what may have been billed without an answer.
        lost: see ``Losing``.
    """

    chunk = 64

    def __init__(self, tier: Tier, *, retry: Retry | None = None, direct: bool = False) -> None:
        """Raises InputError for what the provider does not take, ProviderError without a key."""
        check_tier(tier)
        check_key(tier.model)
        self.tier, self.address, self.traffic = tier, provider_address(tier.model), Traffic()
        self._retry = retry or Retry()
        self._gate = RateLimiter(tier.limits)
        self._ahead = 2 * self._gate.concurrency + self.chunk
        self._sender: Sender = (
            OpenAIClient(tier.model, self._gate.concurrency)
            if direct and speaks_openai(tier.model)
            else LiteLLMSender(tier.model)
        )
        self._seeds = "seed" in supported_params(tier.model)
        self._checked: set[str] = set()
        self._dead: str | None = None
        self.lost: Callable[[Call, str], bool] = lambda call, error_class: True
        self._loop: LoopThread | None = LoopThread.join()

    def __repr__(self) -> str:
        return f"ProviderModel({self.tier.model!r})"

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer chunks in order; as many are under way as keep all slots busy.

        Raises:
            ProviderError: wrong key, unknown model, no quota, host not reachable, or a provider
                that fails again and again.
            InputError: a parameter that the provider does not take, before its first call.
        """
        source, under_way = iter(chunks), deque[tuple[int, Future[list[list[Result]]]]]()
        try:
            while True:
                while sum(calls for calls, _ in under_way) < self._ahead:
                    chunk = next(source, None)
                    if chunk is None:
                        break
                    calls = len(chunk) if self.tier.takes_n else sum(call.n for call in chunk)
                    under_way.append((calls, self._start(self._all(chunk))))
                if not under_way:
                    return
                results = under_way[0][1].result()
                under_way.popleft()
                yield results
        finally:
            for _, future in under_way:
                future.cancel()

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call; raises as ``complete`` does."""
        return (await asyncio.wrap_future(self._start(self._all([call]))))[0]

    def close(self) -> None:
        """Close the connections with the last model of the process."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.submit(self._sender.close()).result()
            loop.leave(close_clients)

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            work.close()
            raise RuntimeError(f"{self!r} is closed")
        return self._loop.submit(work)

    async def _all(self, calls: Sequence[Call]) -> list[list[Result]]:
        for call in calls:
            self._check(call.request)
        return await _together(self._samples(call) for call in calls)

    def _check(self, request: Request) -> None:
        key = repr(sorted(request.params.items(), key=lambda kv: kv[0]))
        if key not in self._checked:
            check_params(self.tier, request.params, f"a request to tier {self.tier.name!r}")
            self._checked.add(key)

    async def _samples(self, call: Call) -> list[Result]:
        if self.tier.takes_n or call.n == 1:
            return await self._one(call)
        singles = (
            self._one(Call(call.request, call.first_sample + j, 1, call.seed + j))
            for j in range(call.n)
        )
        return [result for part in await _together(singles) for result in part]

    async def _one(self, call: Call) -> list[Result]:
        """One call, tried until it is answered or lost for good."""
        started_s = time.perf_counter()
        fault: Fault | None = None
        try:
            results = await self._retry.run(lambda: self._attempt(call))
        except Fault as error:
            fault = error
        if fault is None:
            return results
        # Raised outside of ``except``, so that no exception of LiteLLM hangs on as its context.
        message = fault.message
        if fault.kind == "bad_request" and call.n > 1:
            message += (
                f" (it was asked for {call.n} samples in one call; takes_n: false asks one by one)"
            )
        if fault.kind == "connection":
            message += f" (nobody answers at {self.address or 'the provider'})"
        if fault.kind in FATAL or self.traffic.given_up(fault.kind):
            self._dead = f"{self.tier.model}: {fault.kind}: {message}"
            raise ProviderError(self._dead)
        return [Failure(fault.kind, message, time.perf_counter() - started_s)] * call.n

    async def _attempt(self, call: Call) -> list[Result]:
        request = call.request
        cap = next((v for c in CAPS if isinstance(v := request.params.get(c), int)), 0)
        async with self._gate.slot(prompt_tokens_estimate(request.messages) + call.n * cap):
            if self._dead:
                raise ProviderError(self._dead)
            self.traffic.attempts += 1
            fault: Fault
            try:
                results = await self._send(request, call.seed, call.n)
            except Fault as error:
                fault = error
            except asyncio.CancelledError:
                # Not lost in the sense of ``lost``: its chunk stays set aside at its worst case.
                self._note(Fault("cancelled", "", billed=True), call, cap)
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it was becomes a row
                fault = classify(error)
            else:
                self.traffic.answer()
                return results
        self._note(fault, call, cap)
        if fault.possibly_billed and not self.lost(call, fault.kind):
            fault.last = True
            fault.message += " (not tried again: with what may be billed, the budget is used up)"
        raise fault

    async def _send(self, request: Request, seed: int, n: int) -> list[Result]:
        own: dict[str, object] = {"n": n} if n > 1 else {}
        if self._seeds:
            own["seed"] = seed
        if self.tier.logprobs:
            own["logprobs"] = True
        started_s = time.perf_counter()
        response = await self._sender.send(request, own, self._gate.timeout_s)
        return read_choices(response, n, time.perf_counter() - started_s)

    def _note(self, fault: Fault, call: Call, cap: int) -> None:
        self.traffic.faults[fault.kind] += 1
        if fault.kind == "rate_limit" and fault.retry_after_s is not None:
            self._gate.pause(min(fault.retry_after_s, self._retry.longest_wait_s))
        if fault.possibly_billed:
            self.traffic.possibly_billed_calls += 1
            self.traffic.possibly_billed_prompt_tokens += prompt_tokens_bound(call.request.messages)
            self.traffic.possibly_billed_completion_tokens += call.n * cap


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first that raises ends the others."""
    all_works = list(works)
    if len(all_works) == 1:  # a live call: no task of its own
        return [await all_works[0]]
    tasks = [asyncio.ensure_future(work) for work in all_works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


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
