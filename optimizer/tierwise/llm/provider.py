"""A model behind a provider, over HTTP: what is asked, how often, and what is made of the answers.

LiteLLM, or ``OpenAIClient``, sends; queueing, retries, fan-out and bills are ours (``limits``,
``faults``, ``answers``), since LiteLLM's own retries multiply calls and its limits refuse them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from tierwise.errors import ProviderError
from tierwise.llm.answers import AnswerReader
from tierwise.llm.base import Call, Completion, Failure, Request, Result, cap_of
from tierwise.llm.endpoint import check_key, endpoint_of, headers_of
from tierwise.llm.faults import LIMITED, REFUSALS, Fault, classify_error
from tierwise.llm.limits import (
    RateLimiter,
    Retry,
    Traffic,
    Withheld,
    prompt_tokens_bound,
    prompt_tokens_estimate,
    supervising,
)
from tierwise.llm.litellm import check_params, check_tier, supported_params
from tierwise.llm.senders import LiteLLMSender, OpenAIClient, Sender, close_clients, speaks_openai
from tierwise.schema import Tier

T = TypeVar("T")
Farewell = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger("tierwise.llm")

LONGEST_LIVE_WAIT_S = 120.0
"""A client of a gateway waits no longer for a rate limit to pass."""

AGAIN_ALONE = frozenset({"missing_choice", "broken_off"})
"""Failures of single choices of a call for several, which are asked for again one by one."""


class ProviderModel:
    """A tier's model. Sample i of a request has seed ``base + i`` where the provider takes seeds.

    Calls for several samples go out as one where ``tier.takes_n``, else as one call a sample.
    Retries, limits and the classes of failures are described in ``faults`` and ``limits``.
    ``chunk`` does not follow the limits, since how samples share calls, and so the bill, must not
    either.

    ``direct`` sends straight to the server where it speaks OpenAI's protocol (``OpenAIClient``):
    the same bodies, the same samples, a fraction of the CPU.

    Attributes:
        address: what ``Request.address`` must be for this model.
        traffic: counts of attempts, faults, and what may have been billed without an answer.
        remark: see ``Remarking``.
    """

    chunk = 64
    one_by_one = True

    def __init__(
        self, tier: Tier, *, retry: Retry | None = None, direct: bool = False, serving: bool = False
    ) -> None:
        """Raises InputError for what the provider does not take, ProviderError without a key."""
        check_tier(tier)
        check_key(tier)
        endpoint = endpoint_of(tier)._replace(headers=headers_of(tier))
        self.tier, self.address, self.traffic = tier, endpoint.address, Traffic()
        self._retry = retry or (Retry(longest_wait_s=LONGEST_LIVE_WAIT_S) if serving else Retry())
        self._gate = RateLimiter(tier.limits)
        self._ahead = 2 * self._gate.concurrency + self.chunk
        self._sender: Sender = (
            OpenAIClient(tier.model, endpoint, self._gate.concurrency)
            if direct and speaks_openai(tier)
            else LiteLLMSender(endpoint)
        )
        self._reader = AnswerReader(tier.model)
        offered = "seed" in supported_params(tier.model)
        self._seeds = offered if tier.takes_seed is None else tier.takes_seed
        self._streams, self._logprobs = bool(tier.stream), tier.logprobs
        self._cap_name = ""
        self._taken: set[str] = set()
        """Fields that were sent with a call that was answered."""
        self._checked: set[str] = set()
        self._dead: str | None = None
        self._spared = REFUSALS if serving else frozenset[str]()
        self._remarked: set[str] = set()
        self.remark: Callable[[str], None] = log.warning
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
        if self._loop is not None and self._loop.is_running_here():
            return (await self._all([call]))[0]
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
        parts = await _together(self._one(call.alone(j)) for j in range(call.n))
        return [result for part in parts for result in part]

    async def _one(self, call: Call) -> list[Result]:
        """One call, tried until it is answered or lost for good."""
        started_s, answered = time.perf_counter(), self.traffic.answered
        fault: Fault | None = None
        try:
            results = await self._retry.run(lambda: self._attempt(call))
        except Fault as error:
            fault = error
        if fault is None:
            return await self._whole(call, results)
        # Raised outside of ``except``, so that no exception of LiteLLM hangs on as its context.
        message = fault.message
        if fault.kind == "connection":
            message += f" (nobody answers at {self.address or 'the provider'})"
        spared = fault.kind in self._spared or supervising().waits_out(fault.kind)
        if not spared and self.traffic.given_up(fault.kind, call.request.messages, answered):
            self._give_up(f"{fault.kind}: {message}")
        return [Failure(fault.kind, message, time.perf_counter() - started_s)] * call.n

    async def _whole(self, call: Call, results: list[Result]) -> list[Result]:
        """``results`` with what a call for several samples lacks asked for one by one.

        The first answer is paid for: each sample that is asked for again is noted as possibly
        billed, at its worst case, which covers the prompt of its second call.
        """
        lacking = [
            (j, r)
            for j, r in enumerate(results)
            if isinstance(r, Failure) and r.error_class in (*AGAIN_ALONE, "poison")
        ]
        if call.n == 1 or not lacking:
            return results
        came = sum(
            not (isinstance(r, Failure) and r.error_class == "missing_choice") for r in results
        )
        if came == 1 and "n" not in self._taken:
            self._give_up(
                f"it answered a call for {call.n} samples with one: it does not know n; set "
                f"takes_n: false for tier {self.tier.name!r}, and samples are asked for one by one"
            )
        again: list[tuple[int, Call]] = []
        for j, failure in lacking:
            alone = call.alone(j)
            self._note(Fault(failure.error_class, "", billed=True), alone)
            if (
                supervising().lost(alone, failure.error_class)
                and failure.error_class in AGAIN_ALONE
            ):
                again.append((j, alone))
        answers = await _together(self._one(alone) for _, alone in again) if again else []
        for (j, _), answer in zip(again, answers, strict=True):
            results[j] = answer[0]
        return results

    def _give_up(self, why: str) -> NoReturn:
        self._dead = f"{self.tier.model}: {why}"
        raise ProviderError(self._dead)

    async def _attempt(self, call: Call) -> list[Result]:
        tokens = prompt_tokens_estimate(call.request) + call.n * cap_of(call.request)
        async with self._gate.slot(tokens):
            fault = None
            while fault is None:
                if not await supervising().admit(call):
                    raise Withheld
                if self._dead:
                    raise ProviderError(self._dead)
                self.traffic.attempts += 1
                try:
                    results = await self._send(call)
                except Fault as error:
                    fault = error
                except asyncio.CancelledError:
                    # Not lost to its supervisor: what was set aside for it stays.
                    self._note(Fault("cancelled", "", billed=True), call)
                    raise
                except Exception as error:  # noqa: BLE001 - the edge: whatever it was becomes a row
                    fault = classify_error(error)
                else:
                    supervising().answered(call)
                    return results
                supervising().faulted(call, fault.kind)
                if self._remedied(fault, call):
                    self.traffic.faults[fault.kind] += 1
                    fault = None
        self._note(fault, call)
        if fault.possibly_billed and not supervising().lost(call, fault.kind):
            fault.last = True
            fault.message += " (not tried again: with what may be billed, the budget is used up)"
        raise fault

    async def _send(self, call: Call) -> list[Result]:
        request, own = call.request, self._own(call)
        if self._cap_name and "max_tokens" in request.params:
            params = {
                self._cap_name if k == "max_tokens" else k: v for k, v in request.params.items()
            }
            request = replace(request, params=params)
        started_s = time.perf_counter()
        body = await self._sender.send(request, own, self._gate.timeout_s)
        latency_s = time.perf_counter() - started_s
        results = self._reader.read(body, call, cap_of(call.request), latency_s)
        for text in self._reader.remarks.values():
            self._remark(text)
        done = [r for r in results if isinstance(r, Completion)]
        failed = [r for r in results if isinstance(r, Failure)]
        if not done and failed:
            raise Fault(failed[0].error_class, failed[0].message, billed=True)
        self.traffic.answer()
        if "logprobs" in own and all(r.mean_logprob is None and r.text for r in done):
            self._remark(
                f"{self.tier.model}: its answers carry no log-probabilities, so nothing that reads "
                f"them can be chosen; logprobs: false for tier {self.tier.name!r} asks for none"
            )
        if len(done) > 1 or "n" not in own:
            self._taken |= {*own, *request.params}
        return results

    def _own(self, call: Call) -> dict[str, object]:
        """What is sent beside the request's own parameters."""
        own: dict[str, object] = {"n": call.n} if call.n > 1 else {}
        if self._seeds:
            own["seed"] = call.seed
        if self._logprobs:
            own["logprobs"] = True
        if self._streams:
            own |= {"stream": True, "stream_options": {"include_usage": True}}
        return own

    def _remedied(self, fault: Fault, call: Call) -> bool:
        """Whether a refused field of the request is left out or renamed from now on, at no cost.

        What was sent with an answered call is not at fault.

        Raises:
            ProviderError: the field is refused, and what to set instead changes what is bought.
        """
        if fault.kind != "bad_request":
            return False
        for name in fault.fields:
            if name in self._taken or (name == "max_tokens" and self._cap_name):
                continue
            if change := self._change(name, fault, call):
                what, then = change
                self._remark(f"{self.tier.model} refuses {what} ({fault.message}); {then}")
                return True
            if remedy := self._remedy(name, call):
                what, then = remedy
                self._give_up(f"{self.tier.model} refuses {what} ({fault.message}): {then}")
        return False

    def _change(self, name: str, fault: Fault, call: Call) -> tuple[str, str] | None:
        """Send a refused field otherwise, or no more: what is refused, and what is done instead."""
        own, tier = self._own(call), self.tier
        match name:
            case "stream" if not self._streams and tier.stream is not False:
                self._streams = True
                return "calls that do not stream", "its answers are streamed from now on"
            case "seed" if "seed" in own and not tier.takes_seed:
                self._seeds = False
                return "seed", (
                    "none is sent from now on, so samples that are asked for a second time differ "
                    f"(takes_seed: false for tier {tier.name!r} says so at once)"
                )
            case "max_tokens" if (
                name in call.request.params and "max_completion_tokens" in fault.fields
            ):
                self._cap_name = "max_completion_tokens"
                return "max_tokens", "the cap is sent as max_completion_tokens"
            case "logprobs" | "top_logprobs" if "logprobs" in own:
                self._logprobs = False
                return "logprobs", (
                    "they are not asked for from now on, and nothing that reads them can be chosen "
                    f"(logprobs: false for tier {tier.name!r} says so at once)"
                )
        return None

    def _remedy(self, name: str, call: Call) -> tuple[str, str] | None:
        """What is refused, and what to set instead; None where nothing of that name was sent."""
        params, tier = call.request.params, f"tier {self.tier.name!r}"
        match name:
            case "stream" if not self._streams:
                return "calls that do not stream", f"set stream: true for {tier}"
            case "seed" if "seed" in self._own(call):
                return "seed", f"set takes_seed: false for {tier}"
            case "n" if call.n > 1:
                then = f"set takes_n: false for {tier}, and samples are asked for one by one"
                return f"n={call.n}", then
            case "temperature":
                return f"temperature={params.get(name)}", (
                    "give the space's temperature the values that it takes, such as "
                    "temperature: [1.0]"
                )
            case _ if name in params:
                return name, (
                    f"take it out of the modes of {tier}, or put what only the server knows into "
                    "extra_body"
                )
        return None

    def _remark(self, text: str) -> None:
        if text not in self._remarked:
            self._remarked.add(text)
            self.remark(text)

    def _note(self, fault: Fault, call: Call) -> None:
        self.traffic.faults[fault.kind] += 1
        wait_s = fault.retry_after_s or 0.0
        if fault.kind in LIMITED and wait_s <= self._retry.longest_wait_s:
            self._gate.pause(wait_s)
        if fault.possibly_billed:
            self.traffic.possibly_billed_calls += 1
            self.traffic.possibly_billed_prompt_tokens += prompt_tokens_bound(call.request)
            self.traffic.possibly_billed_completion_tokens += call.n * cap_of(call.request)


async def _heard(work: Coroutine[Any, Any, T]) -> T:
    """``work``; where nobody waits for it any more, asyncio does not complain of how it ended."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await work


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

    def is_running_here(self) -> bool:
        """Whether the caller runs on this loop."""
        return asyncio.get_running_loop() is self._loop

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function on the loop, from any thread, in the caller's context."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(_heard(work), self._loop)

    async def _end(self, farewell: Farewell) -> None:
        await self._loop.shutdown_default_executor()  # what threads hold is handed over first
        await asyncio.sleep(0)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await farewell()
        await self._loop.shutdown_asyncgens()
